/**
 * Peak EWMA: a slower answer counts at once and fully, a faster one only little by little, and with nothing heard the
 * memory fades, so that a target that was slow is tried again. `tauMs` is the time constant of both.
 */
export interface Latency {
  observe(ms: number, now: number): void;
  /** Milliseconds to the first token as remembered; 0 when nothing is known. */
  estimate(now: number): number;
}

export function createLatency(tauMs = 10_000): Latency {
  let value = 0;
  let atMs = 0;
  let known = false;
  return {
    observe(ms, now) {
      if (!known || ms > value) value = ms;
      else value = ms + (value - ms) * Math.exp(-(now - atMs) / tauMs);
      known = true;
      atMs = now;
    },
    // Fades ten times slower than it learns: silence says little, and a target must not look free after a pause.
    estimate: (now) => (known ? value * Math.exp(-Math.max(0, now - atMs) / (tauMs * 10)) : 0),
  };
}
