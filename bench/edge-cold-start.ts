/**
 * What does a cold start cost at the edge? workerd is started with the worker that `wrangler deploy` would upload, and
 * with an empty one, turn about. The CPU time of all its threads is read from /proc
 * - when it is ready: what the main module imports is compiled and its top level has run (Cloudflare's startup time), and
 * - after the first answer: the configuration was read, the gateway built, and the route's code run for the first time.
 * It is started as docs/edge.md deploys it, with the flag new_module_registry; `legacy` is the same upload without that
 * flag, of which workerd compiles all pieces at the start.
 * Both are given as medians above those of the empty worker. `bytesCpuMs` is the part of the start that workerd needs
 * to take in as many bytes as text that nothing uses: no work of the script, but counted above.
 * Run: node bench/run.mjs edge-cold-start [--rounds 9] [--save]
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { Miniflare } from 'miniflare';
import { compatibility, lazyPieces, uploadedModules, type WorkerModule } from '../test/edge/bundle.ts';
import { median } from './shared/quantiles.ts';

/** CPU milliseconds of the workerd processes that this process started, by the scheduler's own nanoseconds. */
function workerdCpuMs(): number {
  let nanoseconds = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (!stat.includes('(workerd)') || Number(parent) !== process.pid) continue;
      for (const task of readdirSync(`/proc/${pid}/task`)) {
        nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
      }
    } catch {} // gone meanwhile
  }
  return nanoseconds / 1e6;
}

/** Lets what goes on behind an answer come to its end. */
const settleMs = 100;

async function coldStart(modules: readonly WorkerModule[], legacy: boolean) {
  const mf = new Miniflare({
    modules: modules.map((module) => ({ ...module })),
    ...compatibility,
    compatibilityFlags: [...compatibility.compatibilityFlags, ...(legacy ? [] : [lazyPieces])],
    cf: false,
    bindings: { TIDEGATE_CONFIG: 'models: {}' },
    handleRuntimeStdio: () => {},
  });
  try {
    const url = new URL('/v1/models', await mf.ready);
    const measured = async () => {
      await sleep(settleMs);
      return workerdCpuMs();
    };
    const startMs = await measured();
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(await answer.text());
    await answer.text();
    const firstMs = (await measured()) - startMs;
    await (await fetch(url)).text();
    return { startMs, firstMs, secondMs: (await measured()) - startMs - firstMs };
  } finally {
    await mf.dispose();
  }
}

const at = process.argv.indexOf('--rounds');
const rounds = at < 0 ? 9 : Number(process.argv[at + 1]);
const ours = uploadedModules();
const empty: WorkerModule = {
  type: 'ESModule',
  path: 'empty.js',
  contents: 'export default { fetch: () => new Response("{}") };',
};
const asText = ours.map((module, index): WorkerModule => ({ ...module, type: 'Text', path: `text-${index}.txt` }));
const kinds = { ours, legacy: ours, empty: [empty], bytes: [empty, ...asText] };
const measured: Record<keyof typeof kinds, Awaited<ReturnType<typeof coldStart>>[]> = {
  ours: [],
  legacy: [],
  empty: [],
  bytes: [],
};
for (let round = 0; round < rounds; round++) {
  for (const kind of ['ours', 'legacy', 'empty', 'bytes'] as const) {
    measured[kind].push(await coldStart(kinds[kind], kind === 'legacy'));
  }
}
const medianOf = (kind: keyof typeof kinds, value: 'startMs' | 'firstMs' | 'secondMs') =>
  median(measured[kind].map((each) => each[value]));
const round = (value: number) => Math.round(value * 10) / 10;
const total = ours.map(({ contents }) => contents).join('');
const lengthOf = (type: WorkerModule['type']) =>
  ours.reduce((sum, module) => sum + (module.type === type ? module.contents.length : 0), 0);
const result = {
  conditions: { cpu: cpus()[0]?.model, cores: cpus().length, load: loadavg()[0], rounds },
  scriptKiB: Math.round(lengthOf('ESModule') / 1024),
  textKiB: Math.round(lengthOf('Text') / 1024),
  gzipKiB: Math.round(gzipSync(total).length / 1024),
  emptyCpuMs: round(medianOf('empty', 'startMs')),
  bytesCpuMs: round(medianOf('bytes', 'startMs') - medianOf('empty', 'startMs')),
  startCpuMs: round(medianOf('ours', 'startMs') - medianOf('empty', 'startMs')),
  firstRequestCpuMs: round(medianOf('ours', 'firstMs') - medianOf('empty', 'firstMs')),
  legacyStartCpuMs: round(medianOf('legacy', 'startMs') - medianOf('empty', 'startMs')),
  legacyFirstRequestCpuMs: round(medianOf('legacy', 'firstMs') - medianOf('empty', 'firstMs')),
  secondRequestCpuMs: round(medianOf('ours', 'secondMs')),
};
console.log(JSON.stringify(result, null, 2));
if (process.argv.includes('--save')) {
  mkdirSync('bench/results', { recursive: true });
  writeFileSync('bench/results/edge-cold-start.json', `${JSON.stringify(result, null, 2)}\n`);
}
