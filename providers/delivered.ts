import type { CompletionEvent } from '../src/core/event.ts';
import { isJsonObject, type JsonObject } from '../src/core/json.ts';
import type { Dialect } from '../src/core/request.ts';
import { createChatChunkDecoder } from '../src/wire/openai/upstream-answer.ts';
import { createSseDecoder } from '../src/wire/sse.ts';
import { createMessagesDecoder } from './anthropic/answer.ts';
import { chatChunkOf } from './openai/completions.ts';

/**
 * What the bytes of a stream that passed through unread said, for whoever must go on from them. Undefined where that
 * can't be told, or where nobody could go on. The bytes are whole events; the error at their end is why this is asked.
 */
export function decodeDelivered(dialect: Dialect, bytes: Uint8Array): readonly CompletionEvent[] | undefined {
  const push = decoderOf(dialect);
  if (!push) return undefined;
  const events: CompletionEvent[] = [];
  let last: JsonObject = {};
  for (const { data } of createSseDecoder().push(bytes)) {
    if (data === '[DONE]') break;
    const chunk: unknown = JSON.parse(data);
    if (!isJsonObject(chunk) || chunk['error'] != null) break;
    events.push(...push(chunk));
    last = chunk;
  }
  // Between two blocks nobody knows whether the answer was over, and a closed block can't be filled any further.
  return last['type'] === 'content_block_stop' ? undefined : events;
}

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
