import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { type CompletionEvent, isVisible } from '../core/event.ts';
import type { CallOptions } from '../core/provider.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Target } from '../core/route.ts';
import { abortError } from '../core/signals.ts';
import type { ReadyIterator } from '../core/streams.ts';
import { CallWatch } from './deadlines.ts';
import { limitsOf, type Timeouts } from './model.ts';
import type { TargetState } from './state.ts';

/** One call of one target whose answer has begun. */
export interface Call {
  readonly target: Target;
  readonly startedMs: number;
  /** How long the first token took; undefined until it is there. */
  readonly ttftMs: number | undefined;
  /** The target was given the client's own body, as its answer in `wire` events shows. */
  readonly isPassing: boolean;
  /** The events that `openCall` already took, then the rest. */
  next(): Promise<IteratorResult<CompletionEvent>>;
  /** The same where nobody has to wait for it. */
  ready(): IteratorResult<CompletionEvent, undefined> | undefined;
  /** Resolves when `ready` is worth asking again; undefined: ask `next`. */
  wait(): Promise<void> | undefined;
  /** The call broke: tells the target's state, and gives the error in our words. */
  fail(error: unknown): GatewayError;
  /** The answer is complete. */
  succeed(): void;
  /** Nobody wants it any more: frees the upstream. Safe to call at any time, also twice. */
  cancel(reason: GatewayError): void;
}

export interface CallOrder {
  readonly target: Target;
  readonly state: TargetState;
  readonly request: ChatRequest;
  readonly options: CallOptions;
  readonly timeouts: Timeouts;
  readonly clock: Clock;
  /** Work that the call stands for while it runs. */
  readonly tokens: number;
  /** Resolve only with a token, not with progress: a race is won by an answer. */
  readonly untilToken?: boolean;
  /** An answer that is not streamed counts as begun when it is whole: nobody could go on from a part of it. */
  readonly untilWhole?: boolean;
}

/** Code of the route's own total deadline: passed before a first token it counts against the target. */
export const totalTimeout = 'total_timeout';

/** An answer that is not streamed is held back until it is whole, up to so much: a break then costs the client nothing. */
const mostHeld = 1024 * 1024;

/** Bytes or characters that an event brings. */
function sizeOf(event: CompletionEvent): number {
  if (event.type === 'wire') return event.bytes.length;
  if ('text' in event) return event.text.length;
  return event.type === 'tool-call-delta' ? event.arguments.length : 0;
}

/** Sends the request and resolves with the answer's first event; throws GatewayError, having told the target's state. */
export function openCall(order: CallOrder): Promise<Call> {
  return new TargetCall(order).open();
}

/** With the bookkeeping of the call: in-flight work, breaker, latency, cool-down; ended exactly once. */
class TargetCall implements Call {
  readonly target: Target;
  readonly startedMs: number;
  ttftMs: number | undefined;
  readonly #order: CallOrder;
  readonly #watch: CallWatch;
  #iterator: ReadyIterator<CompletionEvent> | undefined;
  #held: CompletionEvent[] = [];
  #given = 0;
  #heldSize = 0;
  #untilWhole: boolean;
  #ended = false;
  /** On the target's books. */
  #isOpen = true;
  #succeeded = false;

  constructor(order: CallOrder) {
    const { target, state, clock, options } = order;
    this.#order = order;
    this.#untilWhole = order.untilWhole === true;
    this.target = target;
    this.startedMs = clock.now();
    state.inFlight += 1;
    state.inFlightTokens += order.tokens;
    this.#watch = new CallWatch(limitsOf(order.timeouts, target), target.name, clock);
    if (options.signal.aborted) this.#watch.abort(abortError(options.signal));
    else options.signal.addEventListener('abort', this, { once: true });
  }

  get isPassing(): boolean {
    return this.#held.some(({ type }) => type === 'wire');
  }

