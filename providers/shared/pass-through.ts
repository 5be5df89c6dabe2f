import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { type JsonObject, parseObject } from '../../src/core/json.ts';
import type { ReadyIterator } from '../../src/core/streams.ts';
import { createSseCutter, type SseEvent } from '../../src/wire/sse.ts';
import { type StreamObserver, seeEvents } from './see-events.ts';

const encoder = new TextEncoder();

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }); // of whole events at a time, so one for all

/**
 * Hands an SSE body on as it is, cut at whole events, while `observer` reads what is to be recorded. Chunks of plain
 * deltas are neither parsed nor copied. A stream that fails is delivered up to the failure, which is then thrown, and
 * the client never gets the `[DONE]` that would hide it.
 */
export function passThroughSse(
  body: AsyncIterable<Uint8Array>,
  observer: StreamObserver,
): AsyncIterable<CompletionEvent> & ReadyIterator<CompletionEvent> {
  return new PassThrough(body[Symbol.asyncIterator](), observer);
}

/** An iterator by hand: this runs for every chunk of every stream, and a generator would make several promises where one does. */
class PassThrough implements ReadyIterator<CompletionEvent>, AsyncIterable<CompletionEvent> {
  readonly #source: ReadyIterator<Uint8Array>;
  readonly #observer: StreamObserver;
  readonly #cutter = createSseCutter();
  readonly #ready: CompletionEvent[] = [];
  /** Always looked at: it tells the upstream's id, and an error that comes first can still be a status. */
  #first = true;
  #failure: GatewayError | undefined;
  #over = false;
  /** A token has come, or something that is not known to be none. */
  #begun = false;

  constructor(source: ReadyIterator<Uint8Array>, observer: StreamObserver) {
    this.#source = source;
    this.#observer = observer;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<CompletionEvent>> {
    for (;;) {
      const value = this.#ready.shift();
      if (value) return { value, done: false };
      if (this.#failure) throw this.#giveUp(this.#failure);
      if (this.#over) return finished;
      let result: IteratorResult<Uint8Array>;
      try {
        result = await this.#source.next();
      } catch (error) {
        if (!this.#observer.whole()) throw error;
        result = finished;
      }
      this.#see(result);
    }
  }

  ready(): IteratorResult<CompletionEvent, undefined> | undefined {
    for (;;) {
      const value = this.#ready.shift();
      if (value) return { value, done: false };
      if (this.#failure) return undefined;
      if (this.#over) return finished;
      const result = this.#source.ready?.();
      if (!result) return undefined;
      this.#see(result);
    }
  }

  wait(): Promise<void> | undefined {
    return this.#over || this.#failure ? undefined : this.#source.wait?.();
  }

  async return(): Promise<IteratorResult<CompletionEvent>> {
    this.#over = true;
    this.#ready.length = 0;
    await this.#source.return?.();
    return finished;
  }

  #see(result: IteratorResult<Uint8Array>): void {
    try {
      if (result.done) this.#finish();
      else this.#take(result.value);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.#failure = error; // after what is ready
    }
  }

  #take(chunk: Uint8Array): void {
    const bytes = this.#cutter.push(chunk);
    if (!bytes) return;
    const text = decode(bytes);
    const opening = !this.#begun && text !== undefined && this.#observer.opens(text);
    const seen = seeEvents(bytes, text, this.#observer, this.#first);
    this.#begun ||= !opening && seen?.known !== false;
    if (!seen) {
      this.#ready.push(opening ? { type: 'wire', bytes, opening } : { type: 'wire', bytes });
      return;
    }
    if (seen.known) this.#first = false;
    for (const event of seen.events) if (event.type === 'start') this.#ready.push(event);
    if (seen.wire.length > 0) this.#ready.push({ type: 'wire', bytes: seen.wire, ...(opening && { opening }) });
    for (const event of seen.events) if (event.type !== 'start') this.#ready.push(event);
    this.#failure = seen.failure;
    if (seen.last) this.#finish();
  }

  /** What the end left without a blank line is no event: the upstream was cut off, or the observer knows better. */
  #finish(): void {
    this.#over = true;
    void this.#source.return?.();
    const { missing, events } = this.#observer.end();
    if (missing !== '') this.#ready.push({ type: 'wire', bytes: encoder.encode(missing) });
    this.#ready.push(...events);
  }

  #giveUp(failure: GatewayError): GatewayError {
    this.#failure = undefined;
    this.#over = true;
    void this.#source.return?.();
    return failure;
  }
}

const finished = { value: undefined, done: true } as const;

/** Undefined for bytes that are not UTF-8: the careful way then finds the event at fault. */
function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** The object in an event's data. Throws `upstream_failed` for anything else. */
export function parseEvent({ data }: SseEvent): JsonObject {
  const object = parseObject(data);
  if (object) return object;
  throw new GatewayError('upstream_failed', 'The upstream sent an event that is not a JSON object.');
}

/** What is recorded of an answer that the client gets as bytes. */
export const isObserved = ({ type }: CompletionEvent): boolean =>
  type === 'start' || type === 'finish' || type === 'usage';
