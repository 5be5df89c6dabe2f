/** Boundaries grow by 12 % from 0.05 ms to over ten minutes, so a quantile is off by at most that. */
const growth = 1.12;
const firstMs = 0.05;
const bucketCount = 148;

/**
 * Durations of the last `seconds`, kept as one small histogram per second: quantiles of a moving window in bounded
 * memory, whatever the load.
 */
export function createMovingQuantiles(seconds: number) {
  const slots = Array.from({ length: seconds }, () => ({ second: -1, counts: new Uint32Array(bucketCount) }));
  const merged = new Uint32Array(bucketCount);
  return {
    add(ms: number, nowMs: number) {
      const second = Math.floor(nowMs / 1000);
      const slot = slots[second % seconds];
      if (!slot) return;
      if (slot.second !== second) {
        slot.second = second;
        slot.counts.fill(0);
      }
      const bucket = bucketOf(ms);
      slot.counts[bucket] = (slot.counts[bucket] ?? 0) + 1;
    },
    /** Milliseconds at each of `ranks` (0..1), or nulls when nothing happened in the window. */
    at(ranks: readonly number[], nowMs: number): readonly (number | null)[] {
      const oldest = Math.floor(nowMs / 1000) - seconds;
      merged.fill(0);
      let total = 0;
      for (const { second, counts } of slots) {
        if (second <= oldest) continue;
        for (let bucket = 0; bucket < bucketCount; bucket++) {
          const count = counts[bucket] ?? 0;
          merged[bucket] = (merged[bucket] ?? 0) + count;
          total += count;
        }
      }
      return ranks.map((rank) => (total === 0 ? null : valueAt(merged, Math.ceil(rank * total))));
    },
  };
}

const bucketOf = (ms: number) =>
  Math.min(bucketCount - 1, Math.max(0, Math.ceil(Math.log(Math.max(ms, firstMs) / firstMs) / Math.log(growth))));

function valueAt(counts: Uint32Array, rank: number): number {
  let seen = 0;
  for (let bucket = 0; bucket < counts.length; bucket++) {
    seen += counts[bucket] ?? 0;
    if (seen >= Math.max(1, rank)) return Math.round(firstMs * growth ** (bucket - 0.5) * 100) / 100;
  }
  return 0;
}
