import type { GatewayError } from '../core/errors.ts';
import { abortError, throwIfAborted } from '../core/signals.ts';
import { toGatewayError } from './engine-error.ts';
import type { EngineOutput, GenerateRequest, ToChild } from './protocol.ts';

/** Takes what the child says about one request. */
export interface Pending {
  output(output: EngineOutput): void;
  fail(error: GatewayError): void;
}

export interface GenerationDeps {
  readonly id: number;
  /** By id: who is told what the child says. */
  readonly pending: Map<number, Pending>;
  readonly load: (signal: AbortSignal) => Promise<unknown>;
  readonly send: (message: ToChild) => void;
}

type Result = IteratorResult<EngineOutput, undefined>;
const end: Result = { done: true, value: undefined };

/**
 * One answer as it comes from the child, begun with the first pull. The slot is given up when `signal` aborts or the
 * iteration ends. Not an async generator: its promises were a part of a token's time, and a token that comes while
 * somebody waits goes to them directly.
 */
export function createGeneration(
  request: GenerateRequest,
  signal: AbortSignal,
  { id, pending, load, send }: GenerationDeps,
): AsyncIterableIterator<EngineOutput> {
  const buffered: EngineOutput[] = [];
  let failure: GatewayError | undefined;
  let begun = false;
  let over = false;
  let waiting: { resolve(result: Result): void; reject(error: GatewayError): void } | undefined;

  /** Where the child still works on it, it may stop. */
  const leave = () => {
    signal.removeEventListener('abort', onAbort);
    if (pending.delete(id)) send({ type: 'cancel', id });
  };
  const onAbort = () => {
    leave(); // here and not when the iteration ends: nobody may be pulling
    fail(abortError(signal));
  };
  const fail = (error: GatewayError) => {
    failure ??= error;
    if (!waiting) return;
    over = true;
    waiting.reject(failure);
    waiting = undefined;
  };
  const output = (output: EngineOutput) => {
    if (output.type === 'done' || output.type === 'failed') {
      pending.delete(id);
      leave();
    }
    if (output.type === 'failed') return fail(toGatewayError(output.error));
    if (!waiting) {
      buffered.push(output);
      return;
    }
    waiting.resolve(resultOf(output));
    waiting = undefined;
  };
  const resultOf = (value: EngineOutput): Result => {
    over = value.type === 'done';
    return { done: false, value };
  };

  async function begin(): Promise<Result> {
    throwIfAborted(signal);
    await load(signal);
    if (over) return end;
    throwIfAborted(signal);
    pending.set(id, { output, fail });
    signal.addEventListener('abort', onAbort, { once: true });
    send({ type: 'generate', id, request });
    return pull();
  }

  function pull(): Promise<Result> {
    if (over) return Promise.resolve(end);
    const next = buffered.shift();
    if (next) return Promise.resolve(resultOf(next));
    if (failure) {
      over = true;
      return Promise.reject(failure);
    }
    return new Promise((resolve, reject) => {
      waiting = { resolve, reject };
    });
  }

  return {
    next() {
      if (begun) return pull();
      begun = true;
      return begin();
    },
    return() {
      over = true;
      begun = true;
      leave();
      waiting?.resolve(end);
      waiting = undefined;
      return Promise.resolve(end);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
