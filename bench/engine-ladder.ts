// Where does the engine's time go between llama.cpp and a client? The same streams on each rung of the way:
//   raw       the binding driven by a bare loop: the bound of this llama.cpp build
//   runner    the engine's own loop, in this process
//   child     the engine in its child process, behind its protocol
//   gateway   the whole product, through HTTP
//   npm run bench:engine-ladder -- [--peer PATH/TO/llama-server] [--widths 1,4,8] [--rungs raw,runner,child,gateway]
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { createEngineHost } from '../src/engine/host.ts';
import { type LlamaModel, loadLlamaModel } from '../src/engine/llama.ts';
import type { LlamaContext } from '../src/engine/llama-context.ts';
import type { EngineOutput, GenerateRequest } from '../src/engine/protocol.ts';
import { createRunner } from '../src/engine/runner.ts';
import { defaultModel } from '../src/models/catalogue.ts';
import { pullModel } from '../src/models/pull.ts';
import { modelSettings } from '../src/models/settings.ts';
import { streamChat } from './engine/client.ts';
import { type Server, startLlamaServer, startTidegate } from './engine/servers.ts';
import { median, quantile } from './shared/quantiles.ts';

const { values: flags } = parseArgs({
  options: {
    peer: { type: 'string' },
    rungs: { type: 'string', default: 'raw,runner,child,gateway' },
    rounds: { type: 'string', default: '3' },
    widths: { type: 'string', default: '1,4,8' },
    tokens: { type: 'string', default: '64' },
    threads: { type: 'string', default: `${availableParallelism()}` },
  },
});
if (process.env['UV_THREADPOOL_SIZE'] !== '1') {
  // As the engine child has it, for the rungs in this process: libuv reads it once, before its first use.
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' };
  const { status } = spawnSync(process.execPath, process.argv.slice(1), { env, stdio: 'inherit' });
  process.exit(status ?? 1);
}
const rounds = Number(flags.rounds);
const widths = flags.widths.split(',').map(Number);
const tokens = Number(flags.tokens);
const { path: modelPath } = await pullModel(defaultModel, { settings: modelSettings() });
const options = { modelPath, slots: Math.max(8, ...widths), contextTokens: 4096, threads: Number(flags.threads) };

/** Times of the tokens of each stream, in milliseconds on one clock. */
type Timelines = readonly (readonly number[])[];
interface Rung {
  readonly name: string;
  run(width: number): Promise<Timelines>;
  /** CPU milliseconds of JavaScript so far, where it can be told from llama.cpp's. */
  javascriptMs?(): number | undefined;
  close(): Promise<void>;
}
const salt = Math.random().toString(36).slice(2, 8);
let serial = 0;
const prompt = () => `Session ${salt}-${serial++}. Tell me a story.`;

async function rawRung(): Promise<Rung> {
  const model = await loadLlamaModel(options);
  const context = await contextOf(model);
  return {
    name: 'raw',
    run: (width) => rawLoop(model, context, width),
    close: () => model.close(),
  };
}

const contextOf = (model: LlamaModel): Promise<LlamaContext> =>
  model.createContext({ sequences: options.slots, contextTokens: options.contextTokens, batchTokens: 512 });

async function rawLoop(model: LlamaModel, context: LlamaContext, width: number): Promise<Timelines> {
  const timelines: number[][] = [];
  const last: number[] = [];
  const samplers = Array.from({ length: width }, () => model.createSampler({ temperature: 0 }));
  const lengths: number[] = [];
  for (const [sequence, sampler] of samplers.entries()) {
    const ids = model.tokenize(prompt(), false);
    context.truncate(sequence, 0);
    context.begin(ids.length);
    const [place = 0] = context.add(sequence, 0, ids, Uint32Array.of(ids.length - 1));
    await context.decode();
    last.push(await context.sample(place, sampler));
    timelines.push([performance.now()]);
    lengths.push(ids.length);
  }
  for (let step = 1; step < tokens; step++) {
    context.begin(width);
    const places = last.map(
      (token, i) => context.add(i, (lengths[i] ?? 0) + step - 1, Uint32Array.of(token), Uint32Array.of(0))[0] ?? 0,
    );
    const decoded = context.decode();
    const chosen = samplers.map((sampler, i) => context.sample(places[i] ?? 0, sampler));
    await decoded;
    for (const [i, token] of chosen.entries()) {
      last[i] = await token;
      timelines[i]?.push(performance.now());
    }
  }
  for (const sampler of samplers) sampler.dispose();
  return timelines;
}

const request = (): GenerateRequest => ({
  prompt: { kind: 'text', text: prompt() },
  sampling: { temperature: 0, ignoreEos: true },
  maxTokens: tokens,
  stop: [],
  choices: 1,
  priority: 'normal',
  tenant: 'bench',
});

