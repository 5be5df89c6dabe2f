/**
 * Does a further worker bring what the first does, where cores are free for it? Each worker is held to a share of a core by
 * a cgroup, so that two cores have room for all of them beside load and mock. Needs root on Linux.
 * Run: node bench/run.mjs workers [--rounds 8] [--seconds 1.5] [--share 0.25] [--save]
 */
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { body, closedLoop } from './overhead/loads.ts';
import { startMock } from './overhead/mock.ts';
import { childrenOf, startTargets, type Target } from './overhead/targets.ts';
import { median } from './shared/quantiles.ts';

async function main(): Promise<void> {
  const option = (name: string, fallback: number) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? fallback : Number(process.argv[at + 1]);
  };
  const rounds = option('rounds', 8);
  const ms = option('seconds', 1.5) * 1000;
  const share = option('share', 0.25);
  const counts = [1, 2, 3];
  const targets = await startTargets(process.argv[1] ?? '', counts.map(nameOf));
  const rates = new Map(counts.map((count) => [count, [] as number[]]));
  const groups: string[] = [];
  const json = body('json', false);
  let failed = 0;
  try {
    const gateways = counts.map((count) => ({ count, target: targetOf(targets, count) }));
    // A JIT that is still compiling is not what is asked about.
    for (const { count, target } of gateways) await closedLoop(target, json, 32, 8000 * count);
    for (const { target } of gateways) {
      const pids = childrenOf(target.pid);
      for (const pid of pids.length > 0 ? pids : [target.pid ?? 0]) groups.push(holdTo(pid, share)); // one worker is the process itself
    }
    for (let round = 0; round < rounds; round++) {
      for (const { count, target } of gateways) {
        const done = await closedLoop(target, json, 16 * count, ms);
        rates.get(count)?.push(done.perSecond);
        failed += done.failed;
      }
    }
  } finally {
    for (const target of targets) target.stop();
    await new Promise((resolve) => setTimeout(resolve, 500)); // a group with a process in it cannot be removed
    for (const group of groups) rmdirSync(group);
  }
  const one = median(rates.get(1) ?? []);
  const results = counts.map((count) => {
    const rate = median(rates.get(count) ?? []);
    return {
      workers: count,
      'requests/s': Math.round(rate),
      'of so many alone': Number((rate / (one * count)).toFixed(2)),
    };
  });
  const conditions = {
    bench: 'workers',
    at: new Date().toISOString(),
    node: process.version,
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? ''}`,
    load: `each worker held to ${share} of a core; load generator and mock on the rest; medians of interleaved rounds`,
    rounds,
    secondsEach: ms / 1000,
    failed,
  };
  console.log(JSON.stringify(conditions));
  console.table(results);
  if (process.argv.includes('--save')) {
    const record = { conditions, results, raw: Object.fromEntries(rates) };
    writeFileSync(join(import.meta.dirname, 'results', 'workers.json'), `${JSON.stringify(record, null, 1)}\n`);
  }
  process.exit(0);
}

const nameOf = (count: number): string => (count === 1 ? '1 worker' : `${count} workers`);

function targetOf(targets: readonly Target[], count: number): Target {
  const target = targets.find(({ name }) => name === nameOf(count));
  if (!target) throw new Error(`${nameOf(count)} did not start`);
  return target;
}

/** Puts a process into a cgroup of its own (version 2 or 1) that has so much of a core; returns the group's folder. */
function holdTo(pid: number, share: number): string {
  const periodUs = 10_000;
  const quotaUs = Math.round(periodUs * share);
  const second = existsSync('/sys/fs/cgroup/cgroup.controllers');
  const group = join(second ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpu', `tidegate-bench-${pid}`);
  mkdirSync(group);
  const write = (file: string, text: string) => writeFileSync(join(group, file), text);
  if (second) write('cpu.max', `${quotaUs} ${periodUs}`);
  else {
    write('cpu.cfs_period_us', String(periodUs));
    write('cpu.cfs_quota_us', String(quotaUs));
  }
  write('cgroup.procs', String(pid));
  return group;
}

const [mode, port] = process.argv.slice(2);
if (mode === '--mock') await startMock(Number(port));
else await main();
