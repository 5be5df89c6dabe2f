import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import type { Config } from '../config.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { formatBytes } from './format.ts';
import type { Machine } from './machine.ts';

/** One line of the report. `fail` means serving would not work; `warn` means it would, but worse than it could. */
interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly found: string;
  /** What to do about it. */
  readonly advice?: string;
}

export const check: CommandFactory = (cli) =>
  new Command('check')
    .summary('look at this machine and the configuration')
    .description('Say whether this machine, the configuration and the models are ready to serve, and what to change.')
    .option('-c, --config <file>', 'configuration file', 'tidegate.yaml')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  tidegate check\n  tidegate check --config staging.yaml --json')
    .action(async (options: { config: string; json?: boolean }) => {
      const findings = await findAll(cli, options.config);
      if (options.json) cli.print(JSON.stringify(findings, null, 2));
      else show(cli, findings);
      if (findings.some(({ state }) => state === 'fail'))
        throw new CliError('something above keeps Tidegate from serving');
    });

async function findAll(cli: Cli, configFile: string): Promise<readonly Finding[]> {
  const { lookAtMachine } = await import('./machine.ts');
  const machine = await lookAtMachine();
  const { finding, config } = await checkConfig(cli, configFile);
  return [
    { what: 'node', state: 'ok', found: `${process.version} on ${process.platform}-${process.arch}` },
    ...checkMachine(machine),
    ...machine.gpus.map(checkGpu),
    finding,
    ...(await checkModels(cli, config)),
    await checkPort(config?.server.host ?? '127.0.0.1', config?.server.port ?? 8787),
  ];
}

function checkMachine({ cpu, memory }: Machine): readonly Finding[] {
  const limited = cpu.usable < cpu.cores;
  const room = Math.min(memory.free, memory.limit ?? Number.POSITIVE_INFINITY);
  return [
    {
      what: 'cpu',
      state: cpu.usable < 2 ? 'warn' : 'ok',
      found: `${cpu.usable} of ${cpu.cores} cores${limited ? ' (limited)' : ''}, ${cpu.name}`,
      ...(cpu.usable < 2 ? { advice: 'Give it a second core, so that serving does not wait for decoding.' } : {}),
    },
    {
      what: 'memory',
      state: room < 1e9 ? 'warn' : 'ok',
      found: `${formatBytes(memory.free)} free of ${formatBytes(memory.limit ?? memory.total)}${memory.limit ? ' (limited)' : ''}`,
      ...(room < 1e9 ? { advice: 'Less than 1 GB: lower engine.contextTokens and engine.slots.' } : {}),
    },
  ];
}

function checkGpu({ name, backend, supported }: Machine['gpus'][number]): Finding {
  if (supported) return { what: 'gpu', state: 'ok', found: `${name} (${backend})` };
  return {
    what: 'gpu',
    state: 'warn',
    found: `${name} is not used: the ${backend} binary is not installed`,
    advice: isCheckout() ? `Install it with: npm run gpu -- ${backend}` : `Install it with: npm i node-llama-cpp`,
  };
}

const isCheckout = (): boolean => existsSync(join(dirname(fileURLToPath(import.meta.url)), '..', 'scripts', 'gpu.mjs'));

async function checkConfig(cli: Cli, file: string): Promise<{ finding: Finding; config: Config | undefined }> {
  const { configSchema } = await import('../config.ts');
  if (!existsSync(file)) {
    const found = `no ${file}: the built-in defaults serve`;
    if (file !== 'tidegate.yaml') {
      const finding = { what: 'config', state: 'fail' as const, found: `there is no ${file}` };
      return { finding, config: undefined };
    }
    return { finding: { what: 'config', state: 'ok', found }, config: configSchema().parse({}) };
  }
  try {
    const { loadConfig } = await import('../node/config-file.ts');
    return {
      finding: { what: 'config', state: 'ok', found: `${file} is valid` },
      config: await loadConfig(file, cli.env),
    };
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return { finding: { what: 'config', state: 'fail', found }, config: undefined };
  }
}

async function checkModels(cli: Cli, config: Config | undefined): Promise<readonly Finding[]> {
  const [{ findModel }, { modelSettings }, { localModels }] = await Promise.all([
    import('../models/cache.ts'),
    import('../models/settings.ts'),
    import('./local-models.ts'),
  ]);
  const settings = modelSettings(cli.env);
  const findings: Finding[] = [];
  for (const name of config ? localModels(config) : []) {
    const what = `model ${name}`;
    try {
      const model = await findModel(name, settings);
      if (model) findings.push({ what, state: 'ok', found: `${formatBytes(model.bytes)}, ${model.path}` });
      else
        findings.push({
          what,
          state: 'warn',
          found: 'not here yet',
          advice: `tidegate serve fetches it, or: tidegate pull ${name}`,
        });
    } catch (error) {
      findings.push({ what, state: 'fail', found: error instanceof Error ? error.message : String(error) });
    }
  }
  const room = await statfs(existing(settings.folder)).then(({ bavail, bsize }) => bavail * bsize);
  const low = room < 2e9;
  findings.push({
    what: 'disk',
    state: low ? 'warn' : 'ok',
    found: `${formatBytes(room)} free for models in ${settings.folder}`,
    ...(low ? { advice: 'Set TIDEGATE_CACHE to a folder with more room.' } : {}),
  });
  return findings;
}

const existing = (folder: string): string => (existsSync(folder) ? folder : existing(dirname(folder)));

function checkPort(host: string, port: number): Promise<Finding> {
  const what = 'port';
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', async (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      const { addressOf, isGateway } = await import('./connect.ts');
      if (taken && (await isGateway(addressOf({ host, port })))) {
        resolve({ what, state: 'ok', found: `a Tidegate serves ${host}:${port} already` });
        return;
      }
      resolve({
        what,
        state: 'fail',
        found: taken ? `${host}:${port} is taken by another process` : `${host}:${port} cannot be had (${error.code})`,
        advice: taken
          ? 'Stop that process, or choose another port: tidegate serve --port 8788'
          : 'Change server.host or server.port.',
      });
    });
    probe.listen({ host, port }, () =>
      probe.close(() => resolve({ what, state: 'ok', found: `${host}:${port} is free` })),
    );
  });
}

function show({ print, paint }: Cli, findings: readonly Finding[]): void {
  const mark = { ok: paint.green('✓'), warn: paint.yellow('!'), fail: paint.red('✗') };
  const width = Math.max(...findings.map(({ what }) => what.length));
  for (const { what, state, found, advice } of findings) {
    print(`${mark[state]} ${paint.bold(what.padEnd(width))}  ${found.replaceAll('\n', `\n${' '.repeat(width + 4)}`)}`);
    if (advice) print(`${' '.repeat(width + 4)}${paint.cyan(advice)}`);
  }
}