async function runnerRung(): Promise<Rung> {
  const model = await loadLlamaModel(options);
  const listeners = new Map<number, (output: EngineOutput) => void>();
  const emit = (outputs: readonly EngineOutput[]) => {
    for (const output of outputs) listeners.get(output.id)?.(output);
  };
  const runner = await createRunner(model, await contextOf(model), options, emit, { callsInOrder: true });
  let nextId = 0;
  const stream = () =>
    new Promise<number[]>((resolve, reject) => {
      const times: number[] = [];
      const id = nextId++;
      listeners.set(id, (output) => {
        if (output.type === 'text') times.push(performance.now());
        if (output.type === 'done') resolve(times);
        if (output.type === 'failed') reject(new Error(output.error.message));
      });
      runner.submit(id, request());
    });
  return {
    name: 'runner',
    run: (width) => Promise.all(Array.from({ length: width }, stream)),
    async close() {
      await runner.close();
      await model.close();
    },
  };
}

async function childRung(): Promise<Rung> {
  const host = createEngineHost(options);
  await host.load();
  const stream = async () => {
    const times: number[] = [];
    for await (const output of host.generate(request(), { signal: new AbortController().signal })) {
      if (output.type === 'text') times.push(performance.now());
    }
    return times;
  };
  return {
    name: 'child',
    run: (width) => Promise.all(Array.from({ length: width }, stream)),
    close: () => host.close(),
  };
}

function serverRung(name: string, server: Server): Rung {
  const stream = async () => {
    const startedMs = performance.now();
    const { ttftMs, gapsMs } = await streamChat(server.url, {
      messages: [{ role: 'user', content: prompt() }],
      max_tokens: tokens,
      ignore_eos: true,
    });
    let at = startedMs + ttftMs;
    return [
      at,
      ...gapsMs.map((gap) => {
        at += gap;
        return at;
      }),
    ];
  };
  return {
    name,
    run: (width) => Promise.all(Array.from({ length: width }, stream)),
    javascriptMs: () => server.javascriptMs(),
    close: () => server.close(),
  };
}

const wanted = new Set(flags.rungs.split(','));
const rungs: Rung[] = [];
if (wanted.has('raw')) rungs.push(await rawRung());
if (wanted.has('runner')) rungs.push(await runnerRung());
if (wanted.has('child')) rungs.push(await childRung());
if (wanted.has('gateway')) rungs.push(serverRung('gateway', await startTidegate(process.cwd(), options)));
if (flags.peer) rungs.push(serverRung('llama-server', await startLlamaServer(flags.peer, options)));

try {
  for (const rung of rungs) await rung.run(1);
  for (const width of widths) {
    const seen = new Map<Rung, Record<string, number>[]>(rungs.map((rung) => [rung, []]));
    for (let round = 0; round < rounds; round++) {
      for (const rung of round % 2 === 0 ? rungs : [...rungs].reverse()) {
        await new Promise((resolve) => setTimeout(resolve, 500)); // llama-server's threads spin on after its last answer
        seen.get(rung)?.push(await measure(rung, width));
      }
    }
    for (const [rung, runs] of seen) {
      const figures = Object.keys(runs[0] ?? {}).map((key) => {
        const value = median(runs.map((run) => run[key] ?? Number.NaN));
        return `${key} ${value.toFixed(2)}`;
      });
      console.log(`${String(width).padStart(2)} streams  ${rung.name.padEnd(12)} ${figures.join('  ')}`);
    }
  }
} finally {
  for (const rung of rungs) await rung.close();
}
process.exit(0);

/** Speed while all of the streams decode: from the moment the last began to the moment the first ended. */
async function measure(rung: Rung, width: number): Promise<Record<string, number>> {
  const before = rung.javascriptMs?.();
  const timelines = await rung.run(width);
  const spent = rung.javascriptMs?.();
  const from = Math.max(...timelines.map((times) => times[0] ?? 0));
  const to = Math.min(...timelines.map((times) => times.at(-1) ?? 0));
  const inside = timelines.flatMap((times) => times.filter((ms) => ms > from && ms <= to));
  const gaps = timelines.flatMap((times) => times.slice(1).map((ms, i) => ms - (times[i] ?? ms)));
  return {
    'tokens/s': (inside.length * 1000) / (to - from),
    itlP10: quantile(gaps, 0.1),
    itlP50: quantile(gaps, 0.5),
    itlP90: quantile(gaps, 0.9),
    ...(before === undefined || spent === undefined ? {} : { jsMsPerToken: (spent - before) / (width * tokens) }),
  };
}
