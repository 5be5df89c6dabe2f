import type { GatewayError } from '../../core/errors.ts';
import type { FinishReason, Usage } from '../../core/event.ts';
import type { JsonObject } from '../../core/json.ts';
import { encodeParts } from '../openai/usage.ts';
import { encodeNamedSse } from '../sse.ts';

/** Why a response is incomplete, in OpenAI's words. */
export const incompleteReason = (finish: FinishReason | undefined) =>
  finish === 'content-filter' ? 'content_filter' : 'max_output_tokens';

/** OpenAI knows only a few codes here. */
export function failureCode(error: GatewayError): string {
  if (error.status === 429) return 'rate_limit_exceeded';
  if (error.kind === 'context_length_exceeded') return 'context_length_exceeded';
  return error.status < 500 ? 'invalid_prompt' : 'server_error';
}

/** The details are required: Codex drops the turn without them. */
export function encodeResponseUsage(usage: Usage) {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens ?? 0, cache_write_tokens: usage.cacheWriteTokens ?? 0 },
    output_tokens: usage.completionTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0 },
    total_tokens: usage.promptTokens + usage.completionTokens,
    ...encodeParts(usage),
  };
}

/** The fields of an `error` event: flat as OpenAI documents it, nested because that is what the SDKs raise. */
export function errorFields({ message, type, param, code }: GatewayError) {
  return { code, message, param, error: { message, type, param, code } };
}

/** The events that end a response nobody is left to end; `{position}` stands where their sequence number belongs. */
export function failureEvents(response: JsonObject, error: GatewayError): string[] {
  const failed = { ...response, status: 'failed', error: { code: failureCode(error), message: error.message } };
  const event = (type: string, fields: object) => {
    const json = JSON.stringify({ type, sequence_number: 0, ...fields });
    return encodeNamedSse(type, json.replace('"sequence_number":0', '"sequence_number":{position}'));
  };
  return [event('error', errorFields(error)), event('response.failed', { response: failed })];
}
