/**
 * Which strategy serves a cluster best? A simulation in virtual time: 1, 10 and 100 replicas with prefix caches under
 * bursty, heavy-tailed conversations, while some replicas are slow, hang, refuse and come back cold. Plans, breakers and
 * target states are the code that serves. Run: node bench/run.mjs routing [--seeds 5] [--save]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createStrategy, type StrategyName } from '../src/routing/strategies/index.ts';
import { chart } from './routing/chart.ts';
import { type Trouble, usualReplica } from './routing/cluster.ts';
import { makeLoad, seeded } from './routing/load.ts';
import { type Figures, simulate } from './routing/simulate.ts';

const strategies: readonly StrategyName[] = ['random', 'round-robin', 'least-latency', 'least-busy', 'prefix-affinity'];
const objectiveMs = 2000;
const durationMs = 180_000;
/** New conversations per second and replica, so that the cluster is busy but could serve them all. */
const perReplica = 0.42;

/** Three of ten replicas are slow, refuse or hang for 20 to 60 s, one after another; a single one is only slow. */
function troublesOf(replicas: number, seed: number): readonly Trouble[] {
  const random = seeded(seed);
  const count = replicas === 1 ? 1 : Math.ceil(replicas * 0.3);
  return Array.from({ length: count }, (_, i) => {
    const fromMs = 20_000 + random() * (durationMs - 90_000);
    const kinds = ['slow', 'refuses', 'hangs'] as const;
    const kind = replicas === 1 ? 'slow' : (kinds[i % 3] ?? 'slow');
    return { replica: Math.floor(random() * replicas), fromMs, untilMs: fromMs + 20_000 + random() * 40_000, kind };
  });
}

/** Of several seeds: the one in the middle, and how far the others are from it. */
interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

type Summary = Readonly<Record<keyof Figures, Spread>>;

function summarise(runs: readonly Figures[]): Summary {
  const of = (field: keyof Figures): Spread => {
    const sorted = runs.map((run) => run[field]).sort((a, b) => a - b);
    const at = (index: number) => sorted[index] ?? Number.NaN;
    const middle = (sorted.length - 1) / 2;
    return {
      median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
      least: at(0),
      most: at(sorted.length - 1),
    };
  };
  return {
    requests: of('requests'),
    goodput: of('goodput'),
    failed: of('failed'),
    ttftP50Ms: of('ttftP50Ms'),
    ttftP99Ms: of('ttftP99Ms'),
    prefixHitShare: of('prefixHitShare'),
    imbalance: of('imbalance'),
    amplification: of('amplification'),
  };
}

const option = (name: string, fallback: string) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
};
const seeds = Number(option('seeds', '5'));
const percent = (share: number) => (share * 100).toFixed(1);
const seconds = (ms: number) => (ms / 1000).toFixed(2);
const spread = ({ median, least, most }: Spread, show: (value: number) => string, unit = '') =>
  `${show(median)}${unit} (${show(least)}–${show(most)})`;
/** What a provider's replicas share traffic by, unless the configuration says otherwise. */
const chosen = 'prefix-affinity';

const results: Record<string, Record<string, Summary>> = {};
const beaten: Record<string, string> = {};
for (const replicas of [1, 10, 100]) {
  const name = `${replicas} replica${replicas === 1 ? '' : 's'}`;
  const rows: Record<string, Summary> = {};
  const runs: Record<string, readonly Figures[]> = {};
  results[name] = rows;
  for (const strategy of strategies) {
    const played = Array.from({ length: seeds }, (_, seed) =>
      simulate({
        strategy: createStrategy(strategy),
        replicas,
        replica: usualReplica,
        load: makeLoad({ seed, durationMs, conversationsPerSecond: perReplica * replicas }),
        troubles: troublesOf(replicas, seed + 100),
        seed,
        objectiveMs,
      }),
    );
    runs[strategy] = played;
    rows[strategy] = summarise(played);
  }
  const wins = (other: string) =>
    (runs[chosen] ?? []).filter((ours, seed) => {
      const theirs = runs[other]?.[seed];
      return theirs && ours.ttftP99Ms < theirs.ttftP99Ms && ours.goodput > theirs.goodput;
    }).length;
  if (replicas > 1)
    beaten[name] = `random in ${wins('random')}, round-robin in ${wins('round-robin')} of ${seeds} seeds`;
  console.log(
    `\n${name}, ${Math.round(rows['random']?.requests.median ?? 0)} requests, ${seeds} seeds, objective ${objectiveMs} ms; median (least–most)`,
  );
  console.table(
    Object.fromEntries(
      Object.entries(rows).map(([strategy, row]) => [
        strategy,
        {
          'goodput %': spread(row.goodput, percent),
          'TTFT p50 s': seconds(row.ttftP50Ms.median),
          'TTFT p99 s': spread(row.ttftP99Ms, seconds),
          'prefix hits %': percent(row.prefixHitShare.median),
          imbalance: row.imbalance.median.toFixed(2),
          'calls per request': row.amplification.median.toFixed(3),
          failed: Math.round(row.failed.median),
        },
      ]),
    ),
  );
}

console.log(`\n${chosen}, the default for replicas, has more goodput and a lower p99 than:`, beaten);

const outage = Object.fromEntries(
  [1, 10, 100].map((replicas) => {
    const down = Array.from(
      { length: replicas },
      (_, replica): Trouble => ({ replica, fromMs: 0, untilMs: durationMs, kind: 'refuses' }),
    );
    const load = makeLoad({ seed: 1, durationMs, conversationsPerSecond: perReplica * replicas });
    const { amplification } = simulate({
      strategy: createStrategy('least-busy'),
      replicas,
      replica: usualReplica,
      load,
      troubles: down,
      seed: 1,
      objectiveMs,
    });
    return [`${replicas} replicas`, amplification];
  }),
);
console.log('\ncalls per request while everything is down for three minutes:', outage);

if (process.argv.includes('--save')) {
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const conditions = { durationMs, objectiveMs, perReplica, seeds, replica: usualReplica };
  writeFileSync(
    join(folder, 'routing.json'),
    `${JSON.stringify({ conditions, results, beaten, outage }, undefined, 2)}\n`,
  );
  const pick = (field: keyof Figures) =>
    Object.fromEntries(
      Object.entries(results).map(([group, rows]) => [
        group,
        Object.fromEntries(Object.entries(rows).map(([strategy, row]) => [strategy, row[field]])),
      ]),
    );
  const panels = [
    {
      title: `Goodput: first token within ${objectiveMs / 1000} s`,
      note: 'more is better',
      format: (v: number) => `${(v * 100).toFixed(0)}%`,
      values: pick('goodput'),
    },
    {
      title: 'Time to first token, p99',
      note: 'less is better',
      format: (v: number) => `${(v / 1000).toFixed(1)}s`,
      values: pick('ttftP99Ms'),
    },
    {
      title: 'Prompt tokens found in the KV cache',
      note: 'more is better',
      format: (v: number) => `${(v * 100).toFixed(0)}%`,
      values: pick('prefixHitShare'),
    },
    {
      title: 'Load imbalance: busiest over mean',
      note: 'less is better',
      format: (v: number) => v.toFixed(1),
      values: pick('imbalance'),
    },
  ];
  writeFileSync(
    join(folder, 'routing.svg'),
    chart('Strategies under bursts, heavy tails and failing replicas (simulated)', strategies, panels),
  );
}
