import { itemsThere, type ReadyIterator } from './streams.ts';

/** One step of a stream: what becomes of each item, as plain calls. Made anew for each stream. */
export interface Step<T, U> {
  /** Adds what may go out now. `true`: no more is wanted, and the source is closed. What it throws follows what it added. */
  push(item: T, out: U[]): boolean | undefined;
  /** After `true`: an item that is there already, such as what the source has counted. */
  rest?(item: T, out: U[]): void;
  /** Adds what is left when the source has ended. */
  end?(out: U[]): void;
  /** What is thrown in place of the source's own error. */
  failed?(error: unknown): unknown;
}

/**
 * A stream through a step. Items that are there already go through in one turn, without a promise: a generator that does
 * the same makes several for each item, and a stream goes through half a dozen of them.
 */
export const through = <T, U>(source: AsyncIterable<T>, open: () => Step<T, U>): AsyncIterable<U> =>
  new Opened(source, (iterator) => new Through(iterator, open()));

/** Items of a source as a further iterator gives them. A class for its method: in literals, symbols are dear. */
export class Opened<T, U> implements AsyncIterable<U> {
  readonly #source: AsyncIterable<T>;
  readonly #open: (iterator: ReadyIterator<T>) => ReadyIterator<U>;

  constructor(source: AsyncIterable<T>, open: (iterator: ReadyIterator<T>) => ReadyIterator<U>) {
    this.#source = source;
    this.#open = open;
  }

  [Symbol.asyncIterator](): ReadyIterator<U> {
    return this.#open(this.#source[Symbol.asyncIterator]());
  }
}

/** A class, as are its neighbours: literals with a dozen closures would be made anew for every stage of every request. */
class Through<T, U> implements ReadyIterator<U> {
  readonly #source: ReadyIterator<T>;
  readonly #step: Step<T, U>;
  readonly #out: U[] = [];
  #given = 0;
  #over = false;
  #failure: { readonly error: unknown } | undefined;
  /** Closing the source, where the step ended before it did. */
  #closing: Promise<unknown> | undefined;

  constructor(source: ReadyIterator<T>, step: Step<T, U>) {
    this.#source = source;
    this.#step = step;
  }

  ready(): IteratorResult<U, undefined> | undefined {
    const out = this.#out;
    for (;;) {
      if (out.length === 1) return { done: false, value: out.pop() as U }; // mostly; setting `length` is a call into the runtime
      if (this.#given < out.length) {
        const value = out[this.#given++] as U; // in range
        if (this.#given === out.length) this.#given = out.length = 0;
        return { done: false, value };
      }
      if (this.#over) return this.#failure || this.#closing ? undefined : { done: true, value: undefined };
      const result = this.#source.ready?.();
      if (!result) return undefined;
      this.#take(result);
    }
  }

  wait(): Promise<void> | undefined {
    return this.#over || this.#out.length > 0 ? undefined : this.#source.wait?.();
  }

  next(): Promise<IteratorResult<U>> {
    try {
      const result = this.ready();
      return result ? Promise.resolve(result) : this.#next();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async return(): Promise<IteratorResult<U>> {
    if (!this.#over) {
      this.#over = true;
      this.#out.length = this.#given = 0;
      await this.#source.return?.();
    }
    return { done: true, value: undefined };
  }

  #take(result: IteratorResult<T>): void {
    try {
      if (result.done) {
        this.#over = true;
        this.#step.end?.(this.#out);
      } else if (this.#step.push(result.value, this.#out)) {
        this.#over = true;
        if (this.#step.rest) for (const item of itemsThere(this.#source)) this.#step.rest(item, this.#out);
        this.#closing = this.#source.return?.();
      }
    } catch (error) {
      this.#failure = { error };
      if (!this.#over) void this.#source.return?.()?.catch(() => {}); // the step's own error is the one to tell
      this.#over = true;
    }
  }

  /** What has to be waited for. */
  async #next(): Promise<IteratorResult<U>> {
    for (;;) {
      if (this.#failure) {
        const { error } = this.#failure;
        this.#failure = undefined;
        throw error;
      }
      if (this.#closing) {
        const closed = this.#closing;
        this.#closing = undefined;
        await closed;
        return { done: true, value: undefined };
      }
      let result: IteratorResult<T>;
      try {
        result = await this.#source.next();
      } catch (error) {
        this.#over = true;
        throw this.#step.failed ? this.#step.failed(error) : error;
      }
      this.#take(result);
      const ready = this.ready();
      if (ready) return ready;
    }
  }
}

/** The same items, each seen on its way. */
export const watched = <T>(source: AsyncIterable<T>, see: (item: T) => void): AsyncIterable<T> =>
  new Opened(source, (iterator) => new Watched(iterator, see));

class Watched<T> implements ReadyIterator<T> {
  readonly #source: ReadyIterator<T>;
  readonly #see: (item: T) => void;

  constructor(source: ReadyIterator<T>, see: (item: T) => void) {
    this.#source = source;
    this.#see = see;
  }

  async next(): Promise<IteratorResult<T>> {
    return this.#look(await this.#source.next());
  }

  ready(): IteratorResult<T, undefined> | undefined {
    const result = this.#source.ready?.();
    return result && this.#look(result);
  }

  wait(): Promise<void> | undefined {
    return this.#source.wait?.();
  }

  async return(value?: unknown): Promise<IteratorResult<T>> {
    return (await this.#source.return?.(value)) ?? { done: true, value: undefined };
  }

  #look<R extends IteratorResult<T>>(result: R): R {
    if (!result.done) this.#see(result.value);
    return result;
  }
}
