import { isJsonObject, type Json, type JsonObject } from '../../src/core/json.ts';
import type { ChatRequest, Message } from '../../src/core/request.ts';

/**
 * The request with ids of calls that this target takes: in a conversation that another one began they may have any form,
 * and would be refused. The same id always becomes the same nine letters and digits, which every API takes.
 */
export function withCallIds(request: ChatRequest, taken: RegExp): ChatRequest {
  const renamed = new Map<string, string>();
  for (const message of request.messages) {
    for (const id of idsOf(message)) if (!taken.test(id)) renamed.set(id, nineOf(id));
  }
  if (renamed.size === 0) return request;
  const nameOf = (id: string) => renamed.get(id) ?? id;
  const messages = request.messages.map((message): Message => {
    if (message.role === 'tool') return { ...message, toolCallId: nameOf(message.toolCallId) };
    if (message.role !== 'assistant') return message;
    return { ...message, toolCalls: message.toolCalls.map((call) => ({ ...call, id: nameOf(call.id) })) };
  });
  const { wire } = request;
  if (!wire) return { ...request, messages };
  const turns = wire.dialect === 'openai-responses' ? 'input' : 'messages';
  const body = { ...wire.body, [turns]: rename(wire.body[turns] ?? [], nameOf) };
  return { ...request, messages, wire: { ...wire, body, bytes: undefined } };
}

const idsOf = (message: Message): readonly string[] =>
  message.role === 'tool'
    ? [message.toolCallId]
    : message.role === 'assistant'
      ? message.toolCalls.map(({ id }) => id)
      : [];

/** Where the formats that pass through have such ids. */
const fields: ReadonlySet<string> = new Set(['id', 'call_id', 'tool_call_id', 'tool_use_id']);

function rename(value: Json, nameOf: (id: string) => string): Json {
  if (Array.isArray(value)) return value.map((item: Json) => rename(item, nameOf));
  if (!isJsonObject(value)) return value;
  const copy: Record<string, Json> = {};
  for (const [key, held] of Object.entries(value) as [string, Json][]) {
    copy[key] = fields.has(key) && typeof held === 'string' ? nameOf(held) : rename(held, nameOf);
  }
  return copy satisfies JsonObject;
}

/** 46 bits of a hash (cyrb53): ids of one conversation will not meet in them. */
function nineOf(id: string): string {
  let [high, low] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < id.length; i++) {
    high = Math.imul(high ^ id.charCodeAt(i), 0x9e3779b1);
    low = Math.imul(low ^ id.charCodeAt(i), 0x5f356495);
  }
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  const bits = (high & 0x1fffff) * 0x1_0000_0000 + (low >>> 0);
  return bits.toString(36).padStart(9, '0').slice(-9);
}
