/**
 * What does the gateway add to an upstream call? Targets run interleaved, round by round, in front of the same mock:
 * direct, a bare node:http relay (the floor), Tidegate as it comes, without metrics and with a filter, and where they are
 * at hand Portkey (TIDEGATE_BENCH_PORTKEY names its start-server.js) and LiteLLM (TIDEGATE_BENCH_LITELLM names the
 * `litellm` of an environment with `litellm[proxy]`). `--only relay,tidegate,"two workers"` shows what a second process
 * brings, where there are cores for it beside load and mock. A start is the time from spawn to the first connection.
 * Run: node bench/run.mjs overhead [--rounds 3] [--seconds 1.5] [--only relay,tidegate] [--save]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { type Exchange, median, openConnection, percentile } from './overhead/client.ts';
import { startMock } from './overhead/mock.ts';
import { startRelay } from './overhead/relay.ts';
import { cpuSeconds, startTargets, type Target } from './overhead/targets.ts';

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
        row.latencyP50.push(percentile(latency.totals, 0.5));
        row.latencyP99.push(percentile(latency.totals, 0.99));
        const first = await openLoop(target, body('paced-1-1', true), rate / 2, ms);
        row.ttftP50.push(percentile(first.firsts, 0.5));
        row.ttftP99.push(percentile(first.firsts, 0.99));
        row.failures += latency.failed + first.failed;
      }
      if (!skip.includes('paced')) {
        for (const target of targets) {
          const gaps = await paced(target, 512);
          rowOf(target).gapP50.push(percentile(gaps.lags, 0.5));
          rowOf(target).gapP99.push(percentile(gaps.lags, 0.99));
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

const body = (model: string, stream: boolean) =>
  JSON.stringify({
    model,
    ...(stream ? { stream: true } : {}),
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: 'Tell me about the tide. '.repeat(10) },
    ],
  });

function requestOf(target: Target, text: string): Buffer {
  const headers = Object.entries(target.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${target.port}\r\ncontent-type: application/json\r\n${headers.join('')}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

/** So many connections, each sending its next request when the last is answered. */
async function closedLoop(target: Target, text: string, connections: number, ms: number) {
  const request = requestOf(target, text);
  const start = performance.now();
  let done = 0;
  let failed = 0;
  const worker = async () => {
    const connection = openConnection(target.port);
    while (performance.now() - start < ms) {
      if ((await connection.send(request)).ok) done++;
      else if (++failed > 50) break;
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, worker));
  return { done, failed, perSecond: (done * 1000) / (performance.now() - start) };
}

/** How coarse a timer of one millisecond is. */
const tickMs = 1.5;

/**
 * So many requests a second whatever the answers take: those due are sent at each tick and each answer. Times count from
 * there, and what the generator was late by more than its tick is added. It sleeps between: spinning to the due moment
 * takes a whole core from what is measured.
 */
async function openLoop(target: Target, text: string, rate: number, ms: number) {
  const request = requestOf(target, text);
  const free = Array.from({ length: 64 }, () => openConnection(target.port));
  const all = [...free];
  const running: Promise<void>[] = [];
  const totals: number[] = [];
  const firsts: number[] = [];
  let failed = 0;
  let sent = 0;
  const start = performance.now();
  const take = (exchange: Exchange, lateMs: number) => {
    if (!exchange.ok) failed++;
    else {
      totals.push(exchange.totalMs + lateMs);
      firsts.push(exchange.firstMs + lateMs);
    }
  };
  const sendDue = () => {
    const elapsedMs = performance.now() - start;
    for (; elapsedMs < ms && sent < (elapsedMs / 1000) * rate; sent++) {
      const connection = free.pop() ?? openConnection(target.port);
      if (!all.includes(connection)) all.push(connection);
      const lateMs = Math.max(0, elapsedMs - (sent / rate) * 1000 - tickMs);
      running.push(
        connection.send(request).then((exchange) => {
          take(exchange, lateMs);
          free.push(connection);
          sendDue();
        }),
      );
    }
  };
  while (performance.now() - start < ms) {
    sendDue();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(running);
  for (const connection of all) connection.close();
  return { totals, firsts, failed };
}

/** Streams of 40 events, one every 50 ms: how late does each arrive, measured from the stream's own beat? */
async function paced(target: Target, streams: number) {
  const request = requestOf(target, body('paced-40-50', true));
  const lags: number[] = [];
  let failed = 0;
  const one = async (index: number) => {
    await new Promise((resolve) => setTimeout(resolve, (index * 1000) / streams));
    const connection = openConnection(target.port);
    const arrivals: number[] = [];
    const { ok } = await connection.send(request, (now) => arrivals.push(now));
    connection.close();
    if (!ok) failed++;
    for (let at = 1; at < arrivals.length; at++) {
      lags.push(Math.max(0, (arrivals[at] ?? 0) - (arrivals[at - 1] ?? 0) - 50));
    }
  };
  await Promise.all(Array.from({ length: streams }, (_, index) => one(index)));
  return { lags, failed };
}

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
