/** How many of a slot's last durations are remembered. */
export const keptDurations = 32;

/** Where nothing is known of how long answers take. */
const unknownMs = 1000;

/**
 * When one of several answers under way is going to end: for each, from how long it has run (`agesMs`) and how long
 * those before it took, the time by which three in four of them had ended; the earliest counts. An answer that has run
 * longer than any before it is given a quarter of its age. In milliseconds, at least 1.
 */
export function untilSlotFree(agesMs: readonly number[], tookMs: readonly number[]): number {
  if (tookMs.length === 0) return unknownMs;
  const sorted = tookMs.toSorted((a, b) => a - b);
  let earliest = Number.POSITIVE_INFINITY;
  for (const age of agesMs) {
    const from = sorted.findIndex((took) => took > age);
    const end = from < 0 ? age * 1.25 : sorted[from + Math.floor((sorted.length - 1 - from) * 0.75)];
    earliest = Math.min(earliest, (end ?? age) - age);
  }
  return Number.isFinite(earliest) ? Math.max(1, Math.ceil(earliest)) : unknownMs;
}
