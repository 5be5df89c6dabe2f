import { ServerResponse } from 'node:http';

/** A body up to this size is joined with its head. */
const joinedBytes = 16 * 1024;

/**
 * Node's own response, but for a small last piece of bytes: given as text of one character a byte it leaves with the head
 * in one string, where node would gather the two for a vectored write.
 */
export class JoinedResponse extends ServerResponse {
  override end(callback?: () => void): this;
  override end(chunk: unknown, callback?: () => void): this;
  override end(chunk: unknown, encoding: BufferEncoding, callback?: () => void): this;
  override end(chunk?: unknown, encoding?: unknown, callback?: unknown): this {
    if (chunk instanceof Buffer && chunk.length <= joinedBytes && encoding === undefined) {
      return super.end(chunk.toString('latin1'), 'latin1');
    }
    return super.end(chunk, encoding as BufferEncoding, callback as () => void); // as it was called
  }
}
