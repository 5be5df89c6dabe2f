import type { CompletionEvent } from '../../src/core/event.ts';

/**
 * Events whose source is only opened by the first pull, and then asked directly. A generator with `yield*` would say the
 * same, at several promises for every event.
 */
export function lazyEvents(
  open: () => Promise<AsyncIterable<CompletionEvent> | readonly CompletionEvent[]>,
): AsyncIterable<CompletionEvent> {
  return {
    [Symbol.asyncIterator]() {
      let iterator: AsyncIterator<CompletionEvent> | undefined;
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
        async return() {
          given = true;
          await iterator?.return?.();
          return { value: undefined, done: true };
        },
      };
    },
  };
}

const asyncIteratorOf = (source: AsyncIterable<CompletionEvent> | readonly CompletionEvent[]) =>
  (source as AsyncIterable<CompletionEvent>)[Symbol.asyncIterator](); // the array was told apart before

function listed(events: readonly CompletionEvent[]): AsyncIterator<CompletionEvent> {
  let at = 0;
  return {
    next() {
      const value = events[at++];
      return Promise.resolve(value ? { value, done: false } : { value: undefined, done: true });
    },
  };
}
