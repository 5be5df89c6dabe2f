import { createGuard } from '../../providers/guard.ts';
import { createAskModel } from '../ask-model.ts';
import type { Config } from '../config.ts';
import type { Routing } from '../core/route.ts';
import type { Transport } from '../core/transport.ts';
import { createAjvCompiler } from '../filters/ajv.node.ts';
import type { FilterParts } from '../filters/index.ts';
import { scoreByClassifier, scoreByJudge } from '../filters/moderation.ts';
import { createTransformers } from '../filters/transformers.node.ts';
import type { PromptLibrary } from '../prompts/library.ts';
import type { RoutedModel } from '../routing/attempt.ts';

/** What filters need from Node: ajv, @huggingface/transformers where installed, the transport, and our own models. */
export function filterParts(transport: Transport, library: PromptLibrary, routing: () => Routing) {
  const ask = createAskModel(routing, () => library);
  return { transport, compileSchema: createAjvCompiler(), ask, ...createTransformers() } satisfies FilterParts;
}

/** The models that answer moderations on this machine; none without `moderation:`. */
export function moderationModels(
  config: Config['moderation'],
  { ask, classify }: ReturnType<typeof filterParts>,
): readonly RoutedModel[] {
  if (!config) return [];
  const { judge, classifier, prompt, threshold, names } = config;
  const model = judge ?? classifier ?? '';
  const score = judge === undefined ? scoreByClassifier(classify, model) : scoreByJudge(ask, model, prompt);
  const provider = createGuard({ score, model, threshold });
  return names.map((name) => ({ name, filters: [], targets: [{ name: `guard/${model}`, provider, model }] }));
}
