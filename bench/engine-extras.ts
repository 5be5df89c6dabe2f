// What do drafts from the prompt save on text that repeats itself, and how fast are embeddings, beside llama-server's?
//   node bench/run.mjs engine-extras                                 the gateway alone
//   node bench/run.mjs engine-extras --peer PATH/TO/llama-server     embeddings of both, interleaved
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaultModel } from '../src/models/catalogue.ts';
import { pullModel } from '../src/models/pull.ts';
import { modelSettings } from '../src/models/settings.ts';
import { streamChat } from './engine/client.ts';
import { type Server, startLlamaServer, startTidegate } from './engine/servers.ts';
import { median } from './shared/quantiles.ts';

const { values: flags } = parseArgs({
  options: {
    peer: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: `${availableParallelism()}` },
    only: { type: 'string', default: 'copy,embeddings' },
    out: { type: 'string', default: 'engine-extras' },
  },
});
const root = process.cwd();
const rounds = Number(flags.rounds);
const model = await pullModel(defaultModel, { settings: modelSettings() });
const options = { modelPath: model.path, slots: 8, contextTokens: 2048, threads: Number(flags.threads) };
const conditions = {
  date: new Date().toISOString(),
  cpu: cpus()[0]?.model,
  cores: availableParallelism(),
  node: process.version,
  model: model.name,
  loadAverage: loadavg().map((load) => load.toFixed(2)),
  rounds,
  threads: options.threads,
};
console.log(conditions);
const results: Record<string, Record<string, number>> = {};
const note = (question: string, runs: readonly Record<string, number>[]) => {
  const middle = Object.keys(runs[0] ?? {}).map(
    (key) => [key, median(runs.map((run) => run[key] ?? Number.NaN))] as const,
  );
  results[question] = Object.fromEntries(middle.map(([key, value]) => [key, Math.round(value * 100) / 100]));
  console.log(question.padEnd(34), results[question]);
};

const gateway = await startTidegate(root, options);
const peer = flags.peer
  ? await startLlamaServer(flags.peer, options, ['--embeddings', '--pooling', 'last', '-ub', '2048', '-b', '2048'])
  : undefined;
const servers = [gateway, ...(peer ? [peer] : [])];
const only = new Set(flags.only.split(','));
try {
  if (only.has('copy')) await copying();
  if (only.has('embeddings')) await embedding();
} finally {
  await Promise.all(servers.map((server) => server.close()));
}
mkdirSync(join(root, 'bench/results'), { recursive: true });
writeFileSync(join(root, `bench/results/${flags.out}.json`), `${JSON.stringify({ conditions, results }, null, 2)}\n`);

/** An answer that says again what the prompt says, with drafts from the prompt and without, in turn. */
async function copying(): Promise<void> {
  const list = 'red green blue yellow purple orange black white brown grey pink cyan ';
  const ask = async (salt: number, promptLookup: boolean) => {
    const body = { max_tokens: 120, ignore_eos: true, prompt_lookup: promptLookup };
    const content = `Session ${salt}. Copy this list three times: ${list.repeat(4)}`;
    const cpuBefore = gateway.cpuMs() ?? Number.NaN;
    const run = await streamChat(gateway.url, { messages: [{ role: 'user', content }], ...body });
    const usage = run.usageDetails;
    return {
      tokensPerSecond: ((run.completionTokens - 1) * 1000) / (run.totalMs - run.ttftMs),
      cpuMsPerToken: ((gateway.cpuMs() ?? Number.NaN) - cpuBefore) / run.completionTokens,
      accepted: usage.accepted_prediction_tokens ?? 0,
      rejected: usage.rejected_prediction_tokens ?? 0,
    };
  };
  await ask(-1, false);
  const plain: Record<string, number>[] = [];
  const drafted: Record<string, number>[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const lookup of round % 2 === 0 ? [false, true] : [true, false]) {
      (lookup ? drafted : plain).push(await ask(round, lookup));
    }
  }
  note('copy task, plain', plain);
  note('copy task, prompt_lookup', drafted);
}

/** Texts a second and tokens a second, some 320 words a call: short texts and paragraphs. */
async function embedding(): Promise<void> {
  const words = ['river', 'house', 'engine', 'market', 'signal', 'garden', 'winter', 'letter'];
  const textOf = (length: number, salt: string) =>
    [salt, ...Array.from({ length }, (_, i) => words[(i * 7 + salt.length + i) % words.length])].join(' '); // nothing cached fits
  const call = async (server: Server, length: number, round: number) => {
    const input = Array.from({ length: Math.ceil(320 / length) }, (_, i) => textOf(length, `${i} of ${round}`));
    const startedMs = performance.now();
    const cpuBefore = server.cpuMs() ?? Number.NaN;
    const response = await fetch(`${server.url}/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'm', input, encoding_format: 'base64' }),
    });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    const { usage } = (await response.json()) as { usage: { prompt_tokens: number } }; // only counted here
    const seconds = (performance.now() - startedMs) / 1000;
    return {
      textsPerSecond: input.length / seconds,
      tokensPerSecond: usage.prompt_tokens / seconds,
      cpuMsPerText: ((server.cpuMs() ?? Number.NaN) - cpuBefore) / input.length,
    };
  };
  for (const [name, length] of [
    ['short texts', 8],
    ['paragraphs', 96],
  ] as const) {
    const seen = new Map(servers.map((server) => [server, [] as Record<string, number>[]]));
    for (const server of servers) await call(server, length, -1);
    for (let round = 0; round < rounds; round++) {
      for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
        seen.get(server)?.push(await call(server, length, round));
      }
    }
    for (const [server, runs] of seen) note(`embeddings, ${name}, ${server.name}`, runs);
  }
}
