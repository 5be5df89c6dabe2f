// How fast does the local engine start, stream and hold up, through the whole gateway, beside llama-server?
//   npm run bench:engine                                   the gateway alone
//   npm run bench:engine -- --peer PATH/TO/llama-server    both, interleaved; bench/build-llama-server.sh FOLDER builds it on our binaries
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultModel } from '../src/models/catalogue.ts';
import { pullModel } from '../src/models/pull.ts';
import { modelSettings } from '../src/models/settings.ts';
import { type StreamTimes, streamChat } from './engine/client.ts';
import { type Server, startLlamaServer, startTidegate } from './engine/servers.ts';
import { median, quantile } from './shared/quantiles.ts';

const { values: flags } = parseArgs({
  options: {
    peer: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    widths: { type: 'string', default: '1,2,4,8,16' },
    tokens: { type: 'string', default: '128' },
    threads: { type: 'string', default: `${availableParallelism()}` },
    only: { type: 'string', default: 'widths,conversation,reload,disturbance,json,cancel' },
    out: { type: 'string', default: 'engine' },
  },
});
const root = process.cwd();
const rounds = Number(flags.rounds);
const widths = flags.widths.split(',').map(Number);
const tokens = Number(flags.tokens);
const only = new Set(flags.only.split(','));
const model = await pullModel(defaultModel, { settings: modelSettings() });
const options = {
  modelPath: model.path,
  slots: Math.max(8, ...widths),
  contextTokens: 4096,
  threads: Number(flags.threads),
};

const conditions = {
  date: new Date().toISOString(),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  cpu: cpus()[0]?.model,
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  nodeLlamaCpp: (
    JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
  ).dependencies['node-llama-cpp'],
  model: model.name,
  loadAverage: loadavg().map((load) => load.toFixed(2)),
  rounds,
  ...options,
  modelPath: undefined,
};
console.log(conditions);

let serial = 0;
const salt = Math.random().toString(36).slice(2, 8);
/** A prompt that nothing has in its cache: it differs from its first words on. */
const fresh = (topic: string) => ({
  messages: [
    { role: 'system', content: `Session ${salt}-${serial++}. You are a helpful assistant.` },
    { role: 'user', content: topic },
  ],
});
const sentences = (count: number) =>
  Array.from(
    { length: count },
    (_, i) => `Item ${i}: the ${['red', 'old', 'tall', 'calm'][i % 4]} house number ${i * 7} stands by the river.`,
  ).join(' ');
const ask = (server: Server, body: Record<string, unknown>, signal?: AbortSignal) =>
  streamChat(server.url, body, signal);

const servers = [
  await startTidegate(root, options),
  ...(flags.peer ? [await startLlamaServer(flags.peer, options)] : []),
];
const results: Record<string, Record<string, Record<string, number>>> = {};
const note = (question: string, server: Server, figures: Record<string, number>) => {
  results[question] ??= {};
  const rounded = Object.fromEntries(
    Object.entries(figures).map(([key, value]) => [key, Math.round(value * 100) / 100]),
  );
  results[question][server.name] = rounded;
  console.log(`${question.padEnd(28)} ${server.name.padEnd(13)}`, rounded);
};
/** llama-server's compute threads spin on for 170 ms of CPU after its last answer, at the cost of whoever is measured then. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 500));
/** Runs `measure` on each server in turn, `rounds` times, and notes the medians. */
async function compare(question: string, measure: (server: Server) => Promise<Record<string, number>>): Promise<void> {
  const seen = new Map<Server, Record<string, number>[]>(servers.map((server) => [server, []]));
  for (let round = 0; round < rounds; round++) {
    for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
      await settled();
      seen.get(server)?.push(await measure(server));
    }
  }
  for (const [server, runs] of seen) {
    const keys = Object.keys(runs[0] ?? {});
    note(
      question,
      server,
      Object.fromEntries(keys.map((key) => [key, median(runs.map((run) => run[key] ?? Number.NaN))])),
    );
  }
}

