import { createAborter } from '../core/abort.ts';
import type { Clock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import { abortError } from '../core/signals.ts';
import type { ReadyIterator } from '../core/streams.ts';

export interface PhaseLimits {
  /** 0 is no limit, of both. */
  readonly firstTokenMs: number;
  readonly idleMs: number;
}

/** Watches one call of a target: aborts it when it is told to, or when a deadline of its phase passes. */
export class CallWatch {
  readonly #aborter = createAborter();
  readonly #limits: PhaseLimits;
  readonly #target: string;
  readonly #clock: Clock;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** What is left of the wait for the first token when the timer rings. */
  #leftMs = 0;
  #begun = false;
  #cleared = false;
  #rejectPull: ((reason: GatewayError) => void) | undefined;
  /** Since when we wait for the target, -1 when we do not; a slow reader's time is not the target's. */
  #waitingSinceMs = -1;

  constructor(limits: PhaseLimits, target: string, clock: Clock) {
    this.#limits = limits;
    this.#target = target;
    this.#clock = clock;
    this.progressed();
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  /**
   * The next item, after `see` has seen it, or the reason of the abort, whichever comes first: a source that ignores its
   * signal holds nobody up.
   */
  pull<T>(iterator: AsyncIterator<T>, see: { seen(result: IteratorResult<T>): void }): Promise<IteratorResult<T>> {
    const { signal } = this.#aborter;
    if (signal.aborted) return Promise.reject(abortError(signal));
    this.#waitingSinceMs = this.#clock.now();
    return new Promise((resolve, reject) => {
      this.#rejectPull = reject;
      iterator.next().then(
        (result) => {
          this.#rejectPull = undefined;
          this.#waitingSinceMs = -1;
          see.seen(result);
          resolve(result);
        },
        (error: unknown) => {
          this.#rejectPull = undefined;
          // An aborted source throws in its own words; the reason is ours.
          reject(signal.aborted ? abortError(signal) : error);
        },
      );
    });
  }

  /** The same for what is there already. */
  ready<T>(iterator: ReadyIterator<T>): IteratorResult<T, undefined> | undefined {
    if (this.#aborter.signal.aborted) return undefined;
    const result = iterator.ready?.();
    if (result) this.#waitingSinceMs = -1;
    return result;
  }

  /** The wait of a source that can tell of it; what brings no item does not count as a sign of life. */
  wait(iterator: ReadyIterator<unknown>): Promise<void> | undefined {
    if (this.#aborter.signal.aborted) return undefined;
    const waiting = iterator.wait?.();
    if (waiting && this.#waitingSinceMs < 0) this.#waitingSinceMs = this.#clock.now();
    return waiting;
  }

  /** The target tells how far it is with the prompt: the wait for the first token begins anew. */
  progressed(): void {
    const { firstTokenMs } = this.#limits;
    if (firstTokenMs <= 0 || this.#isOver()) return;
    clearTimeout(this.#timer);
    this.#waitFor(firstTokenMs);
  }

  /**
   * The first token is there: from now on the idle deadline counts. The timer that runs rings before it can have passed,
   * and then sees to it: setting another one for every call is dearer than that.
   */
  begun(): void {
    this.#begun = true;
    if (this.#isOver() || this.#timer !== undefined || this.#limits.idleMs <= 0) return;
    this.#set(this.#limits.idleMs);
  }

  abort(reason: GatewayError): void {
    if (this.#isOver()) return;
    clearTimeout(this.#timer);
    this.#aborter.abort(reason);
    this.#rejectPull?.(reason);
  }

  /** Ends the watch; the signal of a call that ran to its end never aborts. */
  clear(): void {
    this.#cleared = true;
    clearTimeout(this.#timer);
  }

  /** No getter: V8 asks its runtime for a private one each time. */
  #isOver(): boolean {
    return this.#cleared || this.#aborter.signal.aborted;
  }

  #waitFor(firstTokenMs: number): void {
    const { idleMs } = this.#limits;
    const ms = idleMs > 0 ? Math.min(firstTokenMs, idleMs) : firstTokenMs;
    this.#leftMs = firstTokenMs - ms;
    this.#set(ms);
  }

  #set(ms: number): void {
    this.#timer = setTimeout(ring, ms, this);
  }

  /** Called by the timer. */
  ring(): void {
    if (!this.#begun) {
      if (this.#leftMs > 0) this.#waitFor(this.#leftMs);
      else this.#late(`gave no first token within ${this.#limits.firstTokenMs} ms`);
      return;
    }
    const { idleMs } = this.#limits;
    if (idleMs <= 0) return;
    // One timer that looks now and then, instead of one set per token.
    const silentMs = this.#waitingSinceMs < 0 ? 0 : this.#clock.now() - this.#waitingSinceMs;
    if (silentMs >= idleMs) this.#late(`was silent for ${idleMs} ms`);
    else this.#set(idleMs - silentMs);
  }

  #late(what: string): void {
    this.abort(new GatewayError('timeout', `${this.#target} ${what}.`));
  }
}

/** One function for all timers, not one made for each. */
const ring = (watch: CallWatch): void => watch.ring();
