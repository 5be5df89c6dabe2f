/**
 * What does a cold start cost at the edge? workerd is started with the built worker and with an empty one, turn about;
 * the CPU time of the process from its start to the first answer is read from /proc, and the difference of the medians is
 * what loading and evaluating the worker, reading its configuration and answering once cost.
 * Run: node bench/run.mjs edge-cold-start [--rounds 9] [--save]
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { Miniflare } from 'miniflare';
import { bundleWorker, compatibility } from '../test/edge/bundle.ts';

const empty = 'export default { fetch: () => new Response("{}") };';
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** CPU milliseconds of the workerd processes that this process started. */
function workerdCpuMs(): number {
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (!stat.includes('(workerd)') || Number(fields[1]) !== process.pid) continue;
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {} // gone meanwhile
  }
  return (ticks / ticksPerSecond) * 1000;
}

async function coldStart(code: string): Promise<{ readonly loadMs: number; readonly secondMs: number }> {
  const mf = new Miniflare({
    modules: [{ type: 'ESModule', path: 'worker.mjs', contents: code }],
    ...compatibility,
    compatibilityFlags: [...compatibility.compatibilityFlags],
    cf: false,
    bindings: { TIDEGATE_CONFIG: 'models: {}' },
    handleRuntimeStdio: () => {},
  });
  try {
    const url = await mf.ready;
    await (await fetch(new URL('/v1/models', url))).text();
    const loadMs = workerdCpuMs();
    await (await fetch(new URL('/v1/models', url))).text();
    return { loadMs, secondMs: workerdCpuMs() - loadMs };
  } finally {
    await mf.dispose();
  }
}

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

const at = process.argv.indexOf('--rounds');
const rounds = at < 0 ? 9 : Number(process.argv[at + 1]);
const { code, gzipBytes } = await bundleWorker();
const worker = new TextDecoder().decode(code);
const [ours, theirs]: [number[], number[]] = [[], []];
for (let round = 0; round < rounds; round++) {
  ours.push((await coldStart(worker)).loadMs);
  theirs.push((await coldStart(empty)).loadMs);
}
const result = {
  conditions: {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    load: loadavg()[0],
    rounds,
    tickMs: 1000 / ticksPerSecond,
  },
  bundleKiB: Math.round(code.length / 1024),
  gzipKiB: Math.round(gzipBytes / 1024),
  workerCpuMs: median(ours),
  emptyCpuMs: median(theirs),
  coldStartCpuMs: median(ours) - median(theirs),
};
console.log(JSON.stringify(result, null, 2));
if (process.argv.includes('--save')) {
  mkdirSync('bench/results', { recursive: true });
  writeFileSync('bench/results/edge-cold-start.json', `${JSON.stringify(result, null, 2)}\n`);
}
