/** What one request of a load run showed. Milliseconds on the run's clock. */
export interface Sample {
  readonly startedMs: number;
  readonly endedMs: number;
  /** Start to the first text. Absent where none came. */
  readonly ttftMs: number | undefined;
  /** Gaps between pieces of text; one piece may hold several tokens where a server joins them. */
  readonly gapsMs: readonly number[];
  readonly outputTokens: number;
  readonly promptTokens: number | undefined;
  readonly cachedTokens: number | undefined;
  /** True where the server told no usage and pieces were counted instead. */
  readonly counted: boolean;
  /** Why it failed, in few words that group: `429`, `timeout`, `connection`. */
  readonly error: string | undefined;
}

export interface Quantiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly mean: number;
  readonly max: number;
}

/** What a user accepts; absent limits are not asked for. */
export interface Objective {
  readonly ttftMs?: number | undefined;
  readonly tpotMs?: number | undefined;
  readonly totalMs?: number | undefined;
}

export interface Summary {
  readonly requests: number;
  readonly completed: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly wallMs: number;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly ttftMs: Quantiles | undefined;
  readonly tpotMs: Quantiles | undefined;
  readonly itlMs: Quantiles | undefined;
  readonly totalMs: Quantiles | undefined;
  /** Requests per second that met the objective, and their share of all; absent without an objective. */
  readonly goodput: { readonly requestsPerSecond: number; readonly share: number } | undefined;
  readonly tokensCounted: boolean;
}

/** Time per output token after the first; undefined with fewer than two. */
function tpotOf({ ttftMs, startedMs, endedMs, outputTokens }: Sample): number | undefined {
  if (ttftMs === undefined || outputTokens < 2) return undefined;
  return (endedMs - startedMs - ttftMs) / (outputTokens - 1);
}

function meets(sample: Sample, { ttftMs, tpotMs, totalMs }: Objective): boolean {
  if (sample.error !== undefined || sample.ttftMs === undefined) return false;
  if (ttftMs !== undefined && sample.ttftMs > ttftMs) return false;
  if (tpotMs !== undefined && (tpotOf(sample) ?? 0) > tpotMs) return false;
  return totalMs === undefined || sample.endedMs - sample.startedMs <= totalMs;
}

/** Failed requests count in `errors` and against goodput, never in latencies. */
export function summarise(samples: readonly Sample[], wallMs: number, objective: Objective | undefined): Summary {
  const done = samples.filter(({ error }) => error === undefined);
  const errors: Record<string, number> = {};
  for (const { error } of samples) if (error !== undefined) errors[error] = (errors[error] ?? 0) + 1;
  const seconds = wallMs / 1000;
  const perSecond = (count: number) => (seconds > 0 ? count / seconds : 0);
  const sum = (of: (sample: Sample) => number) => done.reduce((total, sample) => total + of(sample), 0);
  const outputTokens = sum((sample) => sample.outputTokens);
  const good = objective ? samples.filter((sample) => meets(sample, objective)).length : 0;
  return {
    requests: samples.length,
    completed: done.length,
    errors,
    wallMs,
    requestsPerSecond: perSecond(done.length),
    outputTokensPerSecond: perSecond(outputTokens),
    promptTokens: sum((sample) => sample.promptTokens ?? 0),
    cachedTokens: sum((sample) => sample.cachedTokens ?? 0),
    outputTokens,
    ttftMs: quantiles(done.flatMap(({ ttftMs }) => ttftMs ?? [])),
    tpotMs: quantiles(done.flatMap((sample) => tpotOf(sample) ?? [])),
    itlMs: quantiles(done.flatMap(({ gapsMs }) => gapsMs)),
    totalMs: quantiles(done.map(({ startedMs, endedMs }) => endedMs - startedMs)),
    goodput: objective && {
      requestsPerSecond: perSecond(good),
      share: samples.length > 0 ? good / samples.length : 0,
    },
    tokensCounted: done.some(({ counted }) => counted),
  };
}

/** Linear interpolation between ranks, as numpy's default; undefined of nothing. */
export function quantiles(values: readonly number[]): Quantiles | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const last = sorted.at(-1);
  if (last === undefined) return undefined;
  const at = (share: number): number => {
    const rank = share * (sorted.length - 1);
    const low = sorted[Math.floor(rank)] ?? last;
    const high = sorted[Math.ceil(rank)] ?? last;
    return low + (high - low) * (rank - Math.floor(rank));
  };
  const mean = sorted.reduce((total, value) => total + value, 0) / sorted.length;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), mean, max: last };
}
