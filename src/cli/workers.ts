import cluster, { type Worker } from 'node:cluster';
import type { Config } from '../config.ts';
import { gatherMetrics } from '../node/worker-metrics.ts';
import { type Cli, CliError } from './cli.ts';
import { redealConnections } from './redeal.ts';

/** True in a process that `runWorkers` started: it serves, and leaves talking to people to the first process. */
export const isWorker = (): boolean => cluster.isWorker;

/** Refuses what would silently mean something else with several processes. */
export function checkWorkers(config: Config, furtherModels: readonly string[]): void {
  if (furtherModels.length > 0 || namesLocal(config.models)) {
    throw new CliError(
      '--workers is for upstream providers: each process would load its own copy of a local model. Serve local models ' +
        'with a second tidegate without --workers, and name it here as a provider (type: tidegate).',
      2,
    );
  }
  const { limits, budgets } = config;
  const any = (rules: object | undefined) => Object.values(rules ?? {}).some((rule) => rule !== undefined);
  const limited = any(limits.perKey) || any(limits.teams) || any(limits.models) || budgets.length > 0;
  if (limited && !/^rediss?:/.test(limits.store)) {
    throw new CliError(
      '--workers with limits or budgets needs one place to count them: set limits.store to redis://… in the configuration.',
      2,
    );
  }
}

function namesLocal(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([name, inner]) =>
    name === 'local' ? typeof inner === 'string' : namesLocal(inner),
  );
}

/**
 * Runs this very command in `count` processes that share its port; this one only hands connections out, replaces a
 * worker that died, and adds up the metrics. Resolves when all have ended after the first Ctrl-C or SIGTERM.
 */
export function runWorkers(cli: Cli, count: number, listening: (port: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let told = false;
    let failed = false;
    cluster.setupPrimary({ args: process.argv.slice(2) });
    gatherMetrics(cluster);
    const start = () => {
      const worker: Worker = cluster.fork();
      redealConnections(worker);
      let served = false;
      worker.on('listening', () => {
        served = true;
      });
      worker.on('exit', (code, signal) => {
        const died = !cli.signal.aborted && !failed;
        if (died && served) {
          cli.note(`${cli.paint.red('✗')} a worker ended (${signal ?? `code ${code}`}); another one takes its place`);
          start();
          return;
        }
        if (died) {
          failed = true; // it said why itself; the next one would do no better
          tell('SIGTERM');
        }
        if (Object.keys(cluster.workers ?? {}).length > 0) return;
        if (failed) reject(new CliError('The workers could not start.'));
        else resolve();
      });
    };
    cluster.on('listening', (_worker, { port }) => {
      if (told) return;
      told = true;
      listening(port);
    });
    const tell = (signal: NodeJS.Signals) => {
      for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill(signal);
    };
    cli.signal.addEventListener('abort', () => {
      cli.note(cli.paint.dim('\nLetting running answers end …'));
      tell('SIGTERM');
    });
    process.on('SIGHUP', () => tell('SIGHUP')); // they know what it means
    for (let started = 0; started < count; started++) start();
  });
}
