import type { CompletionEvent } from '../../core/event.ts';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import { decodeChatCompletion, decodeFinishReason, malformed, startOf, upstreamErrorIn } from './upstream-answer.ts';
import { decodeUsage } from './usage.ts';

/**
 * What is recorded of a whole chat or text completion that goes on as bytes: its start, finish reasons and usage. The
 * same as `decodeChatCompletion` tells, which makes events of the text too and is asked for all that is not plain.
 */
export function observeCompletion(body: unknown): CompletionEvent[] {
  if (!isJsonObject(body)) throw malformed();
  const failure = upstreamErrorIn(body);
  if (failure) throw failure;
  const choices = body['choices'];
  if (!Array.isArray(choices) || choices.length === 0) return observed(body);
  const events = [startOf(body)];
  for (const [index, choice] of choices.entries()) {
    if (!isPlain(choice, index)) return observed(body);
    events.push({ type: 'finish', choice: index, reason: decodeFinishReason(choice.finish_reason, false) });
  }
  const usage = decodeUsage(body);
  if (usage) events.push({ type: 'usage', usage });
  return events;
}

const observed = (body: JsonObject): CompletionEvent[] =>
  decodeChatCompletion(body).filter(({ type }) => type === 'start' || type === 'finish' || type === 'usage');

/** Finished, at its place, and without tool calls, which can change what the reason means. */
function isPlain(choice: unknown, index: number): choice is JsonObject & { readonly finish_reason: string } {
  if (!isJsonObject(choice) || choice['index'] !== index) return false;
  const { finish_reason: reason, message } = choice;
  if (typeof reason !== 'string' || reason === '' || choice['delta'] != null) return false;
  if (!isJsonObject(message)) return typeof choice['text'] === 'string';
  return message['tool_calls'] == null && message['function_call'] == null;
}
