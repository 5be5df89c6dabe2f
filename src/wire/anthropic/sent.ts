import { isJsonObject } from '../../core/json.ts';
import { createSseDecoder } from '../sse.ts';

/** Where a Messages stream is whose own events went out: blocks are numbered, and not all of them hold what we model. */
export interface SentMessage {
  /** Of the last block; -1 before the first. */
  readonly index: number;
  /** Type of the block that is open. */
  readonly open: string | undefined;
  /** Its stop reason is told. */
  readonly stopped: boolean;
}

/** Where a Messages stream stands after these bytes, for whoever goes on with it. */
export function readSentMessage(bytes: Uint8Array): SentMessage {
  let index = -1;
  let open: string | undefined;
  let stopped = false;
  for (const { data } of createSseDecoder().push(bytes)) {
    if (data === '[DONE]') break;
    const event: unknown = JSON.parse(data);
    if (!isJsonObject(event)) continue;
    if (event['type'] === 'content_block_start') {
      const block = event['content_block'];
      index = typeof event['index'] === 'number' ? event['index'] : index + 1;
      open = isJsonObject(block) ? String(block['type']) : '';
    } else if (event['type'] === 'content_block_stop') open = undefined;
    else if (event['type'] === 'message_delta') stopped = true;
  }
  return { index, open, stopped };
}
