import { type Breaker, type BreakerLimits, type BreakerState, createBreaker } from './breaker.ts';
import { createLatency, type Latency } from './latency.ts';
import { createRetryBudget, type RetryBudget, type RetryBudgetLimits } from './retry-budget.ts';

/** What is known of one target at this moment, whichever routes use it. */
export interface TargetState {
  readonly name: string;
  readonly breaker: Breaker;
  /** Time to first token. */
  readonly latency: Latency;
  readonly retries: RetryBudget;
  /** Calls under way, and the tokens they read and may write. */
  inFlight: number;
  inFlightTokens: number;
  /** The target asked for silence (429) until then; monotonic milliseconds. */
  coolUntilMs: number;
  /** What active health checks say. */
  healthy: boolean;
  /** Round trip of the last health checks, smoothed; absent where none measures it. */
  distanceMs?: number;
}

/**
 * Where the states live: this process. The port is small so that a shared one (Redis, Durable Objects) can keep a local
 * copy and refresh it behind; reads stay synchronous, because they are on every request's way.
 */
export interface TargetStates {
  of(target: string): TargetState;
  /** Calls of further targets after a failure, as a share of a route's traffic. */
  fallbacks(route: string): RetryBudget;
  all(): readonly TargetState[];
}

export interface StateLimits {
  readonly breaker?: BreakerLimits;
  readonly retries?: RetryBudgetLimits;
  readonly fallbacks?: RetryBudgetLimits;
}

/**
 * As many as are under way when a target stops answering must find the next one: hence the large burst. From then on its
 * circuit is open and the next one is the first choice.
 */
const defaultFallbacks: RetryBudgetLimits = { share: 0.1, burst: 100 };

export function createTargetStates({ breaker, retries, fallbacks = defaultFallbacks }: StateLimits = {}): TargetStates {
  const states = new Map<string, TargetState>();
  const routes = new Map<string, RetryBudget>();
  return {
    of(name) {
      let state = states.get(name);
      if (!state) {
        state = {
          name,
          breaker: createBreaker(breaker),
          latency: createLatency(),
          retries: createRetryBudget(retries),
          inFlight: 0,
          inFlightTokens: 0,
          coolUntilMs: 0,
          healthy: true,
        };
        states.set(name, state);
      }
      return state;
    },
    fallbacks(route) {
      let budget = routes.get(route);
      if (!budget) {
        budget = createRetryBudget(fallbacks);
        routes.set(route, budget);
      }
      return budget;
    },
    all: () => [...states.values()],
  };
}

export const circuitOpen = 'circuit open';
export const coolingDown = 'rate limited by the upstream';

/** Why a target may not be called now, and from when it may; undefined when it may. */
export function unavailable(state: TargetState, now: number): { reason: string; retryAtMs: number } | undefined {
  const circuit: BreakerState = state.breaker.state(now);
  if (circuit === 'open') return { reason: circuitOpen, retryAtMs: state.breaker.retryAtMs() };
  if (now < state.coolUntilMs) return { reason: coolingDown, retryAtMs: state.coolUntilMs };
  if (!state.healthy) return { reason: 'failed its health check', retryAtMs: now + 1000 };
  return undefined;
}
