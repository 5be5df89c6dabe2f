import type { Json } from '../../src/core/json.ts';
import type { Capabilities } from '../../src/core/provider.ts';
import type { ChatRequest, Dialect, Message } from '../../src/core/request.ts';

/**
 * What of a request's wishes a target does without, by the client's names: samplers, hints, and the fields of its own
 * API that we have no words for. `carried` names those that the target takes beside what its capabilities say. They are
 * told with the answer instead of refused, since ordinary clients always send some; what changes nothing is no wish.
 */
export function ignoredBy(request: ChatRequest, able: Capabilities, carried: ReadonlySet<string>): string[] {
  const { sampling, serviceTier, extensions } = request;
  const ignored: string[] = [];
  const wish = (name: string, asked: boolean) => {
    if (asked && !carried.has(name)) ignored.push(name);
  };
  wish('top_k', Boolean(sampling.topK)); // 0 means all tokens
  wish('min_p', Boolean(sampling.minP));
  wish('repeat_penalty', (sampling.repeatPenalty ?? 1) !== 1);
  wish('seed', sampling.seed !== undefined && !able.seed);
  wish(thinkingField(request), request.reasoning !== undefined && !able.reasoning);
  wish('prediction', request.prediction !== undefined);
  wish('service_tier', serviceTier !== undefined && serviceTier !== 'auto' && serviceTier !== 'default');
  wish('name', request.messages.some(isNamed));
  wish('detail', request.messages.some(hasDetail));
  wish('strict', request.toolChoice !== 'none' && request.tools.some(({ strict }) => strict === true));
  for (const name of Object.keys(extensions)) {
    wish(name, !inOtherWords.has(name) && extensions[name] !== usual[name]);
  }
  return ignored.map((name) => `field '${name}'`);
}

/** What the client's dialect calls the wish to think. */
export const thinkingField = ({ dialect }: ChatRequest): string => thinkingFields[dialect] ?? 'reasoning';
const thinkingFields: Readonly<Partial<Record<Dialect, string>>> = {
  'openai-chat': 'reasoning_effort',
  'anthropic-messages': 'thinking',
  'ollama-chat': 'think',
  'ollama-generate': 'think',
};

export const isNamed = (message: Message): boolean => message.role !== 'tool' && message.name !== undefined;
const hasDetail = ({ content }: Message): boolean =>
  content.some((part) => part.type === 'image' && part.detail !== undefined && part.detail !== 'auto');

/** Extensions that are also read as part of the vocabulary, named as left out when the request is decoded, or no wish at all. */
const inOtherWords: ReadonlySet<string> = new Set([
  ...['safety_identifier', 'modalities', 'reasoning', 'thinking', 'service_tier'],
  ...['truncation', 'max_tool_calls'],
  'client_metadata', // Codex's own, in each of its requests
]);

/** Values that ask for what happens anyway. */
const usual: Readonly<Record<string, Json>> = { verbosity: 'medium', speed: 'standard' };
