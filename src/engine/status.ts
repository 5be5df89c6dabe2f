import type { EngineCounters, EngineStatus } from '../core/status.ts';
import type { EngineHost } from './host.ts';
import type { EngineStats } from './protocol.ts';

const counted = [
  'totalSteps',
  'totalPromptTokens',
  'totalCachedTokens',
  'totalCompletionTokens',
  'totalPrefillTokens',
  'totalDraftedTokens',
  'totalAcceptedTokens',
  'totalParked',
  'totalJoules',
] as const;
type Totals = Readonly<Record<(typeof counted)[number], number>>;

interface Tracked {
  /** What earlier children of this model did. */
  before: Totals;
  last: Totals;
  restarts: number;
  rates: { atMs: number; prefill: number; decode: number; totals: Totals };
}

const totalsOf = (stats: Partial<EngineStats> = {}): Totals => sum(stats, {});
const sum = (a: Partial<Totals>, b: Partial<Totals>): Totals =>
  // The names are all of them.
  Object.fromEntries(counted.map((name) => [name, (a[name] ?? 0) + (b[name] ?? 0)])) as Totals;
const nothing = totalsOf();

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
      const reported = totalsOf(stats);
      // A new child counts from zero again.
      if (reported.totalSteps < tracked.last.totalSteps) tracked.before = sum(tracked.before, tracked.last);
      tracked.last = reported;
      const totals = sum(tracked.before, reported);
      const { rates } = tracked;
      const elapsed = now() - rates.atMs;
      if (elapsed >= rateMs) {
        const perSecond = (name: keyof Totals) => ((totals[name] - rates.totals[name]) / elapsed) * 1000;
        tracked.rates = {
          atMs: now(),
          decode: perSecond('totalCompletionTokens'),
          prefill: perSecond('totalPrefillTokens'),
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
        batchWidth: stats?.batchWidth ?? 0,
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
        counters: {
          ...countersOf(totals, tracked.restarts),
          ...(stats?.totalJoules === undefined && totals.totalJoules === 0 ? {} : { energyJoules: totals.totalJoules }),
        },
      };
    },
  };
}

const countersOf = (totals: Totals, restarts: number): EngineCounters => ({
  promptTokens: totals.totalPromptTokens,
  prefixHitTokens: totals.totalCachedTokens,
  prefillTokens: totals.totalPrefillTokens,
  decodeTokens: totals.totalCompletionTokens,
  draftedTokens: totals.totalDraftedTokens,
  acceptedTokens: totals.totalAcceptedTokens,
  restarts,
  preemptions: totals.totalParked,
});
