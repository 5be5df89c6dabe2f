import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import type { Run } from '../core/run.ts';
import { abortError } from '../core/signals.ts';
import { sizeOf } from './store.ts';

/** One generation with any number of readers, each at its own pace and each from the beginning. */
export interface Flight {
  /** The answer from its first event on; undefined where it has grown too long to begin again. */
  join(signal: AbortSignal): Promise<Run> | undefined;
}

export interface FlightOptions {
  readonly produce: (signal: AbortSignal) => Promise<Run>;
  /** Most that is kept for readers who come late or lag behind. */
  readonly maxBytes: number;
  /** The whole answer, when it ended well and was kept from its beginning. */
  readonly complete: (run: Run, events: readonly CompletionEvent[]) => void;
  /** Nobody can join any more. */
  readonly closed: () => void;
}

/**
 * Begins a generation. It belongs to none of its readers: it is pulled while any of them wants more, and aborted when
 * the last one has left, so that a reader that hangs up, the first one too, takes nothing from the others.
 */
export function createFlight({ produce, maxBytes, complete, closed }: FlightOptions): Flight {
  const controller = new AbortController();
  let events: CompletionEvent[] = [];
  let base = 0; // events that were dropped from the front
  let bytes = 0;
  let readers = 0;
  let state: 'open' | 'done' | 'failed' | 'left' = 'open';
  let failure: unknown;
  let open = true;
  let pulling: Promise<void> | undefined;
  let iterator: AsyncIterator<CompletionEvent> | undefined;

  const close = () => {
    if (!open) return;
    open = false;
    closed();
  };

  const head = produce(controller.signal);
  head.catch((error: unknown) => {
    failure = error;
    state = 'failed';
    close();
  });

  const push = (event: CompletionEvent) => {
    events.push(event);
    bytes += sizeOf(event);
    while (bytes > maxBytes && events.length > 1) {
      const first = events.shift();
      if (first) bytes -= sizeOf(first);
      base++;
      close(); // the beginning is gone
    }
  };

  const pull = (run: Run): Promise<void> => {
    iterator ??= run.events[Symbol.asyncIterator]();
    pulling ??= iterator
      .next()
      .then(
        (result) => {
          if (!result.done) return push(result.value);
          state = 'done';
          close();
          if (base === 0) complete(run, events);
          return undefined;
        },
        (error: unknown) => {
          failure = error;
          state = 'failed';
          close();
        },
      )
      .finally(() => {
        pulling = undefined;
      });
    return pulling;
  };

  const leave = () => {
    readers--;
    if (readers > 0 || state !== 'open') return;
    state = 'left';
    close();
    controller.abort(new GatewayError('cancelled', 'Every client closed the request.'));
    iterator?.return?.()?.catch(() => {});
    events = [];
  };

  const read = (run: Run, reader: Reader): AsyncIterable<CompletionEvent> => {
    let at = 0;
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          for (;;) {
            if (reader.gone()) throw abortError(reader.signal);
            if (at < base) {
              reader.leave();
              throw new GatewayError('overloaded', 'This client fell too far behind a shared answer.');
            }
            const value = events[at - base];
            if (value) {
              at++;
              return { done: false, value };
            }
            if (state === 'failed') {
              reader.leave();
              throw failure;
            }
            if (state !== 'open') {
              reader.leave();
              return { done: true, value: undefined };
            }
            await reader.until(pull(run));
          }
        },
        async return() {
          reader.leave();
          return { done: true, value: undefined };
        },
      }),
    };
  };

  return {
    join(signal) {
      if (!open) return undefined;
      readers++;
      const reader = createReader(signal, leave);
      return (async () => {
        try {
          await reader.until(head);
          if (signal.aborted) throw abortError(signal);
          const run = await head;
          return { ...run, events: read(run, reader) };
        } catch (error) {
          reader.leave();
          throw error;
        }
      })();
    },
  };
}

interface Reader {
  readonly signal: AbortSignal;
  gone(): boolean;
  leave(): void;
  /** Resolves with the work, or when the reader's own request is aborted. Not a race: its losers would pile up. */
  until(work: Promise<unknown>): Promise<void>;
}

/** A reader leaves once: when it closes its stream, reads to its end, or its request is aborted. */
function createReader(signal: AbortSignal, onLeave: () => void): Reader {
  let here = true;
  let wake = () => {};
  const leave = () => {
    if (!here) return;
    here = false;
    signal.removeEventListener('abort', onAbort);
    onLeave();
  };
  const onAbort = () => {
    leave();
    wake();
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return {
    signal,
    gone: () => signal.aborted,
    leave,
    until: (work) =>
      new Promise((resolve) => {
        wake = resolve;
        if (signal.aborted) resolve();
        work.then(
          () => resolve(),
          () => resolve(),
        );
      }),
  };
}
