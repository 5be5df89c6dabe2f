/** Chooses how many threads compute, from how long steps last. Pure but for the clock it is given. */
export interface ThreadTuner {
  /** Threads for the next step of this kind of work. Fewer than now are tried only where the step is `cheap`. */
  next(kind: string, cheap?: boolean): number;
  /** The step lasted so long, by its amount of work. */
  observe(kind: string, ms: number): void;
}

/** A probe looks at so many steps, and takes the middle one: a single step may be slow for any reason. */
const probeSteps = 3;
const firstProbeMs = 500;
/** Steps of like work that must be known before another count is tried. */
const knownSteps = 3;
const longestPauseMs = 30_000;
/** A step that lasts so many times its best asks for a probe at once. */
const alarm = 1.5;
const worthwhile = 0.9;
/** A probe ends with a step that took so many times the present ones. Fewer threads take twice the time where all cores are free. */
const hopeless = { fewer: 1.15, more: 4 } as const;

/**
 * Compute threads meet at barriers and spin there: where another process takes one of their cores, all wait for it, and
 * two threads on two busy cores can be ten times slower than one. So the other counts are tried for a few steps now and
 * then (from `start` on), soon when steps get slow, rarely when the present count keeps winning; the fastest for like work goes on.
 */
export function createThreadTuner(
  most: number,
  start: number,
  now: () => number = () => performance.now(),
): ThreadTuner {
  const counts = most <= 1 ? [1] : [...new Set([most, Math.max(1, Math.floor(most / 2)), 1])];
  let current = start;
  let probe: { threads: number; kind: string; left: number; ms: number[] } | undefined;
  let nextCandidate = 0;
  let pauseMs = firstProbeMs;
  // A start with fewer was a busy moment: most often the model's own loading, or a neighbour's.
  let nextProbeMs = now() + (start < most ? 0 : firstProbeMs);
  /** Mean of late steps under the present count, and the best ever seen, by kind of work. */
  const recent = new Map<string, { ms: number; steps: number }>();
  const best = new Map<string, number>();

  return {
    next(kind, cheap = true) {
      if (counts.length === 1) return most;
      if (probe && probe.kind !== kind) probe = undefined; // only like work can be compared
      const known = recent.get(kind);
      const slow = known !== undefined && known.steps >= knownSteps && known.ms > alarm * (best.get(kind) ?? known.ms);
      if (
        !probe &&
        known &&
        known.steps >= knownSteps &&
        (now() >= nextProbeMs || (slow && now() >= nextProbeMs - pauseMs / 2))
      ) {
        const others = counts.filter((count) => count !== current && (cheap || count > current));
        if (others.length === 0) return current;
        const threads = others[nextCandidate++ % others.length] ?? most;
        probe = { threads, kind, left: probeSteps, ms: [] };
      }
      return probe?.threads ?? current;
    },
    observe(kind, ms) {
      best.set(kind, Math.min(ms, best.get(kind) ?? ms));
      if (best.size > 500) best.clear();
      if (!probe || probe.kind !== kind) {
        const known = recent.get(kind);
        recent.set(kind, { ms: known ? known.ms + 0.3 * (ms - known.ms) : ms, steps: (known?.steps ?? 0) + 1 });
        if (recent.size > 500) recent.clear();
        return;
      }
      probe.ms.push(ms);
      const present = recent.get(kind)?.ms ?? ms;
      const lost = ms > hopeless[probe.threads < current ? 'fewer' : 'more'] * present;
      if (--probe.left > 0 && !lost) return;
      const probed = probe.ms.sort((a, b) => a - b)[probe.ms.length >> 1] ?? ms;
      if (!lost && probed < worthwhile * present) {
        current = probe.threads;
        recent.clear(); // measured under the other count
        recent.set(kind, { ms: probed, steps: 1 });
        pauseMs = firstProbeMs;
      } else pauseMs = Math.min(longestPauseMs, pauseMs * 2);
      nextProbeMs = now() + pauseMs;
      probe = undefined;
    },
  };
}
