import type { ReadyIterator } from './streams.ts';

/** One step of a stream: what becomes of each item, as plain calls. Made anew for each stream. */
export interface Step<T, U> {
  /** Adds what may go out now. `true`: no more is wanted, and the source is closed. What it throws follows what it added. */
  push(item: T, out: U[]): boolean | undefined;
  /** Adds what is left when the source has ended. */
  end?(out: U[]): void;
}

/**
 * A stream through a step. Items that are there already go through in one turn, without a promise: a generator that does
 * the same makes several for each item, and a stream goes through half a dozen of them.
 */
export function through<T, U>(source: AsyncIterable<T>, open: () => Step<T, U>): AsyncIterable<U> {
  return {
    [Symbol.asyncIterator](): ReadyIterator<U> {
      const iterator: ReadyIterator<T> = source[Symbol.asyncIterator]();
      const step = open();
      const out: U[] = [];
      let given = 0;
      let over = false;
      let failure: { readonly error: unknown } | undefined;
      /** Closing the source, where the step ended before it did. */
      let closing: Promise<unknown> | undefined;

      const take = (result: IteratorResult<T>): void => {
        try {
          if (result.done) {
            over = true;
            step.end?.(out);
          } else if (step.push(result.value, out)) {
            over = true;
            closing = iterator.return?.();
          }
        } catch (error) {
          failure = { error };
          if (!over) void iterator.return?.()?.catch(() => {}); // the step's own error is the one to tell
          over = true;
        }
      };
      const ready = (): IteratorResult<U, undefined> | undefined => {
        for (;;) {
          if (given < out.length) {
            const value = out[given++] as U; // in range
            if (given === out.length) given = out.length = 0;
            return { done: false, value };
          }
          if (over) return failure || closing ? undefined : { done: true, value: undefined };
          const result = iterator.ready?.();
          if (!result) return undefined;
          take(result);
        }
      };
      const onError = (error: unknown): never => {
        over = true;
        throw error;
      };
      const onResult = (result: IteratorResult<T>): IteratorResult<U> | Promise<IteratorResult<U>> => {
        take(result);
        return ready() ?? next();
      };
      const next = (): Promise<IteratorResult<U>> => {
        if (failure) {
          const { error } = failure;
          failure = undefined;
          return Promise.reject(error);
        }
        if (closing) {
          const closed = closing;
          closing = undefined;
          return closed.then(() => ({ done: true, value: undefined }));
        }
        return iterator.next().then(onResult, onError);
      };
      return {
        ready,
        async next() {
          return ready() ?? next();
        },
        async return() {
          if (!over) {
            over = true;
            out.length = given = 0;
            await iterator.return?.();
          }
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/** The same items, each seen on its way. */
export function watched<T>(source: AsyncIterable<T>, see: (item: T) => void): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator](): ReadyIterator<T> {
      const iterator: ReadyIterator<T> = source[Symbol.asyncIterator]();
      const look = <R extends IteratorResult<T>>(result: R): R => {
        if (!result.done) see(result.value);
        return result;
      };
      return {
        next: () => iterator.next().then(look),
        ready() {
          const result = iterator.ready?.();
          return result && look(result);
        },
        return: async (value?: unknown) => (await iterator.return?.(value)) ?? { done: true, value: undefined },
      };
    },
  };
}
