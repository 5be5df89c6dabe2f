import type { Capabilities } from '../../src/core/provider.ts';
import type { ChatRequest } from '../../src/core/request.ts';
import { responsesFields, type UpstreamChatOptions } from '../../src/wire/openai/upstream-request.ts';
import { ignoredBy } from '../shared/ignored.ts';

/** The vocabulary is OpenAI's own, and what else a chat says goes on as it is; other dialects have fields of their own. */
const modelled = ['seed', 'prediction', 'service_tier', 'name', 'detail', 'strict'];
const othersSamplers = ['top_k', 'min_p', 'repeat_penalty'];

interface Oddities extends UpstreamChatOptions {
  readonly omit?: readonly string[];
}

/** What a request loses on its way into OpenAI's chat, for a server of these oddities. */
export function ignoredByChat(
  request: ChatRequest,
  able: Capabilities,
  { omit: omitted = [], strict = false, nameless = false, thinkingSwitch = false, thinkingField }: Oddities = {},
): string[] {
  const { dialect, extensions, reasoning } = request;
  const omit = nameless ? [...omitted, 'name'] : omitted;
  const own = dialect === 'openai-chat' || dialect === 'openai-completions';
  if (own && omit.length === 0 && able.reasoning) return [];
  const fields = own ? Object.keys(extensions) : dialect === 'openai-responses' ? responsesFields : [];
  const samplers = strict && !dialect.startsWith('openai-') ? [] : othersSamplers;
  const carried = new Set([...modelled, ...samplers, ...fields].filter((name) => !omit.includes(name)));
  // tokens to think, or thinking without a word on how much, are told to nobody but who has the field
  const counts = thinkingField === 'reasoning';
  const switched = counts || ((thinkingSwitch || thinkingField !== undefined) && !reasoning?.budgetTokens);
  const unsaid =
    reasoning &&
    able.reasoning &&
    !own &&
    !switched &&
    reasoning.effort === undefined &&
    reasoning.summary === undefined;
  return ignoredBy(request, unsaid ? { ...able, reasoning: false } : able, carried);
}
