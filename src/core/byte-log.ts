/** Bytes that came piece by piece, kept together up to a bound. */
export interface ByteLog {
  push(bytes: Uint8Array): void;
  /** All of it; empty once more came than is kept, and after the release. */
  bytes(): Uint8Array;
  /** Nobody will ask for the bytes any more. What comes later is not kept. */
  release(): void;
  readonly overflowed: boolean;
}

const pageBytes = 4096;
const pagesAtOnce = 16;
const maxSparePages = 2048;
const nothing = new Uint8Array();

/** Pages between two logs. */
const spare: Uint8Array[] = [];

/**
 * Pages that all logs share, not arrays of their own: a thousand streams that keep one a token have the garbage collector
 * move them all, and arrays that grow and die with each stream have it mark the whole heap every second, which the
 * streams' readers notice.
 */
export function createByteLog(maxBytes: number): ByteLog {
  let only: Uint8Array | undefined; // a whole answer comes in one piece and is not copied
  let pages: Uint8Array[] = [];
  let size = 0;
  let released = false;
  const log = {
    overflowed: false,
    push(bytes: Uint8Array) {
      if (log.overflowed || released) return;
      if (size + bytes.length > maxBytes) {
        log.overflowed = true;
        drop();
      } else if (size === 0) {
        only = bytes;
        size = bytes.length;
      } else {
        if (only) write(only, 0);
        only = undefined;
        write(bytes, size);
        size += bytes.length;
      }
    },
    bytes() {
      if (only || size === 0) return only ?? nothing;
      const whole = new Uint8Array(size);
      pages.forEach((page, index) => {
        const at = index * pageBytes;
        whole.set(size - at < pageBytes ? page.subarray(0, size - at) : page, at);
      });
      return whole;
    },
    release() {
      released = true;
      drop();
    },
  };
  const write = (bytes: Uint8Array, at: number) => {
    for (let from = 0; from < bytes.length; ) {
      const offset = (at + from) % pageBytes;
      const index = (at + from - offset) / pageBytes;
      const page = pages[index] ?? takePage();
      pages[index] = page;
      const part = bytes.subarray(from, from + pageBytes - offset);
      page.set(part, offset);
      from += part.length;
    }
  };
  const drop = () => {
    for (const page of pages) if (spare.length < maxSparePages) spare.push(page);
    pages = [];
    only = undefined;
    size = 0;
  };
  return log;
}

function takePage(): Uint8Array {
  const page = spare.pop();
  if (page) return page;
  const slab = new Uint8Array(pageBytes * pagesAtOnce);
  for (let at = pageBytes; at < slab.length; at += pageBytes) spare.push(slab.subarray(at, at + pageBytes));
  return slab.subarray(0, pageBytes);
}
