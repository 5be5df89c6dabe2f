import { GatewayError } from '../core/errors.ts';
import { concatBytes, type ReadyIterator } from '../core/streams.ts';
import type { TransportBody } from '../core/transport.ts';
import { answerTooLarge } from './errors.ts';

/** Bytes held for a reader that lags behind; beyond, the socket is paused. */
const highWaterBytes = 64 * 1024;
/** How long an abandoned body may still come to its end, so that its connection can be used again. */
const drainMs = 50;

export interface BodySource {
  pause(): void;
  resume(): void;
  /** Closes the socket; the source must then call `fail` or `end`. */
  abort(reason: Error): void;
}

/**
 * The bytes of one answer between the socket that pushes them and the reader that pulls them. Chunks that came while
 * nobody pulled are handed over as one, so that a busy reader pays once for many. Nothing is ever dropped but after
 * `return`.
 */
export class PulledBody implements ReadyIterator<Uint8Array>, TransportBody {
  readonly #source: BodySource;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #paused = false;
  #ended = false;
  #abandoned = false;
  #error: Error | undefined;
  #waiting: { resolve: (result: IteratorResult<Uint8Array>) => void; reject: (error: Error) => void } | undefined;
  /** What `wait` gave, and how to resolve it. */
  #news: Promise<void> | undefined;
  #tell: (() => void) | undefined;
  #gathering: { resolve: (bytes: Uint8Array) => void; reject: (error: Error) => void; maxBytes: number } | undefined;

  constructor(source: BodySource) {
    this.#source = source;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(chunk: Uint8Array): void {
    this.#queuedBytes += chunk.length;
    if (this.#abandoned) {
      if (this.#queuedBytes > highWaterBytes) this.#source.abort(abandoned());
      return;
    }
    this.#queue.push(chunk);
    if (this.#gathering) {
      const { maxBytes } = this.#gathering;
      if (this.#queuedBytes <= maxBytes) return;
      const error = answerTooLarge(maxBytes);
      this.fail(error);
      this.#source.abort(error);
    } else if (this.#waiting) {
      // One read of the socket may bring a hundred chunks, each told by its own call: they go on together, after it.
      if (this.#queue.length === 1) queueMicrotask(this.#deliver);
    } else if (this.#news) {
      this.#wake(); // whoever waits looks when this turn is over
    } else if (this.#queuedBytes > highWaterBytes && !this.#paused) {
      this.#paused = true;
      this.#source.pause();
    }
  }

  readonly #deliver = (): void => {
    const waiting = this.#waiting;
    if (!waiting || this.#queue.length === 0) return;
    this.#waiting = undefined;
    waiting.resolve({ value: this.#take(), done: false });
  };

  #take(): Uint8Array {
    const value = concatBytes(this.#queue);
    this.#queue = [];
    this.#queuedBytes = 0;
    return value;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#gathering) {
      this.#gathering.resolve(this.#take());
      return;
    }
    this.#deliver(); // what came with the end
    this.#waiting?.resolve({ value: undefined, done: true });
    this.#waiting = undefined;
    this.#wake();
  }

  fail(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#gathering) {
      this.#queue = [];
      this.#gathering.reject(error);
      return;
    }
    this.#deliver();
    if (this.#waiting) {
      this.#waiting.reject(error);
      this.#waiting = undefined;
    } else if (!this.#abandoned) {
      this.#error = error;
      this.#wake();
    }
  }

  #wake(): void {
    const tell = this.#tell;
    this.#news = undefined;
    this.#tell = undefined;
    tell?.();
  }

  ready(): IteratorResult<Uint8Array, undefined> | undefined {
    if (this.#queue.length > 0) {
      const value = this.#take();
      if (this.#paused) {
        this.#paused = false;
        this.#source.resume();
      }
      return { value, done: false };
    }
    if (this.#error || !(this.#ended || this.#abandoned)) return undefined;
    return { value: undefined, done: true };
  }

  wait(): Promise<void> | undefined {
    if (this.#queue.length > 0 || this.#ended || this.#abandoned) return undefined;
    this.#news ??= new Promise((resolve) => {
      this.#tell = resolve;
    });
    return this.#news;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const there = this.ready();
    if (there) return Promise.resolve(there);
    if (this.#error) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  whole(maxBytes: number): Uint8Array | Promise<Uint8Array> {
    if (this.#ended && !this.#error && this.#queuedBytes <= maxBytes) return this.#take();
    return new Promise((resolve, reject) => {
      if (this.#error) reject(this.#error);
      else if (this.#queuedBytes > maxBytes) {
        void this.return();
        reject(answerTooLarge(maxBytes));
      } else {
        this.#gathering = { resolve, reject, maxBytes };
        if (this.#paused) this.#source.resume();
        this.#paused = false;
      }
    });
  }

  /** Gives the body up: what is left may end by itself for a moment (the connection lives on), then the socket is closed. */
  return(): Promise<IteratorResult<Uint8Array>> {
    this.#abandoned = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#error = undefined;
    this.#wake();
    if (!this.#ended) {
      if (this.#paused) this.#source.resume();
      setTimeout(() => {
        if (!this.#ended) this.#source.abort(abandoned());
      }, drainMs);
    }
    return Promise.resolve({ value: undefined, done: true });
  }
}

const abandoned = () => new GatewayError('cancelled', 'The rest of the answer was not wanted.');
