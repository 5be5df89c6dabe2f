import type { EngineCounters, EngineStatus } from '../core/status.ts';
import type { EngineHost } from './host.ts';
import type { EngineStats } from './protocol.ts';

type Totals = Pick<
  EngineStats,
  'totalSteps' | 'totalEvaluatedTokens' | 'totalPromptTokens' | 'totalCachedTokens' | 'totalCompletionTokens'
>;

interface Tracked {
  /** What earlier children of this model did. */
  before: Totals;
  last: Totals;
  restarts: number;
  rates: { atMs: number; prefill: number; decode: number; totals: Totals };
}

const nothing: Totals = {
  totalSteps: 0,
  totalEvaluatedTokens: 0,
  totalPromptTokens: 0,
  totalCachedTokens: 0,
  totalCompletionTokens: 0,
};

/** Speeds are means over at least so long. */
const rateMs = 1000;

/** Turns what engine children report into counters that survive their restarts, and speeds of the last seconds. */
export function createStatusReader(
  limits: { readonly memoryBytes: number; readonly diskBytes: number },
  now = () => performance.now(),
) {
  const models = new Map<string, Tracked>();

  const track = (name: string): Tracked => {
    let tracked = models.get(name);
    if (!tracked) {
      tracked = {
        before: nothing,
        last: nothing,
        restarts: 0,
        rates: { atMs: now(), prefill: 0, decode: 0, totals: nothing },
      };
      models.set(name, tracked);
    }
    return tracked;
  };

  return {
    crashed(name: string): void {
      track(name).restarts++;
    },
    read(name: string, host: EngineHost): EngineStatus {
      const tracked = track(name);
      const stats = host.stats();
      const reported: Totals = stats ?? nothing;
      // A new child counts from zero again.
      if (reported.totalSteps < tracked.last.totalSteps) tracked.before = plus(tracked.before, tracked.last);
      tracked.last = reported;
      const totals = plus(tracked.before, reported);
      const { rates } = tracked;
      const elapsed = now() - rates.atMs;
      if (elapsed >= rateMs) {
        const evaluated = totals.totalEvaluatedTokens - rates.totals.totalEvaluatedTokens;
        const completed = totals.totalCompletionTokens - rates.totals.totalCompletionTokens;
        tracked.rates = {
          atMs: now(),
          decode: (completed / elapsed) * 1000,
          prefill: (Math.max(0, evaluated - completed) / elapsed) * 1000,
          totals,
        };
      }
      const info = host.model();
      const contextTokens = info?.contextTokens ?? 0;
      const slots = host.slots().map((slot, id) => ({ id, contextTokens, ...slot }));
      return {
        model: name,
        state: host.state(),
        slots,
        waiting: stats?.waiting ?? 0,
        running: stats?.running ?? 0,
        batchWidth: stats?.running ?? 0,
        kv: [
          {
            tier: 'slots',
            used: slots.reduce((sum, { usedTokens }) => sum + usedTokens, 0),
            capacity: slots.length * contextTokens,
            unit: 'tokens',
          },
          { tier: 'memory', used: stats?.kvMemoryBytes ?? 0, capacity: limits.memoryBytes, unit: 'bytes' },
          ...(limits.diskBytes > 0
            ? [{ tier: 'disk', used: stats?.kvDiskBytes ?? 0, capacity: limits.diskBytes, unit: 'bytes' } as const]
            : []),
        ],
        prefillTokensPerSecond: tracked.rates.prefill,
        decodeTokensPerSecond: tracked.rates.decode,
        counters: countersOf(totals, tracked.restarts),
      };
    },
  };
}

const countersOf = (totals: Totals, restarts: number): EngineCounters => ({
  promptTokens: totals.totalPromptTokens,
  prefixHitTokens: totals.totalCachedTokens,
  prefillTokens: Math.max(0, totals.totalPromptTokens - totals.totalCachedTokens),
  decodeTokens: totals.totalCompletionTokens,
  draftedTokens: 0,
  acceptedTokens: 0,
  restarts,
  preemptions: 0,
});

const plus = (a: Totals, b: Totals): Totals => ({
  totalSteps: a.totalSteps + b.totalSteps,
  totalEvaluatedTokens: a.totalEvaluatedTokens + b.totalEvaluatedTokens,
  totalPromptTokens: a.totalPromptTokens + b.totalPromptTokens,
  totalCachedTokens: a.totalCachedTokens + b.totalCachedTokens,
  totalCompletionTokens: a.totalCompletionTokens + b.totalCompletionTokens,
});
