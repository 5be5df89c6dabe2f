import type { CompletionEvent } from '../../core/event.ts';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { decodeChatCompletion } from './upstream-answer.ts';

/**
 * Sets right what clients misread in a chunk that passes by: tool calls without an index, whole or object arguments,
 * names and ids that are repeated or null in later deltas (SDKs join them, or throw), texts as lists of parts. All else
 * stays as the upstream wrote it. `told` is what the decoder made of it; undefined where nothing is wrong.
 */
export type ChunkMender = (chunk: JsonObject, told: readonly CompletionEvent[]) => JsonObject | undefined;

/** For the chunks of one stream. */
export function createChunkMender(): ChunkMender {
  const kinds = new Map<string, Kind>();
  return (chunk, told) => {
    for (const event of told) {
      if (event.type === 'tool-call-start') kinds.set(`${event.choice} ${event.index}`, event.kind);
    }
    return mendChoices(chunk, told, (choice, number, own) => {
      const { delta } = choice;
      if (!isJsonObject(delta)) return undefined;
      const due = piecesOf(own, (index) => kinds.get(`${number} ${index}`) ?? 'function');
      const calls = arePlain(delta['tool_calls'], due) ? undefined : callsIn(due.map(deltaOf));
      const text = plainText(delta, own);
      return text || calls ? { ...choice, delta: { ...delta, ...text, ...calls } } : undefined;
    });
  };
}

/** The same for a whole answer; nearly always undefined. */
export function mendCompletion(body: unknown): JsonObject | undefined {
  if (!isJsonObject(body) || !Array.isArray(body['choices']) || !body['choices'].some(isOdd)) return undefined;
  return mendChoices(body, decodeChatCompletion(body), (choice, _, own) => {
    const { message } = choice;
    if (!isJsonObject(message) || !isOdd(choice)) return undefined;
    const calls = Array.isArray(message['tool_calls']) ? callsIn(piecesOf(own, () => 'function').map(callOf)) : {};
    return { ...choice, message: { ...message, ...plainText(message, own), ...calls } };
  });
}

function isOdd(choice: unknown): boolean {
  const message = isJsonObject(choice) ? choice['message'] : undefined;
  if (!isJsonObject(message)) return false;
  const { content, tool_calls: calls } = message;
  return Array.isArray(content) || (Array.isArray(calls) && !calls.every(isWholeCall));
}

function mendChoices(
  body: JsonObject,
  told: readonly CompletionEvent[],
  mend: (choice: JsonObject, number: number, own: readonly CompletionEvent[]) => JsonObject | undefined,
): JsonObject | undefined {
  const { choices } = body;
  if (!Array.isArray(choices)) return undefined;
  const hasNoError = body['error'] === null; // some clients take the key alone for a failure
  let isMended = hasNoError;
  const all = choices.map((choice: Json) => {
    if (!isJsonObject(choice)) return choice;
    const number = typeof choice['index'] === 'number' ? choice['index'] : 0;
    const own = told.filter((event) => 'choice' in event && event.choice === number);
    const better = mend(choice, number, own);
    if (better) isMended = true;
    return better ?? choice;
  });
  return isMended ? { ...body, choices: all, ...(hasNoError && { error: undefined }) } : undefined;
}

/** A list of parts as the text and the thoughts that it holds (Mistral). */
function plainText({ content }: JsonObject, told: readonly CompletionEvent[]): JsonObject | undefined {
  if (!Array.isArray(content)) return undefined;
  const joined = (type: 'text-delta' | 'reasoning-delta') =>
    told.map((event) => (event.type === type ? event.text : '')).join('');
  const thoughts = joined('reasoning-delta');
  return { content: joined('text-delta'), ...(thoughts === '' ? {} : { reasoning_content: thoughts }) };
}

type Kind = 'function' | 'custom';

/** What a chunk brings of one call; id and name with its first piece only. */
interface Piece {
  readonly index: number;
  readonly kind: Kind;
  readonly id?: string;
  readonly name?: string;
  text: string;
}

function piecesOf(told: readonly CompletionEvent[], kindOf: (index: number) => Kind): Piece[] {
  const pieces: Piece[] = [];
  for (const event of told) {
    if (event.type === 'tool-call-start') {
      const { index, kind, id, name } = event;
      pieces.push({ index, kind, id, name, text: '' });
    } else if (event.type === 'tool-call-delta') {
      const last = pieces.at(-1);
      if (last?.index === event.index) last.text += event.arguments;
      else pieces.push({ index: event.index, kind: kindOf(event.index), text: event.arguments });
    }
  }
  return pieces;
}

/** No key at all where no call is left. */
const callsIn = (calls: readonly JsonObject[]): JsonObject => ({ tool_calls: calls.length > 0 ? calls : undefined });

function callOf({ kind, id, name, text }: Piece): JsonObject {
  const body = kind === 'custom' ? { input: text } : { arguments: text };
  return id === undefined ? { [kind]: body } : { id, type: kind, [kind]: { name, ...body } };
}

const deltaOf = (piece: Piece): JsonObject => ({ index: piece.index, ...callOf(piece) });

/** Whether a delta's calls can be read by everybody as they were sent. */
function arePlain(sent: Json | undefined, due: readonly Piece[]): boolean {
  if (!Array.isArray(sent)) return true;
  const telling = sent.filter((call: Json) => !isEmpty(call));
  return telling.length === due.length && due.every((piece, at) => isPlain(telling[at], piece));
}

function isPlain(sent: unknown, { index, kind, id, name }: Piece): boolean {
  if (!isJsonObject(sent)) return false;
  const body = bodyOf(sent);
  const text = body['arguments'] ?? body['input'];
  return (
    sent['index'] === index &&
    sent['id'] === id &&
    sent['type'] === (id === undefined ? undefined : kind) &&
    body['name'] === name &&
    (typeof text === 'string' || (text === undefined && id !== undefined))
  );
}

/** A later delta that brings nothing: harmless. */
function isEmpty(sent: unknown): boolean {
  if (!isJsonObject(sent) || typeof sent['index'] !== 'number') return false;
  const { name, arguments: text } = bodyOf(sent);
  return sent['id'] === undefined && sent['type'] === undefined && name === undefined && text === '';
}

function isWholeCall(sent: unknown): boolean {
  if (!isJsonObject(sent) || typeof sent['id'] !== 'string' || sent['id'] === '') return false;
  const { name, arguments: text, input } = bodyOf(sent);
  return typeof sent['type'] === 'string' && typeof name === 'string' && typeof (text ?? input) === 'string';
}

function bodyOf(sent: JsonObject): JsonObject {
  const body = sent['function'] ?? sent['custom'];
  return isJsonObject(body) ? body : {};
}
