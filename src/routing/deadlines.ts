import { createAborter } from '../core/abort.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';
import type { ReadyIterator } from '../core/streams.ts';

/** Watches one call of a target: aborts it when the client leaves, or when a deadline of its phase passes. */
export interface CallWatch {
  readonly signal: AbortSignal;
  /**
   * The next item, after `see` has seen it, or the reason of the abort, whichever comes first: a source that ignores its
   * signal holds nobody up.
   */
  pull<T>(
    iterator: AsyncIterator<T>,
    see: (result: IteratorResult<T>) => IteratorResult<T>,
  ): Promise<IteratorResult<T>>;
  /** The same for what is there already. */
  ready<T>(iterator: ReadyIterator<T>): IteratorResult<T, undefined> | undefined;
  /** The target tells how far it is with the prompt: the wait for the first token begins anew. */
  progressed(): void;
  /** The first token is there: from now on the idle deadline counts. */
  begun(): void;
  abort(reason: GatewayError): void;
  /** Ends the watch; the signal of a call that ran to its end never aborts. */
  clear(): void;
}

export function watchCall(
  client: AbortSignal,
  { firstTokenMs, idleMs }: { readonly firstTokenMs: number; readonly idleMs: number },
  target: string,
  clock: Clock,
): CallWatch {
  const controller = createAborter();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let cleared = false;
  let rejectPull: ((reason: GatewayError) => void) | undefined;
  /** Since when we wait for the target; a slow reader's time is not the target's. */
  let waitingSinceMs: number | undefined;

  const abort = (reason: GatewayError) => {
    if (cleared || controller.signal.aborted) return;
    clearTimeout(timer);
    controller.abort(reason);
    rejectPull?.(reason);
  };
  const onClient = () => abort(abortError(client));
  if (client.aborted) abort(abortError(client));
  else client.addEventListener('abort', onClient, { once: true });
  const waitForToken = () => {
    if (firstTokenMs <= 0 || cleared || controller.signal.aborted) return;
    clearTimeout(timer);
    timer = setTimeout(
      () => abort(new GatewayError('timeout', `${target} gave no first token within ${firstTokenMs} ms.`)),
      firstTokenMs,
    );
  };
  waitForToken();
  // One timer that looks now and then, instead of one set per token.
  const lookAgain = (afterMs: number) => {
    timer = setTimeout(() => {
      const silentMs = waitingSinceMs === undefined ? 0 : clock.now() - waitingSinceMs;
      if (silentMs >= idleMs) abort(new GatewayError('timeout', `${target} was silent for ${idleMs} ms.`));
      else lookAgain(idleMs - silentMs);
    }, afterMs);
  };

  return {
    signal: controller.signal,
    pull(iterator, see) {
      if (controller.signal.aborted) return Promise.reject(abortError(controller.signal));
      waitingSinceMs = clock.now();
      return new Promise((resolve, reject) => {
        rejectPull = reject;
        iterator.next().then(
          (result) => {
            rejectPull = undefined;
            waitingSinceMs = undefined;
            resolve(see(result));
          },
          (error: unknown) => {
            rejectPull = undefined;
            // An aborted source throws in its own words; the reason is ours.
            reject(controller.signal.aborted ? abortError(controller.signal) : error);
          },
        );
      });
    },
    ready: (iterator) => (controller.signal.aborted ? undefined : iterator.ready?.()),
    progressed: waitForToken,
    begun() {
      if (cleared || controller.signal.aborted) return;
      clearTimeout(timer);
      if (idleMs > 0) lookAgain(idleMs);
    },
    abort,
    clear() {
      cleared = true;
      clearTimeout(timer);
      client.removeEventListener('abort', onClient);
    },
  };
}
