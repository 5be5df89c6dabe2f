/** Bytes that came piece by piece, kept together up to a bound. */
export interface ByteLog {
  push(bytes: Uint8Array): void;
  /** All of it; empty once more came than is kept. */
  bytes(): Uint8Array;
  readonly overflowed: boolean;
}

const firstBytes = 4096;
const nothing = new Uint8Array();

/**
 * One growing copy, not a list of the pieces: a piece of some two hundred bytes costs twice that as an object, and a
 * thousand streams that keep one a token have the garbage collector move them all, which the streams' readers notice.
 */
export function createByteLog(maxBytes: number): ByteLog {
  let only: Uint8Array | undefined; // a whole answer comes in one piece and is not copied
  let kept = nothing;
  let size = 0;
  const log = {
    overflowed: false,
    push(bytes: Uint8Array) {
      if (log.overflowed) return;
      if (size + bytes.length > maxBytes) {
        log.overflowed = true;
        only = undefined;
        kept = nothing;
        size = 0;
      } else if (size === 0) {
        only = bytes;
        size = bytes.length;
      } else {
        if (only) {
          write(only, 0);
          only = undefined;
        }
        write(bytes, size);
        size += bytes.length;
      }
    },
    bytes: () => only ?? kept.subarray(0, size),
  };
  const write = (bytes: Uint8Array, at: number) => {
    const needed = at + bytes.length;
    if (needed > kept.length) {
      const larger = new Uint8Array(Math.min(maxBytes, Math.max(needed, kept.length * 2, firstBytes)));
      larger.set(kept.subarray(0, at));
      kept = larger;
    }
    kept.set(bytes, at);
  };
  return log;
}
