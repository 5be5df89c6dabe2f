type Listener = EventListenerOrEventListenerObject;

/**
 * An AbortSignal without the platform's weight: making one of those and listening to it costs as much as routing a whole
 * request. It serves whoever asks for `aborted` and `reason` or listens for `abort`; the platform's own functions (fetch,
 * `AbortSignal.any`) need a real one, which `platformSignal` gives.
 */
class PlainSignal implements AbortSignal {
  aborted = false;
  reason: unknown;
  onabort: ((this: AbortSignal, event: Event) => unknown) | null = null;
  #listeners: Listener[] | undefined;

  /** Always once: a signal aborts once. */
  addEventListener(type: string, listener: Listener): void {
    if (type !== 'abort' || this.aborted) return;
    if (!this.#listeners) this.#listeners = [listener];
    else if (!this.#listeners.includes(listener)) this.#listeners.push(listener);
  }

  removeEventListener(_type: string, listener: Listener): void {
    const listeners = this.#listeners;
    const at = listeners?.lastIndexOf(listener) ?? -1;
    if (!listeners || at < 0) return;
    for (let i = at; i + 1 < listeners.length; i++) listeners[i] = listeners[i + 1] ?? listener; // in range
    listeners.pop(); // not by a splice, which makes a list of what it takes
  }

  dispatchEvent(event: Event): boolean {
    const listeners = this.#listeners ?? [];
    this.#listeners = undefined;
    this.onabort?.(event);
    for (const listener of listeners) {
      try {
        if (typeof listener === 'function') listener.call(this, event);
        else listener.handleEvent(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error; // as an event target does: one listener's fault is not the next one's
        });
      }
    }
    return true;
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }
}

/** What ends one piece of work. */
export interface Aborter {
  readonly signal: AbortSignal;
  /** Only the first call counts. */
  abort(reason: unknown): void;
}

/** An AbortController in little: made for every request, where the platform's own costs more than all else in one. */
export function createAborter(): Aborter {
  const signal = new PlainSignal();
  return {
    signal,
    abort(reason) {
      if (signal.aborted) return;
      signal.aborted = true;
      signal.reason = reason;
      signal.dispatchEvent(new Event('abort'));
    },
  };
}

/** The same as a signal of the platform: for fetch and for libraries that take a signal. */
export function platformSignal(signal: AbortSignal): AbortSignal {
  if (!(signal instanceof PlainSignal)) return signal;
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort);
  return controller.signal;
}

/** Aborts with the first of them; for signals that end with one request, as each of them keeps a listener. */
export function anySignal(signals: readonly AbortSignal[]): AbortSignal {
  const first = createAborter();
  for (const signal of signals) {
    if (signal.aborted) first.abort(signal.reason);
    else signal.addEventListener('abort', () => first.abort(signal.reason), { once: true });
  }
  return first.signal;
}
