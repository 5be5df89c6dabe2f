import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { createSseDecoder, type SseEvent } from '../../src/wire/sse.ts';

/** Reads usage and finish out of a stream that passes by, in one dialect. */
export interface StreamObserver {
  /**
   * Where from `from` on the text of whole events may hold more than ordinary deltas; -1 where it surely does not. `from`
   * is the beginning of an event. Cheap; a false alarm costs only time.
   */
  notable(text: string, from: number): number;
  /** Whether the text of whole events, the first of a stream, surely holds the answer's head alone and no token. */
  opens(text: string): boolean;
  /** Looks at one event. Throws for an error that the upstream put into the stream. */
  see(event: SseEvent): Verdict;
  /** Nothing but the terminator is missing: an upstream that breaks off now has given all of its answer. */
  whole(): boolean;
  /** The upstream has ended. Throws where the answer is not complete; else what is to be sent and told still. */
  end(): { readonly missing: string; readonly events: readonly CompletionEvent[] };
}

export interface Verdict {
  /** Told to the gateway, not to the client. */
  readonly events?: readonly CompletionEvent[];
  /** The client did not ask for this one: it stays here. */
  readonly drop?: boolean;
  /** The data that goes on in the place of what came. */
  readonly instead?: string;
  /** The answer's last event: whatever follows is not read. */
  readonly last?: boolean;
}

/** What an observer made of some events. */
export interface Seen {
  /** What may go on to the client; the very bytes that came where all of it may. */
  readonly wire: Uint8Array;
  readonly events: readonly CompletionEvent[];
  /** The answer has ended. */
  readonly last: boolean;
  readonly failure: GatewayError | undefined;
  /** There was an event: comments alone are no sign of an answer. */
  readonly known: boolean;
}

const encoder = new TextEncoder();
const nothing = new Uint8Array();

/**
 * Shows whole events to the observer. Those that are ordinary by their text are not parsed: undefined where all are.
 * `text` is undefined for bytes that are no UTF-8. The `first` event is always shown.
 */
export function seeEvents(
  bytes: Uint8Array,
  text: string | undefined,
  observer: StreamObserver,
  first: boolean,
): Seen | undefined {
  if (text === undefined || !isPlain(text)) return seeAll(bytes, observer, text === undefined);
  const from = first ? 0 : observer.notable(text, 0);
  return from < 0 ? undefined : seeNotable(bytes, text, observer, from);
}

/** True when every event is one line of data, perhaps named, that at least looks like a whole JSON object, or the end. */
function isPlain(text: string): boolean {
  if (text.includes('\r')) return false;
  for (let start = 0; start < text.length; ) {
    if (text.startsWith('event: ', start)) start = text.indexOf('\n', start) + 1;
    const end = text.indexOf('\n', start);
    if (end < 0 || text.charCodeAt(end + 1) !== 10 || !text.startsWith('data: ', start)) return false;
    const object = text.charCodeAt(start + 6) === 0x7b && text.charCodeAt(end - 1) === 0x7d;
    if (!object && !(end === start + 12 && text.startsWith('[DONE]', start + 6))) return false;
    start = end + 2;
  }
  return text !== '';
}

/**
 * Shows the events of a plain text that are notable, from the one around `at` on. A read of a busy socket brings a
 * hundred events of which the last is notable: parsing the others with it would cost more than all else on their way.
 */
function seeNotable(bytes: Uint8Array, text: string, observer: StreamObserver, from: number): Seen {
  const events: CompletionEvent[] = [];
  let kept = '';
  let keptTo = 0;
  let failure: GatewayError | undefined;
  let last = false;
  let changed = false;
  for (let at = from; at >= 0; ) {
    const before = at === 0 ? -1 : text.lastIndexOf('\n\n', at - 1);
    const start = before < 0 ? 0 : before + 2;
    const end = text.indexOf('\n\n', at) + 2;
    const event = eventIn(text, start, end - 2);
    try {
      const verdict = observer.see(event);
      if (verdict.events) events.push(...verdict.events);
      const better = stands(event, verdict);
      if (better !== event) {
        kept += text.slice(keptTo, start) + (better ? encodeEvent(better) : '');
        keptTo = end;
        changed = true;
      }
      last = verdict.last === true;
    } catch (error) {
      failure = gatewayError(error);
    }
    if (last || failure) {
      const to = failure ? start : end;
      kept += text.slice(keptTo, Math.max(keptTo, to));
      keptTo = text.length;
      changed ||= to < text.length;
      break;
    }
    at = end < text.length ? observer.notable(text, end) : -1;
  }
  const wire = changed ? encoder.encode(kept + text.slice(keptTo)) : bytes;
  return { wire, events, last, failure, known: true };
}

/** The event of a plain text that stands there, without its blank line. */
function eventIn(text: string, start: number, end: number): SseEvent {
  if (!text.startsWith('event: ', start)) return { data: text.slice(start + 6, end) };
  const lineEnd = text.indexOf('\n', start);
  return { event: text.slice(start + 7, lineEnd), data: text.slice(lineEnd + 7, end) };
}

/** Shows every event, whatever its form. `damaged`: bytes that are no UTF-8, which confuse all clients. */
export function seeAll(bytes: Uint8Array, observer: StreamObserver, damaged: boolean): Seen {
  const all = createSseDecoder().push(bytes);
  const kept: SseEvent[] = [];
  const events: CompletionEvent[] = [];
  // CR and BOM confuse some clients
  let changed = damaged || bytes.includes(13) || (bytes[0] === 0xef && bytes[1] === 0xbb);
  let failure: GatewayError | undefined;
  let last = false;
  for (const [index, event] of all.entries()) {
    try {
      const verdict = observer.see(event);
      events.push(...(verdict.events ?? []));
      const better = stands(event, verdict);
      if (better !== event) changed = true;
      if (better) kept.push(better);
      if (verdict.last) {
        last = true;
        if (index < all.length - 1) changed = true;
        break;
      }
    } catch (error) {
      failure = gatewayError(error);
      changed = true;
      break;
    }
  }
  const known = all.length > 0;
  // Comments alone are no sign of an answer: who hangs behind them must not look alive.
  const wire = !known ? nothing : changed ? encoder.encode(kept.map(encodeEvent).join('')) : bytes;
  return { wire, events, last, failure, known };
}

/** The event as it goes on: itself, another in its place, or none. */
function stands(event: SseEvent, { drop, instead }: Verdict): SseEvent | undefined {
  if (drop) return undefined;
  return instead === undefined ? event : { ...event, data: instead };
}

function encodeEvent({ event, data, id }: SseEvent): string {
  const lines = data.includes('\n') ? data.split('\n').join('\ndata: ') : data;
  return `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: ${lines}\n\n`;
}

function gatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  throw error;
}
