export interface BackoffLimits {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * Capped exponential back-off with full jitter: anything between 0 and base × 2^retry, so that callers that failed
 * together do not come back together. `retry` counts from 0.
 */
export function backoffMs(retry: number, { baseMs, maxMs }: BackoffLimits, random: () => number): number {
  return random() * Math.min(maxMs, baseMs * 2 ** Math.min(retry, 30));
}

/**
 * How long to wait before asking the same target again: what it asked for (`retryAfterMs`), never less than the jitter.
 * Undefined when that is longer than the caller is willing to wait; nonsense (negative, not finite) is ignored.
 */
export function retryDelayMs(
  retryAfterMs: number | undefined,
  jitterMs: number,
  longestMs: number,
): number | undefined {
  const asked = retryAfterMs !== undefined && Number.isFinite(retryAfterMs) && retryAfterMs > 0 ? retryAfterMs : 0;
  const delay = Math.max(asked, jitterMs);
  return delay <= longestMs ? delay : undefined;
}
