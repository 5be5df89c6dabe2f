import type { CompletionEvent } from '../src/core/event.ts';
import { isJsonObject, type JsonObject } from '../src/core/json.ts';
import type { Dialect } from '../src/core/request.ts';
import { readSentMessage } from '../src/wire/anthropic/sent.ts';
import { createChatChunkDecoder } from '../src/wire/openai/upstream-answer.ts';
import { readSentResponse } from '../src/wire/responses/sent.ts';
import { createSseDecoder } from '../src/wire/sse.ts';
import { createMessagesDecoder } from './anthropic/answer.ts';
import { chatChunkOf } from './openai/completions.ts';

/**
 * What the bytes of a stream that passed through unread said, for whoever must go on from them. Undefined where nobody
 * can: inside what only that upstream can finish, such as a hosted tool's call. The bytes are whole events; the error at
 * their end is why this is asked.
 */
export function decodeDelivered(dialect: Dialect, bytes: Uint8Array): readonly CompletionEvent[] | undefined {
  if (dialect === 'openai-responses') {
    const { items, events } = readSentResponse(bytes);
    return items.some(({ kind, done }) => kind === 'other' && !done) ? undefined : events;
  }
  const push = decoderOf(dialect);
  if (!push) return undefined;
  const events: CompletionEvent[] = [];
  for (const { data } of createSseDecoder().push(bytes)) {
    if (data === '[DONE]') break;
    const chunk: unknown = JSON.parse(data);
    if (!isJsonObject(chunk) || chunk['error'] != null) break;
    events.push(...push(chunk));
  }
  const open = dialect === 'anthropic-messages' ? readSentMessage(bytes).open : undefined;
  return open === undefined || ours.has(open) ? events : undefined;
}

/** Anthropic's blocks that another model can go on in, or that need not go on. */
const ours = new Set(['text', 'thinking', 'redacted_thinking', 'tool_use']);

function decoderOf(dialect: Dialect): ((chunk: JsonObject) => readonly CompletionEvent[]) | undefined {
  switch (dialect) {
    case 'openai-chat': {
      const decoder = createChatChunkDecoder();
      return (chunk) => decoder.push(chunk);
    }
    case 'openai-completions': {
      const decoder = createChatChunkDecoder();
      return (chunk) => decoder.push(chatChunkOf(chunk));
    }
    case 'anthropic-messages': {
      const decoder = createMessagesDecoder();
      return (event) => decoder.push(event);
    }
    default:
      return undefined;
  }
}
