import type { Clock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import type { CallOptions } from '../core/provider.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Target } from '../core/route.ts';
import { abortError } from '../core/signals.ts';
import type { ReadyIterator } from '../core/streams.ts';
import { type CallWatch, watchCall } from './deadlines.ts';
import { limitsOf, type Timeouts } from './model.ts';
import type { TargetState } from './state.ts';

/** One call of one target whose answer has begun. */
export interface Call {
  readonly target: Target;
  readonly startedMs: number;
  /** The events that `openCall` already took, then the rest. */
  next(): Promise<IteratorResult<CompletionEvent>>;
  /** The same where nobody has to wait for it. */
  ready(): IteratorResult<CompletionEvent, undefined> | undefined;
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
  /** Told once, when the first token is there. */
  readonly onFirstToken?: (ttftMs: number) => void;
}

/** Code of the route's own total deadline: passed before a first token it counts against the target. */
export const totalTimeout = 'total_timeout';

const visible = ({ type }: CompletionEvent) => type !== 'start' && type !== 'progress' && type !== 'usage';

/** An answer that is not streamed is held back until it is whole, up to so much: a break then costs the client nothing. */
const mostHeld = 1024 * 1024;

/** Bytes or characters that an event brings. */
function sizeOf(event: CompletionEvent): number {
  if (event.type === 'wire') return event.bytes.length;
  if ('text' in event) return event.text.length;
  return event.type === 'tool-call-delta' ? event.arguments.length : 0;
}

/** Sends the request and resolves with the answer's first event; throws GatewayError, having told the target's state. */
export async function openCall(order: CallOrder): Promise<Call> {
  const { target, state, request, clock } = order;
  const startedMs = clock.now();
  const watch = watchCall(order.options.signal, limitsOf(order.timeouts, target), target.name, clock);
  const call = begin(order, watch, startedMs);
  let iterator: ReadyIterator<CompletionEvent>;
  try {
    iterator = target.provider
      .stream({ ...request, model: target.model }, { ...order.options, signal: watch.signal })
      [Symbol.asyncIterator]();
  } catch (error) {
    throw call.fail(error);
  }
  const held: CompletionEvent[] = [];
  let ended = false;

  const seen = <T extends IteratorResult<CompletionEvent>>(result: T): T => {
    if (!result.done && visible(result.value)) call.token();
    else if (!result.done && result.value.type === 'progress') call.progress();
    return result;
  };
  const pull = () => watch.pull(iterator, seen);
  const there = () => {
    const result = watch.ready(iterator);
    return result && seen(result);
  };
  const decided = (event: CompletionEvent) => (order.untilToken ? visible(event) : event.type !== 'start');
  try {
    let size = 0;
    let untilWhole = order.untilWhole ?? false;
    for (;;) {
      const result = there() ?? (await pull());
      if (result.done) {
        if (!held.some(visible)) throw new GatewayError('upstream_failed', `${target.name} ended without an answer.`);
        ended = true;
        break;
      }
      held.push(result.value);
      size += sizeOf(result.value);
      if (result.value.type === 'wire' && !request.stream) untilWhole = true;
      if (untilWhole ? size > mostHeld : decided(result.value)) break;
    }
  } catch (error) {
    void iterator.return?.(undefined)?.catch(() => {});
    throw call.fail(error);
  }
  state.retries.deposit();

  return {
    target,
    startedMs,
    next: () => {
      const first = held.shift();
      if (first) return Promise.resolve({ done: false, value: first });
      return ended ? Promise.resolve({ done: true, value: undefined }) : pull();
    },
    ready() {
      const first = held.shift();
      if (first) return { done: false, value: first };
      return ended ? { done: true, value: undefined } : there();
    },
    fail: call.fail,
    succeed: call.succeed,
    cancel(reason) {
      if (call.succeeded()) return; // nothing is left to stop, and an abort is dear
      watch.abort(reason);
      void iterator.return?.(undefined)?.catch(() => {}); // it was told by its signal; this runs its `finally`
      call.fail(reason);
    },
  };
}

/** The bookkeeping of one call: in-flight work, breaker, latency, cool-down; ended exactly once. */
function begin({ state, tokens, clock, options, onFirstToken }: CallOrder, watch: CallWatch, startedMs: number) {
  let open = true;
  let begun = false;
  let succeeded = false;
  state.inFlight += 1;
  state.inFlightTokens += tokens;
  const close = () => {
    if (!open) return false;
    open = false;
    state.inFlight -= 1;
    state.inFlightTokens -= tokens;
    watch.clear();
    options.signal.removeEventListener('abort', onClient);
    return true;
  };
  // A client that leaves before anybody pulls must not leave its work on the books.
  const onClient = () => {
    if (!close() || begun) return;
    if (abortError(options.signal).code === totalTimeout) state.breaker.failure(clock.now());
    else state.breaker.neutral();
  };
  options.signal.addEventListener('abort', onClient, { once: true });

  return {
    token() {
      if (begun) return;
      begun = true;
      const now = clock.now();
      state.breaker.success(now);
      state.latency.observe(now - startedMs, now);
      watch.begun();
      onFirstToken?.(now - startedMs);
    },
    progress() {
      if (!begun) watch.progressed();
    },
    succeed: () => {
      if (close()) succeeded = true;
    },
    succeeded: () => succeeded,
    fail(error: unknown): GatewayError {
      const failure = toGatewayError(error);
      if (!close()) return failure;
      blame(state, failure, begun, clock.now());
      return failure;
    },
  };
}

/** What a failure says of the target. A client's own mistake or leave says nothing; a 429 asks for a pause, no more. */
export function blame(state: TargetState, failure: GatewayError, begun: boolean, now: number): void {
  if (failure.kind === 'upstream_rate_limited') {
    state.coolUntilMs = Math.max(state.coolUntilMs, now + coolMs(failure.retryAfterMs));
    if (!begun) state.breaker.neutral();
  } else if (failure.blame === 'upstream' || failure.kind === 'internal') {
    state.breaker.failure(now);
    if (failure.kind === 'timeout') state.latency.observe(timeoutPenaltyMs, now);
  } else if (!begun) state.breaker.neutral();
}

const timeoutPenaltyMs = 30_000;
const longestCoolMs = 60_000;
/** Absurd or absent values count as a second; nothing keeps a target out for more than a minute. */
const coolMs = (asked: number | undefined) =>
  asked !== undefined && Number.isFinite(asked) && asked > 0 ? Math.min(asked, longestCoolMs) : 1000;
