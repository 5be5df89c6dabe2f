import type { CompletionEvent } from '../../core/event.ts';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import { decodeFinishReason, startOf, upstreamErrorIn } from './upstream-answer.ts';
import { decodeUsage } from './usage.ts';

/** A whole completion read to the last word: what filters see of it is all that its bytes say. */
export interface PlainCompletion {
  readonly start: CompletionEvent;
  /** Each choice's text and finish. */
  readonly says: readonly CompletionEvent[];
  /** One event, or none. */
  readonly usage: readonly CompletionEvent[];
}

/**
 * A chat or text completion whose only words are one text for each choice; `body` is what JSON.parse made of `text`.
 * Undefined where there are any others, in fields that we know (calls, thoughts, log-probabilities) or do not:
 * `decodeChatCompletion` tells what of it we can.
 */
export function readPlainCompletion(body: unknown, text: string): PlainCompletion | undefined {
  if (!isJsonObject(body) || upstreamErrorIn(body)) return undefined;
  const choices = body['choices'];
  if (!Array.isArray(choices) || choices.length === 0 || !isWordless(body, named)) return undefined;
  const says: CompletionEvent[] = [];
  for (const [index, choice] of choices.entries()) {
    const told = tellChoice(choice, index);
    if (!told) return undefined;
    if (told.text !== '') says.push({ type: 'text-delta', choice: index, text: told.text });
    says.push({ type: 'finish', choice: index, reason: decodeFinishReason(told.reason, false) });
  }
  if (keysIn(body) !== keysOf(text)) return undefined;
  const usage = decodeUsage(body);
  return { start: startOf(body), says, usage: usage ? [{ type: 'usage', usage }] : [] };
}

/** Undefined where it says more than that, or has no end. */
function tellChoice(choice: unknown, index: number): { readonly text: string; readonly reason: string } | undefined {
  if (!isJsonObject(choice) || choice['index'] !== index || !isWordless(choice, ofChoice)) return undefined;
  const { message, text: legacy, finish_reason: reason } = choice;
  if (typeof reason !== 'string' || reason === '') return undefined;
  if (message == null) return typeof legacy === 'string' ? { text: legacy, reason } : undefined;
  if (legacy != null || !isJsonObject(message) || !isWordless(message, ofMessage)) return undefined;
  const { content } = message;
  return typeof content === 'string' ? { text: content, reason } : undefined;
}

/** Fields that are looked at, and such as never hold words of the model. */
const named: ReadonlySet<string> = new Set(['choices', 'id', 'object', 'model', 'system_fingerprint', 'service_tier']);
const ofChoice: ReadonlySet<string> = new Set(['message', 'text', 'finish_reason']);
const ofMessage: ReadonlySet<string> = new Set(['role', 'content']);

/** True where nothing but the fields of these names can hold text. */
function isWordless(object: JsonObject, names?: ReadonlySet<string>, depth = 0): boolean {
  for (const name in object) {
    if (!names?.has(name) && !(fieldName.test(name) && isSilent(object[name], depth))) return false;
  }
  return true;
}

/** As programs write them; any other may be a name, a key or a sentence that a model found. */
const fieldName = /^[a-z][a-z0-9_]{0,39}$/;

function isSilent(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'string' || value === '';
  if (depth > 4) return false;
  if (Array.isArray(value)) return value.every((item) => isSilent(item, depth + 1));
  return isWordless(value as JsonObject, undefined, depth + 1); // an object out of JSON.parse
}

/** Names in a value; a name that stood there twice is one. */
function keysIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) for (const item of value) count += keysIn(item);
  else for (const name in value) count += 1 + keysIn((value as JsonObject)[name]); // an object out of JSON.parse
  return count;
}

/** Names in a JSON text: of one that stands there twice a reader may take either, so both would have to be read. */
function keysOf(text: string): number {
  let count = 0;
  for (let start = text.indexOf('"'); start >= 0; ) {
    let end = text.indexOf('"', start + 1);
    while (end > 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
    if (end < 0) return count;
    let next = end + 1;
    while (isBlank(text.charCodeAt(next))) next++;
    if (text.charCodeAt(next) === 0x3a) count++;
    start = text.indexOf('"', end + 1);
  }
  return count;
}

const isBlank = (unit: number): boolean => unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes++;
  return slashes % 2 === 1;
}
