import { isJsonObject } from '../../core/json.ts';
import type { ChatBody } from './schema.ts';

/**
 * Whether a body is a chat of the plainest kind: texts in turn and a few of the commonest settings, all within bounds. The
 * schema takes each of them as it is, and walking it takes several times as long as the rest of decoding; whatever is
 * written in any other way is the schema's to judge (it is the oracle of this in the tests).
 */
export function isPlainChat(body: unknown): body is ChatBody {
  if (!isJsonObject(body)) return false;
  if (typeof body['model'] !== 'string' || body['model'] === '') return false;
  const messages = body['messages'];
  if (!Array.isArray(messages) || messages.length === 0) return false;
  for (const message of messages) if (!isPlainMessage(message)) return false;
  for (const name in body) if (!isPlainField(name, body[name])) return false;
  return true;
}

function isPlainMessage(message: unknown): boolean {
  if (!isJsonObject(message) || typeof message['content'] !== 'string') return false;
  const { role } = message;
  if (role !== 'user' && role !== 'assistant' && role !== 'system' && role !== 'developer') return false;
  for (const name in message) if (name !== 'role' && name !== 'content') return false;
  return true;
}

function isPlainField(name: string, value: unknown): boolean {
  switch (name) {
    case 'model':
    case 'messages':
      return true; // looked at already
    case 'stream':
      return typeof value === 'boolean';
    case 'max_tokens':
    case 'max_completion_tokens':
      return Number.isSafeInteger(value) && isWithin(value, 1, Number.MAX_SAFE_INTEGER);
    case 'temperature':
      return isWithin(value, 0, 2);
    case 'top_p':
      return isWithin(value, 0, 1);
    case 'frequency_penalty':
    case 'presence_penalty':
      return isWithin(value, -2, 2);
    case 'seed':
      return Number.isSafeInteger(value);
    case 'user':
      return typeof value === 'string';
    case 'stream_options':
      return isJsonObject(value) && isUsageWish(value);
    default:
      return false;
  }
}

const isWithin = (value: unknown, least: number, most: number): boolean =>
  typeof value === 'number' && value >= least && value <= most;

function isUsageWish(options: object): boolean {
  for (const [name, value] of Object.entries(options)) {
    if (name !== 'include_usage' || typeof value !== 'boolean') return false;
  }
  return true;
}
