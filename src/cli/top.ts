import { Command } from 'commander';
import { sleep } from '../core/signals.ts';
import type { LivePoint, LiveSnapshot } from '../observability/live.ts';
import { type Cli, CliError, type CommandFactory } from './cli.ts';
import { parseUrl } from './flags.ts';
import { readConfig } from './serve.ts';

interface TopFlags {
  readonly url?: string;
  readonly config?: string;
  readonly once?: boolean;
  readonly json?: boolean;
}

export const top: CommandFactory = (cli) =>
  new Command('top')
    .summary('watch a running gateway')
    .description('Show slots, queue, rates and requests of a running gateway, every second.')
    .option('--url <url>', 'address of the gateway (TIDEGATE_URL); else the one on this machine', parseUrl)
    .option('-c, --config <file>', 'configuration file that names host and port')
    .option('--once', 'print one picture and end')
    .option('--json', 'print a JSON line per second')
    .addHelpText(
      'after',
      '\nExamples:\n  tidegate top\n  tidegate top --url http://gpu-box:8787\n  tidegate top --json | jq .point.tokensPerSecond\n\nWith keys on, set TIDEGATE_API_KEY to an admin key. q or Ctrl-C ends.',
    )
    .action(async (flags: TopFlags) => {
      const base = await addressOf(cli, flags);
      if (flags.once || (!flags.json && !cli.stdout.isTTY)) await printOnce(cli, base, flags);
      else if (flags.json) await follow(cli, base, cli.signal, (snapshot) => cli.print(JSON.stringify(snapshot)));
      else await watch(cli, base);
      cli.signal.throwIfAborted();
    });

async function addressOf(cli: Cli, { url, config }: TopFlags): Promise<string> {
  const given = url ?? cli.env['TIDEGATE_URL'];
  if (given) return given.replace(/\/+$/, '').replace(/\/v1$/, '');
  const { server } = await readConfig(cli, config);
  const host = server.host === '0.0.0.0' ? '127.0.0.1' : server.host;
  return `http://${host.includes(':') ? `[${host}]` : host}:${server.port}`;
}

async function ask(cli: Cli, base: string, path: string, signal: AbortSignal): Promise<Response> {
  const key = cli.env['TIDEGATE_API_KEY'];
  const response = await fetch(`${base}${path}`, {
    signal,
    headers: key ? { authorization: `Bearer ${key}` } : {},
  }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    throw new CliError(`${base} cannot be reached. Is it running there? (tidegate serve)`);
  });
  if (response.ok) return response;
  if (response.status === 401 || response.status === 403) {
    throw new CliError(`${base} wants an admin key: set TIDEGATE_API_KEY.`);
  }
  throw new CliError(`${base} answered ${response.status}: it is no Tidegate, or an older one.`);
}

async function printOnce(cli: Cli, base: string, { json }: TopFlags): Promise<void> {
  const response = await ask(cli, base, '/admin/status', cli.signal);
  const status = (await response.json()) as LiveSnapshot & { points: readonly LivePoint[] }; // our own endpoint
  if (json) {
    cli.print(JSON.stringify(status));
    return;
  }
  const { drawScreen } = await import('./top/screen.ts');
  const size = { columns: cli.stdout.columns || 100, rows: Number.POSITIVE_INFINITY };
  cli.print(drawScreen(status, status.points, { paint: cli.paint, size, where: base, now: Date.now() }));
}

/** Reads the stream until the signal aborts; comes back to a gateway that restarts. */
async function follow(
  cli: Cli,
  base: string,
  signal: AbortSignal,
  show: (snapshot: LiveSnapshot, points: readonly LivePoint[]) => void,
  lost: (error: unknown) => void = (error) => {
    throw error;
  },
): Promise<void> {
  const { createSseDecoder } = await import('../wire/sse.ts');
  while (!signal.aborted) {
    try {
      const response = await ask(cli, base, '/admin/live', signal);
      if (!response.body) return;
      const decoder = createSseDecoder();
      let points: LivePoint[] = [];
      for await (const bytes of response.body) {
        for (const { event, data } of decoder.push(bytes)) {
          if (event === 'history') points = JSON.parse(data) as LivePoint[]; // our own endpoint
          if (event !== 'snapshot') continue;
          const snapshot = JSON.parse(data) as LiveSnapshot; // our own endpoint
          points = [...points, snapshot.point].slice(-300);
          show(snapshot, points);
        }
      }
      lost(new CliError(`${base} ended the stream.`));
    } catch (error) {
      if (signal.aborted) return;
      lost(error);
    }
    await sleep(1000, signal).catch(() => {});
  }
}

/** The whole terminal, on its other screen, so that what was there comes back. */
async function watch(cli: Cli, base: string): Promise<void> {
  const { drawScreen } = await import('./top/screen.ts');
  await ask(cli, base, '/admin/status', cli.signal); // a wrong address or key is told before the screen is taken
  const quit = new AbortController();
  const onKey = (key: Buffer) => (key.includes('q') || key.includes(3)) && quit.abort();
  const { stdin, stdout } = cli;
  stdout.write('\x1b[?1049h\x1b[?25l');
  stdin.setRawMode?.(true);
  stdin.on('data', onKey).resume();
  try {
    const paint = (text: string) => stdout.write(`\x1b[H${text.replaceAll('\n', '\x1b[K\r\n')}\x1b[K\x1b[J`);
    await follow(
      cli,
      base,
      AbortSignal.any([quit.signal, cli.signal]),
      (snapshot, points) => {
        const size = { columns: stdout.columns || 80, rows: stdout.rows || 24 };
        paint(drawScreen(snapshot, points, { paint: cli.paint, size, where: base, now: Date.now() }));
      },
      (error) => paint(cli.paint.yellow(`${error instanceof Error ? error.message : String(error)} Trying again …`)),
    );
  } finally {
    stdin.off('data', onKey).pause();
    stdin.setRawMode?.(false);
    stdout.write('\x1b[?25h\x1b[?1049l');
  }
}
