import type { CompletionEvent } from '../../src/core/event.ts';
import type { ReadyIterator } from '../../src/core/streams.ts';

/** Events that come, or all of them at once. */
export type EventSource = AsyncIterable<CompletionEvent> | readonly CompletionEvent[];

/**
 * Events whose source is only opened by the first pull, and then asked directly. A generator with `yield*` would say the
 * same, at several promises for every event. To be read once.
 */
export const lazyEvents = (open: () => Promise<EventSource> | EventSource): AsyncIterable<CompletionEvent> =>
  new LazyEvents(open);

class LazyEvents implements ReadyIterator<CompletionEvent>, AsyncIterable<CompletionEvent> {
  readonly #open: () => Promise<EventSource> | EventSource;
  #iterator: ReadyIterator<CompletionEvent> | undefined;
  #given = false;

  constructor(open: () => Promise<EventSource> | EventSource) {
    this.#open = open;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<CompletionEvent>> {
    if (this.#iterator) return this.#iterator.next();
    return this.#given ? Promise.resolve(over) : this.#first();
  }

  async #first(): Promise<IteratorResult<CompletionEvent>> {
    this.#given = true;
    const source = await this.#open();
    this.#iterator = isList(source) ? new Listed(source) : source[Symbol.asyncIterator]();
    return this.#iterator.ready?.() ?? this.#iterator.next();
  }

  ready(): IteratorResult<CompletionEvent, undefined> | undefined {
    return this.#iterator?.ready?.();
  }

  wait(): Promise<void> | undefined {
    return this.#iterator?.wait?.();
  }

  async return(): Promise<IteratorResult<CompletionEvent>> {
    this.#given = true;
    await this.#iterator?.return?.();
    return over;
  }
}

class Listed implements ReadyIterator<CompletionEvent> {
  readonly #events: readonly CompletionEvent[];
  #at = 0;

  constructor(events: readonly CompletionEvent[]) {
    this.#events = events;
  }

  ready(): IteratorResult<CompletionEvent, undefined> {
    const value = this.#events[this.#at++];
    return value ? { value, done: false } : over;
  }

  next(): Promise<IteratorResult<CompletionEvent>> {
    return Promise.resolve(this.ready());
  }
}

const over = { value: undefined, done: true } as const;
const isList = (source: EventSource): source is readonly CompletionEvent[] => Array.isArray(source);
