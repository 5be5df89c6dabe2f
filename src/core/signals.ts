import { createAborter } from './abort.ts';
import { GatewayError } from './errors.ts';

/**
 * A signal that aborts with the client's, or with `timeout` after `ms`; `ms` of 0 or less means no deadline. `clear` when
 * the work is over: it stops the timer and leaves nothing behind on `signal`, which may live on.
 */
export function withDeadline(
  signal: AbortSignal,
  ms: number | undefined,
  what: string,
): { signal: AbortSignal; clear: () => void } {
  if (!ms || ms <= 0) return { signal, clear: () => {} };
  const bounded = createAborter();
  const onAbort = () => bounded.abort(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort);
  const timer = setTimeout(() => bounded.abort(new GatewayError('timeout', `${what} took longer than ${ms} ms.`)), ms);
  return {
    signal: bounded.signal,
    clear() {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    },
  };
}

/** The reason a signal aborted, as the error to throw: ours if one was given, else `cancelled`. */
export function abortError(signal: AbortSignal): GatewayError {
  const reason: unknown = signal.reason;
  if (reason instanceof GatewayError) return reason;
  return new GatewayError('cancelled', 'The client closed the request.', { cause: reason });
}

/** Throws the abort's reason if the signal has aborted. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw abortError(signal);
}

/** Resolves after `ms`, or rejects at once when the signal aborts. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(abortError(signal));
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      reject(abortError(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** The promise's result, or the abort's reason as soon as the signal aborts; the work itself goes on. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortError(signal));
    if (signal.aborted) {
      promise.catch(() => {});
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
