import type { CompletionEvent } from '../../src/core/event.ts';
import type { ReadyIterator } from '../../src/core/streams.ts';

/** Events that come, or all of them at once. */
export type EventSource = AsyncIterable<CompletionEvent> | readonly CompletionEvent[];

/**
 * Events whose source is only opened by the first pull, and then asked directly. A generator with `yield*` would say the
 * same, at several promises for every event.
 */
export function lazyEvents(open: () => Promise<EventSource>): AsyncIterable<CompletionEvent> {
  return {
    [Symbol.asyncIterator](): ReadyIterator<CompletionEvent> {
      let iterator: ReadyIterator<CompletionEvent> | undefined;
      let given = false;
      return {
        next() {
          if (iterator) return iterator.next();
          if (given) return Promise.resolve({ value: undefined, done: true });
          given = true;
          return open().then((source) => {
            iterator = Array.isArray(source) ? listed(source) : asyncIteratorOf(source);
            return iterator.next();
          });
        },
        ready: () => iterator?.ready?.(),
        async return() {
          given = true;
          await iterator?.return?.();
          return { value: undefined, done: true };
        },
      };
    },
  };
}

const asyncIteratorOf = (source: EventSource) => (source as AsyncIterable<CompletionEvent>)[Symbol.asyncIterator](); // the array was told apart before

function listed(events: readonly CompletionEvent[]): ReadyIterator<CompletionEvent> {
  let at = 0;
  const ready = (): IteratorResult<CompletionEvent, undefined> => {
    const value = events[at++];
    return value ? { value, done: false } : { value: undefined, done: true };
  };
  return { ready, next: () => Promise.resolve(ready()) };
}
