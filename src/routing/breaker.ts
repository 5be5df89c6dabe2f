/** When a target is taken out of service and how it comes back. */
export interface BreakerLimits {
  /** So many failures in a row open it. */
  readonly consecutive: number;
  /** So large a share of at least `minCalls` within `windowMs` opens it too. */
  readonly failureShare: number;
  readonly minCalls: number;
  readonly windowMs: number;
  /** Open for so long; then one call at a time may try (half-open). */
  readonly openMs: number;
}

const defaultBreaker: BreakerLimits = {
  consecutive: 5,
  failureShare: 0.5,
  minCalls: 20,
  windowMs: 10_000,
  openMs: 5_000,
};

export type BreakerState = 'closed' | 'open' | 'half-open';

export interface Breaker {
  state(now: number): BreakerState;
  /** May a call go now? Half-open lets one through, whose outcome must be reported by one of the three below. */
  take(now: number): boolean;
  success(now: number): void;
  /** With `sinceMs`, when the call began: calls that end together, as those of a process do, fail as one. */
  failure(now: number, sinceMs?: number): void;
  /** The call ended without saying anything of the target: the client left, or asked for something impossible. */
  neutral(): void;
  /** Monotonic milliseconds from which a call may be tried; 0 when closed. */
  retryAtMs(): number;
}

const slots = 10;
/** Calls that were under way when one failed, and fail within so long after it, tell nothing new. */
const togetherMs = 100;

/** A circuit breaker; pure but for its own counters, time is given by the caller. */
export function createBreaker(limits: BreakerLimits = defaultBreaker): Breaker {
  const slotMs = limits.windowMs / slots;
  const calls = new Float64Array(slots);
  const failures = new Float64Array(slots);
  let slot = 0; // absolute number of the newest slot
  let inARow = 0;
  let openUntilMs: number | undefined;
  let probing = false;
  /** When the last failure came that was counted. */
  let failedMs = Number.NEGATIVE_INFINITY;

  const roll = (now: number) => {
    const current = Math.floor(now / slotMs);
    for (let i = Math.max(slot + 1, current - slots + 1); i <= current; i++) calls[i % slots] = failures[i % slots] = 0;
    slot = Math.max(slot, current);
    return slot % slots;
  };
  const sum = (counts: Float64Array) => counts.reduce((total, count) => total + count, 0);
  const open = (now: number) => {
    openUntilMs = now + limits.openMs;
    probing = false;
  };
  const state = (now: number): BreakerState =>
    openUntilMs === undefined ? 'closed' : now < openUntilMs ? 'open' : 'half-open';

  return {
    state,
    take(now) {
      const current = state(now);
      if (current === 'closed') return true;
      if (current === 'open' || probing) return false;
      probing = true;
      return true;
    },
    success(now) {
      const at = roll(now);
      inARow = 0;
      if (openUntilMs !== undefined) {
        // A late answer of a call made before it opened proves nothing about now.
        if (!probing) return;
        openUntilMs = undefined;
        probing = false;
        calls.fill(0);
        failures.fill(0);
      }
      calls[at] = (calls[at] ?? 0) + 1;
    },
    failure(now, sinceMs = now) {
      if (openUntilMs !== undefined) {
        if (probing) open(now);
        return;
      }
      if (sinceMs < failedMs && now - failedMs < togetherMs) return;
      failedMs = now;
      const at = roll(now);
      calls[at] = (calls[at] ?? 0) + 1;
      failures[at] = (failures[at] ?? 0) + 1;
      inARow += 1;
      const total = sum(calls);
      if (inARow >= limits.consecutive || (total >= limits.minCalls && sum(failures) / total >= limits.failureShare)) {
        open(now);
      }
    },
    neutral() {
      probing = false;
    },
    retryAtMs: () => openUntilMs ?? 0,
  };
}
