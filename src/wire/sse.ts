import { GatewayError } from '../core/errors.ts';
import { concatBytes } from '../core/streams.ts';

/** One dispatched server-sent event. */
export interface SseEvent {
  readonly event?: string;
  readonly data: string;
  readonly id?: string;
}

export const sseHeaders = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  'x-accel-buffering': 'no',
} as const;

/** Larger events end the stream with an error: an endless line must not fill the memory. */
const maxSseEventBytes = 16 * 1024 * 1024;

/** A comment: keeps proxies and clients awake, and no SDK sees it. */
export const ssePing = ': ping\n\n';
export const sseDone = 'data: [DONE]\n\n';

/** `json` has no raw line breaks, as JSON.stringify makes it. */
export const encodeSse = (json: string): string => `data: ${json}\n\n`;
/** One event with a name and one line of data. */
export const encodeNamedSse = (event: string, json: string): string => `event: ${event}\ndata: ${json}\n\n`;

const LF = 10;
const CR = 13;
const SPACE = 32;
const COLON = 58;
const bom = [0xef, 0xbb, 0xbf];

/**
 * Reads events out of bytes cut anywhere: LF, CRLF and CR, a leading BOM, comments, several data lines. UTF-8 is decoded
 * per whole line, so a character cut in two is never damaged. `push` throws upstream_failed past `maxEventBytes`.
 * `end` gives the event that the stream's end left without its blank line, if there is one.
 */
export function createSseDecoder({ maxEventBytes = maxSseEventBytes }: { readonly maxEventBytes?: number } = {}) {
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  let carry: Uint8Array[] = [];
  let heldBytes = 0; // of the line in `carry` and of the data lines so far
  let data: string | undefined;
  let event: string | undefined;
  let id: string | undefined;
  let skipLf = false;
  let bomBytes = 0; // bytes of a BOM seen at the start; 3 or -1 when that question is settled

  const hold = (bytes: number) => {
    heldBytes += bytes;
    if (heldBytes > maxEventBytes) {
      carry = [];
      data = undefined;
      throw new GatewayError('upstream_failed', `An event of the stream is larger than ${maxEventBytes} bytes.`);
    }
  };
  const dispatch = (out: SseEvent[]) => {
    if (data !== undefined) {
      out.push({ data, ...(event === undefined ? {} : { event }), ...(id === undefined ? {} : { id }) });
    }
    data = undefined;
    event = undefined;
    id = undefined;
    heldBytes = 0;
  };
  const text = (bytes: Uint8Array, start: number, end: number) =>
    utf8.decode(bytes.subarray(bytes[start] === SPACE && start < end ? start + 1 : start, end));

  /** One line, from `start` up to its end; positions instead of slices, because every slice costs more than the scan. */
  const takeLine = (bytes: Uint8Array, start: number, end: number, out: SseEvent[]) => {
    if (start === end) {
      dispatch(out);
      return;
    }
    if (
      end - start >= 5 &&
      bytes[start] === 100 &&
      bytes[start + 1] === 97 &&
      bytes[start + 2] === 116 &&
      bytes[start + 3] === 97 &&
      bytes[start + 4] === COLON
    ) {
      hold(end - start);
      const value = text(bytes, start + 5, end);
      data = data === undefined ? value : `${data}\n${value}`;
      return;
    }
    if (bytes[start] === COLON) return; // comment
    const found = bytes.subarray(start, end).indexOf(COLON);
    const colon = found < 0 ? end : start + found;
    const value = () => (colon === end ? '' : text(bytes, colon + 1, end));
    const field = utf8.decode(bytes.subarray(start, colon));
    if (field === 'data') {
      data = data === undefined ? '' : `${data}\n`; // `data` without a colon
      hold(4);
    } else if (field === 'event') event = value() || undefined;
    else if (field === 'id') {
      const given = value();
      if (!given.includes('\0')) id = given;
    }
  };

  const endLine = (bytes: Uint8Array, start: number, end: number, out: SseEvent[]) => {
    if (carry.length === 0) {
      takeLine(bytes, start, end, out);
      return;
    }
    for (const piece of carry) heldBytes -= piece.length;
    carry.push(bytes.subarray(start, end));
    const line = concatBytes(carry);
    carry = [];
    takeLine(line, 0, line.length, out);
  };

  return {
    push(bytes: Uint8Array): SseEvent[] {
      const out: SseEvent[] = [];
      let position = 0;
      while (bomBytes >= 0 && bomBytes < 3 && position < bytes.length) {
        if (bytes[position] === bom[bomBytes]) {
          bomBytes++;
          position++;
        } else {
          if (bomBytes > 0) carry.push(Uint8Array.from(bom.slice(0, bomBytes)));
          hold(bomBytes);
          bomBytes = -1;
        }
      }
      if (skipLf && position < bytes.length) {
        skipLf = false;
        if (bytes[position] === LF) position++;
      }
      let cr = bytes.indexOf(CR, position);
      while (position < bytes.length) {
        const lf = bytes.indexOf(LF, position);
        if (cr >= 0 && (lf < 0 || cr < lf)) {
          endLine(bytes, position, cr, out);
          position = cr + 1;
          if (position === bytes.length) skipLf = true;
          else if (bytes[position] === LF) position++;
          cr = bytes.indexOf(CR, position);
        } else if (lf >= 0) {
          endLine(bytes, position, lf, out);
          position = lf + 1;
          while (bytes[position] === LF) {
            dispatch(out); // the empty line, seen without another search
            position++;
          }
        } else {
          hold(bytes.length - position);
          carry.push(bytes.slice(position)); // a copy: the transport may use its buffer again
          break;
        }
      }
      return out;
    },
    end(): SseEvent | undefined {
      const out: SseEvent[] = [];
      if (carry.length > 0) endLine(new Uint8Array(), 0, 0, out);
      dispatch(out);
      return out[0];
    },
  };
}

