import type { GatewayError } from '../../core/errors.ts';
import type { Usage } from '../../core/event.ts';
import type { AnswerMeta, StreamEncoder, WireFormat } from '../format.ts';
import { encodeError } from '../openai/errors.ts';
import { encodeSse, sseHeaders, ssePing } from '../sse.ts';

/** How llama-server answers on its own routes, `/completion` and `/infill`. */
export const llamaAnswers: Omit<WireFormat, 'decode'> = {
  dialect: 'openai-completions',
  streamType: sseHeaders['content-type'],
  ping: ssePing,
  encodeStream: createLlamaEncoder,
  encodeWhole({ choices, usage }, meta) {
    const [choice] = choices;
    return pick(summary(meta, choice?.text ?? '', usage, choice?.finishReason ?? 'stop', choice?.stopSequence), meta);
  },
  encodeError,
};

function createLlamaEncoder(meta: AnswerMeta): StreamEncoder {
  let reason = 'stop';
  let stopSequence: string | undefined;
  let usage: Usage | undefined;
  let written = 0;
  return {
    push(event) {
      if (event.type === 'text-delta') {
        if (event.text === '') return '';
        written++;
        return encodeSse(
          JSON.stringify({ index: 0, content: event.text, tokens: [], stop: false, tokens_predicted: written }),
        );
      }
      if (event.type === 'finish') [reason, stopSequence] = [event.reason, event.stopSequence];
      if (event.type === 'usage') usage = event.usage;
      return '';
    },
    end: () => encodeSse(JSON.stringify(pick(summary(meta, '', usage, reason, stopSequence), meta))),
    error: (error: GatewayError) => encodeSse(JSON.stringify(encodeError(error))),
  };
}

function summary(
  { request }: AnswerMeta,
  content: string,
  usage: Usage | undefined,
  reason: string,
  stopSequence: string | undefined,
) {
  const { promptTokens = 0, completionTokens = 0, cachedTokens = 0, prefillMs = 0, decodeMs = 0 } = usage ?? {};
  const read = promptTokens - cachedTokens;
  const each = (ms: number, tokens: number) => (tokens > 0 ? ms / tokens : 0);
  const perSecond = (ms: number, tokens: number) => (ms > 0 ? (tokens * 1000) / ms : 0);
  return {
    index: 0,
    content,
    tokens: [],
    id_slot: -1,
    stop: true,
    model: request.model,
    tokens_predicted: completionTokens,
    tokens_evaluated: promptTokens,
    tokens_cached: cachedTokens,
    generation_settings: {},
    prompt: '',
    has_new_line: content.includes('\n'),
    truncated: false,
    stop_type: reason === 'length' ? 'limit' : stopSequence === undefined ? 'eos' : 'word',
    stopping_word: stopSequence ?? '',
    timings: {
      cache_n: cachedTokens,
      prompt_n: read,
      prompt_ms: prefillMs,
      prompt_per_token_ms: each(prefillMs, read),
      prompt_per_second: perSecond(prefillMs, read),
      predicted_n: completionTokens,
      predicted_ms: decodeMs,
      predicted_per_token_ms: each(decodeMs, completionTokens),
      predicted_per_second: perSecond(decodeMs, completionTokens),
    },
  };
}

/** Only the fields that the client named (`timings/prompt_n`), as llama-server gives them; all where it named none. */
function pick(answer: object, { request }: AnswerMeta): object {
  const fields = request.answer?.['responseFields'];
  if (!Array.isArray(fields) || fields.length === 0) return answer;
  const found: Record<string, unknown> = {};
  for (const field of fields) {
    let value: unknown = answer;
    for (const key of String(field).split('/')) {
      value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined; // own data
    }
    if (value !== undefined) found[String(field)] = value;
  }
  return found;
}
