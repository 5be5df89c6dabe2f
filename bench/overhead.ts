/**
 * What does the gateway add to an upstream call? Targets run interleaved, round by round, in front of the same mock:
 * direct, a bare node:http relay (the floor), Tidegate as it comes, without metrics and with a filter, and where they are
 * at hand Portkey (TIDEGATE_BENCH_PORTKEY names its start-server.js; its streams fail unless npm's `overrides` hold
 * @hono/node-server at 1.12.2), Bifrost (TIDEGATE_BENCH_BIFROST names what `go build` makes of bench/overhead/bifrost)
 * and LiteLLM (TIDEGATE_BENCH_LITELLM names the `litellm` of an environment with `litellm[proxy]`). A start is the time
 * from spawn to the first connection.
 * Run: node bench/run.mjs overhead [--rounds 3] [--seconds 1.5] [--only relay,tidegate] [--save]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { body, closedLoop, openLoop, paced } from './overhead/loads.ts';
import { startMock } from './overhead/mock.ts';
import { startRelay } from './overhead/relay.ts';
import { cpuSeconds, startTargets, type Target } from './overhead/targets.ts';
import { median, quantile } from './shared/quantiles.ts';

interface Row {
  requestsPerSecond: number[];
  cpuMicrosPerRequest: number[];
  eventsPerSecond: number[];
  latencyP50: number[];
  latencyP99: number[];
  ttftP50: number[];
  ttftP99: number[];
  gapP50: number[];
  gapP99: number[];
  failures: number;
}

async function main(): Promise<void> {
  const option = (name: string, fallback: string) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
  };
  const rounds = Number(option('rounds', '3'));
  const ms = Number(option('seconds', '1.5')) * 1000;
  const only = option('only', '').split(',').filter(Boolean);
  const skip = option('skip', '').split(',');
  const targets = await startTargets(process.argv[1] ?? '', only);
  const rows = new Map<string, Row>();
  const rowOf = (target: Target) => {
    const row = rows.get(target.name) ?? emptyRow();
    rows.set(target.name, row);
    return row;
  };
  try {
    // A JIT that is still compiling is not what is asked about.
    const warmMs = Number(option('warm', '4')) * 1000;
    for (const target of targets) await closedLoop(target, body('json', false), 16, warmMs);
    for (const target of targets) await closedLoop(target, body('burst-100', true), 16, warmMs / 2);
    for (let round = 0; round < rounds; round++) {
      for (const target of targets) {
        const row = rowOf(target);
        const before = cpuSeconds(target.pid);
        const whole = await closedLoop(target, body('json', false), 16, ms);
        row.cpuMicrosPerRequest.push(((cpuSeconds(target.pid) - before) * 1e6) / whole.done);
        row.requestsPerSecond.push(whole.perSecond);
        row.failures += whole.failed;
      }
      for (const target of targets) {
        const streams = await closedLoop(target, body('burst-100', true), 16, ms);
        rowOf(target).eventsPerSecond.push(streams.perSecond * 100);
        rowOf(target).failures += streams.failed;
      }
      // A third of what the gateway under test can do, the same for all.
      const reference = rows.get('tidegate') ?? rows.get('relay') ?? rows.get('direct');
      const rate = Number(option('rate', String(Math.round(median(reference?.requestsPerSecond ?? [300]) / 3))));
      for (const target of targets) {
        const row = rowOf(target);
        const latency = await openLoop(target, body('json', false), rate, ms);
        row.latencyP50.push(quantile(latency.totals, 0.5));
        row.latencyP99.push(quantile(latency.totals, 0.99));
        const first = await openLoop(target, body('paced-1-1', true), rate / 2, ms);
        row.ttftP50.push(quantile(first.firsts, 0.5));
        row.ttftP99.push(quantile(first.firsts, 0.99));
        row.failures += latency.failed + first.failed;
      }
      if (!skip.includes('paced')) {
        for (const target of targets) {
          const gaps = await paced(target, 512);
          rowOf(target).gapP50.push(quantile(gaps.lags, 0.5));
          rowOf(target).gapP99.push(quantile(gaps.lags, 0.99));
          rowOf(target).failures += gaps.failed;
        }
      }
    }
  } finally {
    for (const target of targets) target.stop();
  }
  report(targets, rows, { rounds, ms, save: process.argv.includes('--save') });
  process.exit(0);
}

const emptyRow = (): Row => ({
  requestsPerSecond: [],
  cpuMicrosPerRequest: [],
  eventsPerSecond: [],
  latencyP50: [],
  latencyP99: [],
  ttftP50: [],
  ttftP99: [],
  gapP50: [],
  gapP99: [],
  failures: 0,
});

interface Conditions {
  readonly rounds: number;
  readonly ms: number;
  readonly save: boolean;
}

function report(targets: readonly Target[], rows: ReadonlyMap<string, Row>, { rounds, ms, save }: Conditions): void {
  const round = (value: number, digits = 2) => Number(value.toFixed(digits));
  const direct = rows.get('direct') ?? emptyRow();
  const relay = rows.get('relay');
  const added = (own: readonly number[], base: readonly number[]) => round(median(own) - median(base));
  const results = targets.map((target) => {
    const row = rows.get(target.name) ?? emptyRow();
    return {
      target: target.name,
      'requests/s': Math.round(median(row.requestsPerSecond)),
      'events/s': Math.round(median(row.eventsPerSecond)),
      'of relay': relay
        ? `${round(median(row.requestsPerSecond) / median(relay.requestsPerSecond))} / ${round(median(row.eventsPerSecond) / median(relay.eventsPerSecond))}`
        : '',
      'CPU µs/request': Math.round(median(row.cpuMicrosPerRequest)),
      'added ms p50': added(row.latencyP50, direct.latencyP50),
      'added ms p99': added(row.latencyP99, direct.latencyP99),
      'added TTFT p50': added(row.ttftP50, direct.ttftP50),
      'added TTFT p99': added(row.ttftP99, direct.ttftP99),
      'added gap p99, 512 streams': added(row.gapP99, direct.gapP99),
      'idle MiB': round(target.idleMiB, 0),
      'start ms': round(target.startMs, 0),
      failures: row.failures,
    };
  });
  const conditions = {
    bench: 'overhead',
    at: new Date().toISOString(),
    node: process.version,
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? ''}`,
    load: 'load generator and mock on the same cores; medians of interleaved rounds',
    loadAverage: round(loadavg()[0] ?? Number.NaN, 1),
    rounds,
    secondsEach: ms / 1000,
  };
  console.log(JSON.stringify(conditions));
  console.table(results);
  if (!save) return;
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  const raw = Object.fromEntries(rows);
  writeFileSync(join(folder, 'overhead.json'), `${JSON.stringify({ conditions, results, raw }, null, 1)}\n`);
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === '--mock') await startMock(Number(rest[0]));
else if (mode === '--relay') await startRelay(Number(rest[0]), Number(rest[1]));
else await main();