/** The events of a body. What the end leaves without a blank line still counts: JSON tells by itself if it is whole. */
export async function* decodeSse(
  body: AsyncIterable<Uint8Array>,
  options: { readonly maxEventBytes?: number } = {},
): AsyncGenerator<SseEvent> {
  const decoder = createSseDecoder(options);
  for await (const bytes of body) yield* decoder.push(bytes);
  const last = decoder.end();
  if (last) yield last;
}

/**
 * Cuts a byte stream after whole events without reading them, so that what is passed on can be followed by an event of
 * our own at any moment. `push` returns the bytes up to the last event's end, or undefined while there is none.
 */
export function createSseCutter({ maxEventBytes = maxSseEventBytes }: { readonly maxEventBytes?: number } = {}) {
  let carry: Uint8Array[] = [];
  let carryBytes = 0;
  let before = [0, 0]; // the last two bytes of `carry`
  return {
    push(bytes: Uint8Array): Uint8Array | undefined {
      const cut = lastEventEnd(bytes, before);
      if (cut === 0) {
        carryBytes += bytes.length;
        if (carryBytes > maxEventBytes) {
          throw new GatewayError('upstream_failed', `An event of the stream is larger than ${maxEventBytes} bytes.`);
        }
        carry.push(bytes.slice());
        before = [byteBefore(bytes, bytes.length - 2, before), byteBefore(bytes, bytes.length - 1, before)];
        return undefined;
      }
      const whole = carry.length === 0 ? bytes.subarray(0, cut) : concatBytes([...carry, bytes.subarray(0, cut)]);
      carry = cut < bytes.length ? [bytes.slice(cut)] : [];
      carryBytes = bytes.length - cut;
      before = [byteBefore(bytes, bytes.length - 2, before), byteBefore(bytes, bytes.length - 1, before)];
      return whole;
    },
    /** The unfinished event: what the stream's end left. */
    rest(): Uint8Array {
      return carry.length === 0 ? new Uint8Array() : concatBytes(carry);
    },
  };
}

const byteBefore = (bytes: Uint8Array, index: number, before: readonly number[]): number =>
  (index >= 0 ? bytes[index] : before[index + 2]) ?? 0;

/** Index after the last line end that closes an empty line, 0 if there is none; `before` are the two bytes ahead. */
function lastEventEnd(bytes: Uint8Array, before: readonly number[]): number {
  for (let index = bytes.length - 1; index >= 0; index--) {
    const byte = bytes[index];
    if (byte !== LF && byte !== CR) continue;
    const previous = byteBefore(bytes, index - 1, before);
    if (previous === LF) return index + 1;
    if (previous !== CR) continue;
    if (byte === CR) return index + 1;
    const earlier = byteBefore(bytes, index - 2, before); // LF of a CRLF pair
    if (earlier === LF || earlier === CR) return index + 1;
  }
  return 0;
}
