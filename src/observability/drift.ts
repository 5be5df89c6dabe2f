/** Counts per bin. */
export type Counts = readonly number[];

/** Population stability index: 0 alike, from about 0.1 moved, from about 0.25 drifted. Empty bins count half an observation. */
export function populationStability(reference: Counts, current: Counts): number {
  const [r, c] = [smoothed(reference), smoothed(current)];
  return r.reduce((sum, share, bin) => sum + ((c[bin] ?? 0) - share) * Math.log((c[bin] ?? share) / share), 0);
}

/** Jensen–Shannon divergence in bits, 0 (alike) to 1 (disjoint). */
export function jensenShannon(reference: Counts, current: Counts): number {
  const [r, c] = [shares(reference), shares(current)];
  let sum = 0;
  for (let bin = 0; bin < r.length; bin++) {
    const [p, q] = [r[bin] ?? 0, c[bin] ?? 0];
    const middle = (p + q) / 2;
    if (p > 0) sum += (p / 2) * Math.log2(p / middle);
    if (q > 0) sum += (q / 2) * Math.log2(q / middle);
  }
  return Math.min(1, Math.max(0, sum));
}

/** Each bin’s part of all observations, 0..1; zeros where there are none. */
export function shares(counts: Counts): number[] {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return counts.map((count) => (total === 0 ? 0 : count / total));
}

function smoothed(counts: Counts): number[] {
  const filled = counts.map((count) => (count === 0 ? 0.5 : count));
  return shares(filled);
}

/** What a window has seen, for keeping it over a restart: bins of the reference, and the last observations, oldest first. */
export interface WindowState {
  readonly reference: Counts;
  readonly last: readonly number[];
}

/** A signal's first observations, and its last ones. */
export function createWindow(bins: number, referenceSize: number, currentSize: number, before?: WindowState) {
  const reference = new Array<number>(bins).fill(0);
  const current = new Array<number>(bins).fill(0);
  const ring: number[] = [];
  let [seen, next] = [0, 0];
  const window = {
    reference: reference as Counts,
    current: current as Counts,
    /** Observations in each. */
    sizes: () => [Math.min(seen, referenceSize), ring.length] as const,
    add(bin: number) {
      seen++;
      if (seen <= referenceSize) {
        reference[bin] = (reference[bin] ?? 0) + 1;
        return;
      }
      const old = ring.length === currentSize ? ring[next] : undefined;
      if (old !== undefined) current[old] = (current[old] ?? 1) - 1;
      ring[next] = bin;
      next = (next + 1) % currentSize;
      current[bin] = (current[bin] ?? 0) + 1;
    },
    state: (): WindowState => ({ reference, last: [...ring.slice(next), ...ring.slice(0, next)] }),
  };
  before?.reference.forEach((count, bin) => {
    for (let i = 0; i < count && bin < bins; i++) window.add(bin);
  });
  if (seen >= referenceSize) for (const bin of before?.last ?? []) if (bin < bins) window.add(bin);
  return window;
}
