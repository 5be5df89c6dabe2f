import { ServerResponse } from 'node:http';
import { atTurnEnd } from '../transport/turn-end.node.ts';

/** A last piece up to this size is joined with its head. */
const joinedBytes = 16 * 1024;

/**
 * Node's own response, but for a small last piece: it leaves at the end of the turn, beside those of other requests, and
 * bytes go as text of one character each, so that the head leaves with them in one string instead of a vectored write.
 */
export class JoinedResponse extends ServerResponse {
  override end(callback?: () => void): this;
  override end(chunk: unknown, callback?: () => void): this;
  override end(chunk: unknown, encoding: BufferEncoding, callback?: () => void): this;
  override end(chunk?: unknown, encoding?: unknown, callback?: unknown): this {
    const isSmall = (chunk instanceof Buffer || typeof chunk === 'string') && chunk.length <= joinedBytes;
    if (!isSmall || encoding !== undefined || callback !== undefined) {
      return super.end(chunk, encoding as BufferEncoding, callback as () => void); // as it was called
    }
    atTurnEnd(() => {
      if (typeof chunk === 'string') super.end(chunk);
      else super.end(chunk.toString('latin1'), 'latin1');
    });
    return this;
  }
}
