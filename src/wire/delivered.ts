import type { CompletionEvent } from '../core/event.ts';
import { isJsonObject } from '../core/json.ts';
import type { Dialect } from '../core/request.ts';
import { createChatChunkDecoder } from './openai/upstream-answer.ts';
import { createSseDecoder } from './sse.ts';

/**
 * What the bytes of a stream that passed through unread said, for whoever must go on from them. Undefined for dialects
 * that nobody reads back. The bytes are whole events; an error at their end is why this is asked, not part of the answer.
 */
export function decodeDelivered(dialect: Dialect, bytes: Uint8Array): readonly CompletionEvent[] | undefined {
  if (dialect !== 'openai-chat') return undefined;
  const decoder = createChatChunkDecoder();
  const events: CompletionEvent[] = [];
  for (const { data } of createSseDecoder().push(bytes)) {
    if (data === '[DONE]') break;
    const chunk: unknown = JSON.parse(data);
    if (!isJsonObject(chunk) || chunk['error'] != null) break;
    events.push(...decoder.push(chunk));
  }
  return events;
}
