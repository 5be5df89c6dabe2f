import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { Config } from '../config.ts';
import { markSeldom } from '../node/heap.ts';
import type { RunningGateway, StartOptions } from '../node.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { type GatewayFlags, wholeNumber, withGatewayFlags } from './flags.ts';
import { formatBytes, formatDuration } from './format.ts';
import { localModels } from './local-models.ts';
import { showPull } from './progress.ts';

interface ServeFlags extends GatewayFlags {
  readonly log: NonNullable<NonNullable<StartOptions['log']>['level']>;
  readonly json?: boolean;
  readonly pull: boolean;
  readonly workers?: number;
}

export const serve: CommandFactory = (cli) =>
  withGatewayFlags(
    new Command('serve')
      .summary('serve the OpenAI-compatible API')
      .description(
        'Serve local models and configured upstreams at one address. Without a configuration: the default model.',
      ),
  )
    .addOption(
      new Option('--log <level>', 'least that is logged')
        .choices(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .option('--json', 'log JSON lines also on a terminal')
    .option('--no-pull', 'do not fetch missing models before serving')
    .option('--workers <count>', 'share the port among so many processes (upstream providers only)', wholeNumber(1))
    .addHelpText(
      'after',
      `
Examples:
  tidegate serve
  tidegate serve --port 9000 --config staging.yaml
  tidegate serve --config upstreams.yaml --workers 4
  tidegate serve --model hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf --model mine=~/models/mine.gguf

Ctrl-C once lets running answers end, twice stops at once.`,
    )
    .action(async (flags: ServeFlags) => {
      const config = await readConfig(cli, flags.config);
      if (flags.workers !== undefined && flags.workers > 1) {
        const { checkWorkers, isWorker, runWorkers } = await import('./workers.ts');
        checkWorkers(config, Object.values(flags.model));
        if (!isWorker()) {
          const host = flags.host ?? config.server.host;
          const url = (port: number) => `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
          const models = Object.keys(config.models);
          return runWorkers(cli, flags.workers, (port) => banner(cli, { url: url(port), models }));
        }
      }
      markSeldom();
      const { startGateway } = await import('../node.ts');
      await refuseUnknown(cli, Object.values(flags.model));
      if (flags.pull) await pullMissing(cli, [...localModels(config), ...Object.values(flags.model)]);
      const gateway = await startGateway({
        ...startOptions(cli, flags),
        log: { level: flags.log, pretty: cli.stdout.isTTY === true && !flags.json },
        onEngine: (event) => showEngine(cli, event),
      }).catch(explainPort(config, flags));
      const alone = flags.workers === undefined || flags.workers === 1;
      process.on('SIGHUP', () => onHangUp(cli, gateway));
      if (alone) banner(cli, gateway);
      await untilInterrupted(alone ? cli : { ...cli, note: () => {} }, gateway);
    });

/** What the gateway's flags mean to `startGateway`; every command that starts one uses this. */
function startOptions(cli: Cli, { config, host, port, model }: GatewayFlags): StartOptions {
  return {
    env: cli.env,
    ...(config === undefined ? {} : { configFile: config }),
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    localModels: model,
  };
}

/** The configuration that `serve` would use. Throws ConfigError. */
export async function readConfig(cli: Cli, file: string | undefined): Promise<Config> {
  const [{ configSchema }, { loadConfig }] = await Promise.all([
    import('../config.ts'),
    import('../node/config-file.ts'),
  ]);
  const path = file ?? (existsSync('tidegate.yaml') ? 'tidegate.yaml' : undefined);
  return path ? loadConfig(resolve(path), cli.env) : configSchema().parse({});
}

/** A name that nobody knows is a slip of the one who typed it. Throws GatewayError model_not_found | invalid_request. */
export async function refuseUnknown(cli: Cli, names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const [{ resolveReference }, { modelSettings }] = await Promise.all([
    import('../models/cache.ts'),
    import('../models/settings.ts'),
  ]);
  for (const name of names) await resolveReference(name, modelSettings(cli.env));
}

/** A model that cannot be had is told and left to the first request for it: the others must be served all the same. */
export async function pullMissing(cli: Cli, names: readonly string[]): Promise<void> {
  const [{ pullModel }, { modelSettings }] = await Promise.all([
    import('../models/pull.ts'),
    import('../models/settings.ts'),
  ]);
  for (const name of new Set(names)) {
    const shown = showPull(cli, name);
    let fetched = false;
    try {
      const model = await pullModel(name, {
        settings: modelSettings(cli.env),
        signal: cli.signal,
        onProgress: (progress) => {
          fetched = true;
          shown.onProgress(progress);
        },
      });
      shown.done();
      if (fetched)
        cli.note(`${cli.paint.green('✓')} ${model.name}  ${formatBytes(model.bytes)}  ${cli.paint.dim(model.path)}`);
    } catch (error) {
      shown.done();
      if (cli.signal.aborted) throw error;
      cli.note(`${cli.paint.yellow('!')} ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

function banner({ note, paint }: Cli, { url, models }: Pick<RunningGateway, 'url' | 'models'>): void {
  const model = models[0] ?? 'MODEL';
  note(`
  ${paint.bold('Tidegate')} serves ${paint.cyan(`${url}/v1`)}  ${paint.dim(`models: ${models.join(', ') || 'none'}`)}

    curl -N ${url}/v1/chat/completions -H 'content-type: application/json' \\
      -d '{"model":"${model}","stream":true,"messages":[{"role":"user","content":"Say hello."}]}'

  ${paint.bold('Dashboard')}  ${paint.cyan(`${url}/`)}
  ${paint.dim('Ctrl-C lets running answers end, twice stops at once.')}
`);
}

function showEngine({ note, paint }: Cli, event: Parameters<NonNullable<StartOptions['onEngine']>>[0]): void {
  if (event.type === 'loaded') note(`${paint.green('✓')} ${event.model} loaded in ${formatDuration(event.ms)}`);
  if (event.type === 'crashed') note(`${paint.red('✗')} the engine of ${event.model} ended: ${event.reason}`);
}

const explainPort =
  (config: Config, { host, port }: GatewayFlags) =>
  (error: NodeJS.ErrnoException) => {
    const at = `${host ?? config.server.host}:${port ?? config.server.port}`;
    if (error.code === 'EADDRINUSE') {
      throw new CliError(
        `${at} is taken by another process. Choose another port: tidegate serve --port 8788 (0 takes a free one).`,
      );
    }
    if (error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL') {
      throw new CliError(`${at} cannot be had (${error.code}). Change --host or --port.`);
    }
    throw error;
  };

/** The terminal is gone: running answers may end. A service has none, and is told by this to read its file again. */
function onHangUp(cli: Cli, gateway: RunningGateway): void {
  if (cli.stdin.isTTY) {
    process.kill(process.pid, 'SIGTERM');
    return;
  }
  gateway.reload().catch((error: unknown) => {
    cli.note(`${cli.paint.red('✗')} ${error instanceof Error ? error.message : String(error)}`);
    cli.note('The old configuration goes on serving.');
  });
}

/** The first Ctrl-C ends here with a drain; the second one ends the process in main.ts. */
async function untilInterrupted(cli: Cli, gateway: RunningGateway): Promise<void> {
  if (!cli.signal.aborted) {
    await new Promise<void>((stop) => cli.signal.addEventListener('abort', () => stop(), { once: true }));
  }
  cli.note(cli.paint.dim('\nLetting running answers end …'));
  await gateway.close();
}