try {
  for (const server of servers) await ask(server, { ...fresh('Warm up.'), max_tokens: 8 });
  if (only.has('widths'))
    for (const width of widths) await compare(`${width} streams`, (server) => streams(server, width));
  if (only.has('conversation')) await compare('1,500-token conversation', conversation);
  if (only.has('reload')) await compare('1,500 tokens put aside', reload);
  if (only.has('disturbance')) await compare('2,000-token prompt beside 8', disturbance);
  if (only.has('json')) await compare('JSON schema', jsonSchema);
  if (only.has('cancel')) await compare('cancel', cancel);
} finally {
  await Promise.all(servers.map((server) => server.close()));
}
mkdirSync(join(root, 'bench/results'), { recursive: true });
writeFileSync(join(root, `bench/results/${flags.out}.json`), `${JSON.stringify({ conditions, results }, null, 2)}\n`);

/** Aggregate speed of `width` streams that start together, and what each client sees. */
async function streams(server: Server, width: number): Promise<Record<string, number>> {
  const before = server.javascriptMs();
  const cpuBefore = server.cpuMs() ?? Number.NaN;
  const startedMs = performance.now();
  const runs = await Promise.all(
    Array.from({ length: width }, () =>
      ask(server, { ...fresh('Tell me a story.'), max_tokens: tokens, ignore_eos: true }),
    ),
  );
  const seconds = (performance.now() - startedMs) / 1000;
  const produced = runs.reduce((sum, run) => sum + run.completionTokens, 0);
  const spent = server.javascriptMs();
  return {
    tokensPerSecond: produced / seconds,
    ttftP50: median(runs.map(({ ttftMs }) => ttftMs)),
    ttftP99: quantile(
      runs.map(({ ttftMs }) => ttftMs),
      0.99,
    ),
    itlP50: quantile(gaps(runs), 0.5),
    itlP99: quantile(gaps(runs), 0.99),
    cpuMsPerToken: ((server.cpuMs() ?? Number.NaN) - cpuBefore) / produced,
    ...(before !== undefined && spent !== undefined ? { javascriptMsPerToken: (spent - before) / produced } : {}),
  };
}

function gaps(runs: readonly StreamTimes[]): number[] {
  return runs.flatMap(({ gapsMs }) => [...gapsMs]);
}

/** A long conversation: its first turn cold, its next turn warm. */
async function conversation(server: Server): Promise<Record<string, number>> {
  const first = fresh(`${sentences(72)} Which house is the oldest?`);
  const cpuBefore = server.cpuMs() ?? Number.NaN;
  const cold = await ask(server, { ...first, max_tokens: 1 });
  const coldCpu = (server.cpuMs() ?? Number.NaN) - cpuBefore;
  const next = [
    ...first.messages,
    { role: 'assistant', content: cold.text },
    { role: 'user', content: 'And the tallest?' },
  ];
  const warm = await ask(server, { messages: next, max_tokens: 1 });
  const warmCpu = (server.cpuMs() ?? Number.NaN) - cpuBefore - coldCpu;
  return {
    promptTokens: cold.promptTokens,
    coldTtft: cold.ttftMs,
    prefillTokensPerSecond: (cold.promptTokens * 1000) / cold.ttftMs,
    warmTtft: warm.ttftMs,
    warmShare: warm.ttftMs / cold.ttftMs,
    coldCpu,
    warmCpu,
    cpuMsPerPromptToken: coldCpu / cold.promptTokens,
  };
}

/** A long conversation that other requests pushed out of its slot: what does it cost to fetch it back from memory? */
async function reload(server: Server): Promise<Record<string, number>> {
  const first = fresh(`${sentences(72)} Which house is the oldest?`);
  const cold = await ask(server, { ...first, max_tokens: 1 });
  const turn = (question: string) =>
    ask(server, {
      messages: [...first.messages, { role: 'assistant', content: cold.text }, { role: 'user', content: question }],
      max_tokens: 1,
    });
  await Promise.all(
    Array.from({ length: options.slots }, () => ask(server, { ...fresh('Tell me a story.'), max_tokens: 1 })),
  );
  const fetched = await turn('And the tallest?');
  const inSlot = await turn('And the calmest?');
  return {
    promptTokens: cold.promptTokens,
    cachedTokens: fetched.cachedTokens,
    coldTtft: cold.ttftMs,
    reloadTtft: fetched.ttftMs,
    inSlotTtft: inSlot.ttftMs,
    reloadMs: fetched.ttftMs - inSlot.ttftMs,
    reloadShare: (fetched.ttftMs - inSlot.ttftMs) / cold.ttftMs,
  };
}

