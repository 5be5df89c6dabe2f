/**
 * What does it cost to be seen? CPU time per request of the gateway's spine over a scripted provider, without sinks, with
 * metrics, and with all that the Node root switches on (metrics, log, history, live board, quality), interleaved rounds.
 * Run: node bench/run.mjs observability [--rounds 9] [--requests 400] [--save]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { noCache } from '../src/cache/through.ts';
import type { CompletionEvent } from '../src/core/event.ts';
import { noCapabilities, type Provider } from '../src/core/provider.ts';
import type { RecordSink, Watcher } from '../src/core/record.ts';
import { plainRequest } from '../src/core/request.ts';
import { anonymous } from '../src/core/run.ts';
import { noFilters } from '../src/filters/index.ts';
import { createGateway } from '../src/gateway.ts';
import { createHistory } from '../src/observability/history.ts';
import { createLive } from '../src/observability/live.ts';
import { createLog } from '../src/observability/log.node.ts';
import { prometheusMeter } from '../src/observability/metrics.node.ts';
import { createMetrics } from '../src/observability/metrics.ts';
import { createQuality } from '../src/observability/quality.ts';
import { createRecorder } from '../src/observability/record.ts';
import { openPolicy } from '../src/policy/admit.ts';
import { noPrompts } from '../src/prompts/render.ts';
import { createRouting } from '../src/routing/attempt.ts';
import { median } from './shared/quantiles.ts';

const option = (name: string, fallback: string) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
};
const rounds = Number(option('rounds', '9'));
const requests = Number(option('requests', '400'));
const tokens = 64;

const events: readonly CompletionEvent[] = [
  ...Array.from({ length: tokens }, (): CompletionEvent => ({ type: 'text-delta', choice: 0, text: ' the tide' })),
  { type: 'finish', choice: 0, reason: 'stop' },
  { type: 'usage', usage: { promptTokens: 40, completionTokens: tokens } },
];
const provider: Provider = {
  name: 'up',
  capabilities: noCapabilities,
  async *stream() {
    yield* events;
  },
};
const request = plainRequest('demo', [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }]);

function gatewayWith(sinks: readonly RecordSink[], watchers: readonly Watcher[]) {
  return createGateway({
    policy: openPolicy(anonymous),
    prompts: noPrompts,
    routing: createRouting([{ name: 'demo', filters: [], targets: [{ name: 'up/m', provider, model: 'm' }] }]),
    filters: noFilters,
    cache: noCache,
    record: createRecorder(sinks, undefined, { watchers }),
  });
}

const metrics = createMetrics(prometheusMeter(), { knowsModel: () => true });
const history = createHistory();
const live = createLive();
const quality = createQuality();
const { record } = await createLog({ destination: { write: () => {} } });
const variants = [
  { name: 'nothing', gateway: gatewayWith([], []) },
  { name: 'metrics', gateway: gatewayWith([metrics.record], []) },
  {
    name: 'all',
    gateway: gatewayWith([record, metrics.record, history.sink], [live.watch, history.watch, quality.watch]),
  },
];

let number = 0;
async function cpuPerRequest(gateway: ReturnType<typeof gatewayWith>): Promise<number> {
  const before = process.cpuUsage();
  for (let i = 0; i < requests; i++) {
    const run = await gateway.stream(request, {
      requestId: `req_${number++}`,
      caller: anonymous,
      signal: new AbortController().signal,
      endpoint: '/v1/chat/completions',
      startedMs: performance.now(),
      headers: {},
    });
    for await (const _ of run.events);
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / requests;
}

const figures = new Map(variants.map(({ name }) => [name, [] as number[]]));
for (const { gateway } of variants) await cpuPerRequest(gateway); // warm
for (let round = 0; round < rounds; round++) {
  for (const { name, gateway } of variants) figures.get(name)?.push(await cpuPerRequest(gateway));
}
const base = median(figures.get('nothing') ?? []);
const rows = [...figures].map(([name, values]) => ({
  variant: name,
  'µs CPU per request': Math.round(median(values)),
  'added µs': Math.round(median(values) - base),
  'added µs per token': Math.round(((median(values) - base) / tokens) * 100) / 100,
}));
const conditions = {
  node: process.version,
  cpu: cpus()[0]?.model,
  load: loadavg()[0],
  rounds,
  requests,
  tokensPerRequest: tokens,
};
console.log(conditions);
console.table(rows);
if (process.argv.includes('--save')) {
  const folder = join(import.meta.dirname, 'results');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'observability.json'), `${JSON.stringify({ conditions, rows }, null, 2)}\n`);
}
process.exit(0);
