import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { ReadyIterator } from '../../src/core/streams.ts';
import { createSseCutter, type SseEvent } from '../../src/wire/sse.ts';
import { type StreamObserver, seeEvents } from './see-events.ts';

const encoder = new TextEncoder();

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
    const seen = seeEvents(bytes, decode(utf8, bytes), observer, first);
    if (!seen) {
      ready.push({ type: 'wire', bytes });
      return;
    }
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

/** Undefined for bytes that are not UTF-8: the careful way then finds the event at fault. */
function decode(utf8: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
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
