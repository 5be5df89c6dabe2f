import { createGuard } from '../../providers/guard.ts';
import { createAskModel } from '../ask-model.ts';
import type { Config } from '../config.ts';
import type { Routing } from '../core/route.ts';
import type { Transport } from '../core/transport.ts';
import type { FilterParts } from '../filters/index.ts';
import { checksJson } from '../filters/json-check.ts';
import { scoreByClassifier, scoreByJudge } from '../filters/moderation.ts';
import { createTransformers } from '../filters/transformers.node.ts';
import type { PromptLibrary } from '../prompts/library.ts';
import type { RoutedModel } from '../routing/attempt.ts';

/** What filters need from Node: ajv, @huggingface/transformers where installed, the transport, and our own models. */
export async function filterParts(
  config: Config['filters'],
  transport: Transport,
  library: PromptLibrary,
  routing: () => Routing,
) {
  const ask = createAskModel(routing, () => library);
  // ajv and RE2 are a twentieth of the start: only who has schemas to check loads them.
  const compileSchema = checksJson(config) && (await import('../filters/ajv.node.ts')).createAjvCompiler();
  return { transport, ...(compileSchema && { compileSchema }), ask, ...createTransformers() } satisfies FilterParts;
}

/** The models that answer moderations on this machine; none without `moderation:`. */
export function moderationModels(
  config: Config['moderation'],
  { ask, classify }: Awaited<ReturnType<typeof filterParts>>,
): readonly RoutedModel[] {
  if (!config) return [];
  const { judge, classifier, prompt, threshold, names } = config;
  const model = judge ?? classifier ?? '';
  const score = judge === undefined ? scoreByClassifier(classify, model) : scoreByJudge(ask, model, prompt);
  const provider = createGuard({ score, model, threshold });
  return names.map((name) => ({ name, filters: [], targets: [{ name: `guard/${model}`, provider, model }] }));
}
