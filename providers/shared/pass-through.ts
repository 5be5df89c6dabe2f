import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { ReadyIterator } from '../../src/core/streams.ts';
import { createSseCutter, createSseDecoder, type SseEvent } from '../../src/wire/sse.ts';

/** Reads usage and finish out of a stream that passes by, in one dialect. */
export interface StreamObserver {
  /** True when the text of whole events may hold more than ordinary deltas. Cheap; a false alarm costs only time. */
  notable(text: string): boolean;
  /** Looks at one event of a notable text. Throws for an error that the upstream put into the stream. */
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
  /** The answer's last event: whatever follows is not read. */
  readonly last?: boolean;
}

const encoder = new TextEncoder();
const nothing = new Uint8Array();

/**
 * Hands an SSE body on as it is, cut at whole events, while `observer` reads what is to be recorded. Chunks of plain
 * deltas are neither parsed nor copied. A stream that fails is delivered up to the failure, which is then thrown, and
 * the client never gets the `[DONE]` that would hide it. An iterator by hand: this runs for every chunk of every
 * stream, and a generator would make several promises where one does.
 */
export function passThroughSse(
  body: AsyncIterable<Uint8Array>,
  observer: StreamObserver,
): AsyncIterable<CompletionEvent> & ReadyIterator<CompletionEvent> {
  const source = body[Symbol.asyncIterator]();
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const cutter = createSseCutter();
  const ready: CompletionEvent[] = [];
  let first = true; // always looked at: it tells the upstream's id, and an error that comes first can still be a status
  let failure: GatewayError | undefined;
  let over = false;

  const take = (chunk: Uint8Array): void => {
    const bytes = cutter.push(chunk);
    if (!bytes) return;
    const text = decode(utf8, bytes);
    if (!first && text !== undefined && isPlain(text) && !observer.notable(text)) {
      ready.push({ type: 'wire', bytes });
      return;
    }
    const seen = look(bytes, observer, text === undefined);
    if (seen.known) first = false;
    for (const event of seen.events) if (event.type === 'start') ready.push(event);
    if (seen.wire.length > 0) ready.push({ type: 'wire', bytes: seen.wire });
    for (const event of seen.events) if (event.type !== 'start') ready.push(event);
    failure = seen.failure;
    if (seen.last) finish();
  };
  /** What the end left without a blank line is no event: the upstream was cut off, or the observer knows better. */
  const finish = (): void => {
    over = true;
    void source.return?.();
    const { missing, events } = observer.end();
    if (missing !== '') ready.push({ type: 'wire', bytes: encoder.encode(missing) });
    ready.push(...events);
  };
  const onChunk = (
    result: IteratorResult<Uint8Array>,
  ): IteratorResult<CompletionEvent> | Promise<IteratorResult<CompletionEvent>> => {
    try {
      if (result.done) finish();
      else take(result.value);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      failure = error; // after what is ready
    }
    return next();
  };
  const onBreak = (error: unknown): Promise<IteratorResult<CompletionEvent>> => {
    if (!observer.whole()) throw error;
    finish();
    return next();
  };
  const next = (): Promise<IteratorResult<CompletionEvent>> => {
    const value = ready.shift();
    if (value) return Promise.resolve({ value, done: false });
    if (failure) {
      const error = failure;
      failure = undefined;
      over = true;
      void source.return?.();
      return Promise.reject(error);
    }
    return over ? Promise.resolve(finished) : source.next().then(onChunk, onBreak);
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next,
    ready() {
      const value = ready.shift();
      if (value) return { value, done: false };
      return over && !failure ? finished : undefined;
    },
    async return() {
      over = true;
      ready.length = 0;
      await source.return?.();
      return finished;
    },
  };
}

const finished = { value: undefined, done: true } as const;

/** Event by event: what may go on, what it told, and whether it ended or failed. */
function look(bytes: Uint8Array, observer: StreamObserver, damaged: boolean) {
  const decoder = createSseDecoder();
  const all = decoder.push(bytes);
  const kept: SseEvent[] = [];
  const events: CompletionEvent[] = [];
  // CR and BOM confuse some clients; bytes that are no UTF-8 confuse all
  let changed = damaged || bytes.includes(13) || (bytes[0] === 0xef && bytes[1] === 0xbb);
  let failure: GatewayError | undefined;
  let last = false;
  for (const [index, event] of all.entries()) {
    try {
      const verdict = observer.see(event);
      events.push(...(verdict.events ?? []));
      if (verdict.drop) changed = true;
      else kept.push(event);
      if (verdict.last) {
        last = true;
        if (index < all.length - 1) changed = true;
        break;
      }
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      failure = error;
      changed = true;
      break;
    }
  }
  return {
    // Comments alone are no sign of an answer: who hangs behind them must not look alive.
    wire: all.length === 0 ? nothing : changed ? encoder.encode(kept.map(encodeEvent).join('')) : bytes,
    events,
    last,
    failure,
    known: all.length > 0,
  };
}

function encodeEvent({ event, data, id }: SseEvent): string {
  const lines = data.includes('\n') ? data.split('\n').join('\ndata: ') : data;
  return `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: ${lines}\n\n`;
}

/** Undefined for bytes that are not UTF-8: the careful way then finds the event at fault. */
function decode(utf8: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** True when every event is one line of data, perhaps named, that at least looks like a whole JSON object. */
function isPlain(text: string): boolean {
  if (text.includes('\r')) return false;
  for (let start = 0; start < text.length; ) {
    const end = text.indexOf('\n\n', start);
    if (text.startsWith('event: ', start)) start = text.indexOf('\n', start) + 1;
    if (end < 0 || !text.startsWith('data: {', start) || text.charCodeAt(end - 1) !== 0x7d) return false;
    start = end + 2;
  }
  return true;
}

/** The object in an event's data. Throws `upstream_failed` for anything else. */
export function parseEvent({ data }: SseEvent): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>; // narrowed above
  } catch {}
  throw new GatewayError('upstream_failed', 'The upstream sent an event that is not a JSON object.');
}

/** What is recorded of an answer that the client gets as bytes. */
export const isObserved = ({ type }: CompletionEvent): boolean =>
  type === 'start' || type === 'finish' || type === 'usage';