  async open(): Promise<Call> {
    const { target, state, request, options } = this.#order;
    const { signal } = this.#watch;
    try {
      const asked = request.model === target.model ? request : { ...request, model: target.model };
      const { tenant, headers } = options;
      const iterator: ReadyIterator<CompletionEvent> = target.provider
        .stream(asked, { signal, tenant, headers })
        [Symbol.asyncIterator]();
      this.#iterator = iterator;
      while (!this.#hasBegun(this.#there(iterator) ?? (await this.#watch.pull(iterator, this))));
    } catch (error) {
      this.#close();
      throw this.fail(error);
    }
    state.retries.deposit();
    return this;
  }

  /** Holds what came; true when it decides that the answer has begun. */
  #hasBegun(result: IteratorResult<CompletionEvent>): boolean {
    if (result.done) {
      if (!this.#held.some(isVisible)) {
        throw new GatewayError('upstream_failed', `${this.target.name} ended without an answer.`);
      }
      this.#ended = true;
      return true;
    }
    const { request, untilToken = false } = this.#order;
    const event = result.value;
    this.#held.push(event);
    this.#heldSize += sizeOf(event);
    if (event.type === 'wire' && !request.stream) this.#untilWhole = true;
    if (this.#untilWhole) return this.#heldSize > mostHeld;
    return untilToken ? isVisible(event) : event.type !== 'start';
  }

  next(): Promise<IteratorResult<CompletionEvent>> {
    const held = this.#nextHeld();
    if (held) return Promise.resolve({ done: false, value: held });
    if (this.#ended || !this.#iterator) return Promise.resolve({ done: true, value: undefined });
    return this.#watch.pull(this.#iterator, this);
  }

  ready(): IteratorResult<CompletionEvent, undefined> | undefined {
    const held = this.#nextHeld();
    if (held) return { done: false, value: held };
    if (this.#ended || !this.#iterator) return { done: true, value: undefined };
    return this.#there(this.#iterator);
  }

  wait(): Promise<void> | undefined {
    return this.#ended || !this.#iterator ? undefined : this.#watch.wait(this.#iterator);
  }

  #nextHeld(): CompletionEvent | undefined {
    if (this.#given < this.#held.length) return this.#held[this.#given++];
    if (this.#given > 0) this.#held = []; // setting a length is slower than a new list
    this.#given = 0;
    return undefined;
  }

  #there(iterator: ReadyIterator<CompletionEvent>): IteratorResult<CompletionEvent, undefined> | undefined {
    const result = this.#watch.ready(iterator);
    if (result) this.seen(result);
    return result;
  }

  /** Told of everything that the target gives. */
  seen(result: IteratorResult<CompletionEvent>): void {
    if (result.done || this.ttftMs !== undefined) return;
    if (isVisible(result.value)) this.#begin();
    else if (result.value.type === 'progress') this.#watch.progressed();
  }

  #begin(): void {
    const { state, clock } = this.#order;
    const now = clock.now();
    this.ttftMs = now - this.startedMs;
    state.breaker.success(now);
    state.latency.observe(this.ttftMs, now);
    this.#watch.begun();
  }

  succeed(): void {
    if (this.#settle()) this.#succeeded = true;
  }

  fail(error: unknown): GatewayError {
    const failure = toGatewayError(error);
    const { state, clock } = this.#order;
    if (this.#settle()) blame(state, failure, this.ttftMs !== undefined, clock.now(), this.startedMs);
    return failure;
  }

  cancel(reason: GatewayError): void {
    if (this.#succeeded) return; // nothing is left to stop, and an abort is dear
    this.#watch.abort(reason);
    this.#close(); // it was told by its signal; this runs its `finally`
    this.fail(reason);
  }

  /** The client's signal aborts; one that leaves before anybody pulls must not leave its work on the books. */
  handleEvent(): void {
    const { state, clock, options } = this.#order;
    const reason = abortError(options.signal);
    this.#watch.abort(reason);
    if (!this.#settle() || this.ttftMs !== undefined) return;
    if (reason.code === totalTimeout) state.breaker.failure(clock.now());
    else state.breaker.neutral();
  }

  #close(): void {
    void this.#iterator?.return?.(undefined)?.catch(() => {});
  }

  /** Off the books; false if it was already. */
  #settle(): boolean {
    if (!this.#isOpen) return false;
    this.#isOpen = false;
    const { state, tokens, options } = this.#order;
    state.inFlight -= 1;
    state.inFlightTokens -= tokens;
    this.#watch.clear();
    options.signal.removeEventListener('abort', this);
    return true;
  }
}

/** What a failure says of the target. A client's own mistake or leave says nothing; a 429 asks for a pause, no more. */
export function blame(state: TargetState, failure: GatewayError, begun: boolean, now: number, sinceMs = now): void {
  if (failure.kind === 'upstream_rate_limited') {
    state.coolUntilMs = Math.max(state.coolUntilMs, now + coolMs(failure.retryAfterMs));
    if (!begun) state.breaker.neutral();
  } else if (failure.blame === 'upstream' || failure.kind === 'internal') {
    // An engine that ends takes all its calls with it, where servers fail each call for itself.
    state.breaker.failure(now, failure.kind === 'engine_failed' ? sinceMs : now);
    if (failure.kind === 'timeout') state.latency.observe(timeoutPenaltyMs, now);
  } else if (!begun) state.breaker.neutral();
}

const timeoutPenaltyMs = 30_000;
const longestCoolMs = 60_000;
/** Absurd or absent values count as a second; nothing keeps a target out for more than a minute. */
const coolMs = (asked: number | undefined) =>
  asked !== undefined && Number.isFinite(asked) && asked > 0 ? Math.min(asked, longestCoolMs) : 1000;