/** Eight streams decode; a long prompt comes. How much longer do they wait between tokens? */
async function disturbance(server: Server): Promise<Record<string, number>> {
  const stop = new AbortController();
  const arrivals: number[][] = [];
  const running = Array.from({ length: 7 }, () => {
    const own: number[] = [];
    arrivals.push(own);
    return timeline(
      server,
      { ...fresh('Tell me a very long story.'), max_tokens: 2000, ignore_eos: true },
      own,
      stop.signal,
    );
  });
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const calmEnds = performance.now();
  const long = await ask(server, { ...fresh(`${sentences(96)} Sum up.`), max_tokens: 1 });
  const stirredEnds = performance.now();
  stop.abort();
  await Promise.allSettled(running);
  const between = (from: number, to: number) =>
    arrivals.flatMap((own) => {
      const inside = own.filter((ms) => ms >= from && ms <= to);
      return inside.slice(1).map((ms, i) => ms - (inside[i] ?? ms));
    });
  const calm = between(calmEnds - 3000, calmEnds);
  const stirred = between(calmEnds, stirredEnds);
  return {
    promptTokens: long.promptTokens,
    calmItlP99: quantile(calm, 0.99),
    stirredItlP99: quantile(stirred, 0.99),
    ratio: quantile(stirred, 0.99) / quantile(calm, 0.99),
    longTtft: long.ttftMs,
  };
}

async function timeline(
  server: Server,
  body: Record<string, unknown>,
  arrivals: number[],
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(`${server.url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', stream: true, temperature: 0, ...body }),
    signal,
  });
  for await (const _ of response.body ?? []) arrivals.push(performance.now());
}

/** Time per token under a JSON schema, against free text. */
async function jsonSchema(server: Server): Promise<Record<string, number>> {
  const schema = {
    type: 'object',
    properties: {
      title: { type: 'string' },
      tags: { type: 'array', items: { type: 'string' }, minItems: 4, maxItems: 8 },
      rating: { type: 'integer' },
      author: {
        type: 'object',
        properties: { name: { type: 'string' }, age: { type: 'integer' } },
        required: ['name', 'age'],
      },
    },
    required: ['title', 'tags', 'rating', 'author'],
    additionalProperties: false,
  };
  const question = 'Describe a book as JSON with title, tags, rating and author.';
  const cpuStart = server.cpuMs() ?? Number.NaN;
  const free = await ask(server, { ...fresh(question), max_tokens: 100, ignore_eos: true });
  const cpuFree = (server.cpuMs() ?? Number.NaN) - cpuStart;
  const bound = await ask(server, {
    ...fresh(question),
    max_tokens: 100,
    response_format: { type: 'json_schema', json_schema: { name: 'book', schema, strict: true } },
  });
  const perToken = (run: StreamTimes) => (run.totalMs - run.ttftMs) / Math.max(1, run.completionTokens - 1);
  const cpuBound = (server.cpuMs() ?? Number.NaN) - cpuStart - cpuFree;
  return {
    freeMsPerToken: perToken(free),
    schemaMsPerToken: perToken(bound),
    ratio: perToken(bound) / perToken(free),
    cpuRatio: cpuBound / bound.completionTokens / (cpuFree / free.completionTokens),
    schemaTokens: bound.completionTokens,
  };
}

/** All slots are reading long prompts, a client leaves: how soon does one who waits begin? */
async function cancel(server: Server): Promise<Record<string, number>> {
  const stop = new AbortController();
  const reading = Array.from({ length: options.slots }, () =>
    ask(server, { ...fresh(`${sentences(90)} Sum up.`), max_tokens: 4 }, stop.signal).catch(() => undefined),
  );
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const waiting = ask(server, { ...fresh('Hi'), max_tokens: 1 });
  await new Promise((resolve) => setTimeout(resolve, 200));
  const leftMs = performance.now();
  stop.abort();
  await waiting;
  const firstTokenMs = performance.now() - leftMs;
  await Promise.all(reading);
  const undisturbed = await ask(server, { ...fresh('Ho'), max_tokens: 1 });
  return { firstTokenMs, undisturbedTtft: undisturbed.ttftMs, slotFreeMs: firstTokenMs - undisturbed.ttftMs };
}
