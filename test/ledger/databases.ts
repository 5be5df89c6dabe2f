import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../free-port.ts';

export const inCi = process.env['CI'] === 'true';

/** A folder that goes with the test. */
export function scratch(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'tidegate-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

const found = (name: string): string | undefined => {
  try {
    return execFileSync('which', [name], { encoding: 'utf8' }).trim() || undefined;
  } catch {
    return undefined;
  }
};

const postgresFolder = (() => {
  const root = '/usr/lib/postgresql';
  const version = existsSync(root) ? readdirSync(root).sort().at(-1) : undefined;
  return version ? join(root, version, 'bin') : undefined;
})();

/** Whether a real server is at hand; says so where it is not. In CI it has to be. */
export function hasServer(name: 'postgres' | 'redis-server'): boolean {
  const there = name === 'postgres' ? postgresFolder !== undefined : found(name) !== undefined;
  if (!there && !inCi)
    console.info(`skipped: ${name} is not installed (apt-get install ${name === 'postgres' ? 'postgresql' : name})`);
  return there || inCi;
}

export interface Server {
  readonly url: string;
  /** Ends it as a crash would, and starts it again on the same data. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface PausableServer extends Server {
  /** Stops answering, and goes on. */
  pause(): void;
  resume(): void;
}

/** A Postgres of its own on a free port; as the user `postgres` where the tests run as root, as it refuses to. */
export async function startPostgres(): Promise<Server> {
  const bin = postgresFolder ?? '';
  const folder = scratch();
  const port = await freePort();
  const data = join(folder.path, 'data');
  const root = process.getuid?.() === 0;
  const as = (command: string, args: readonly string[]): [string, string[]] =>
    root
      ? ['setpriv', ['--reuid=postgres', '--regid=postgres', '--clear-groups', command, ...args]]
      : [command, [...args]];
  if (root) execFileSync('chown', ['postgres', folder.path]);
  const env = { ...process.env, LC_ALL: 'C' };
  const init = as(join(bin, 'initdb'), ['-D', data, '-U', 'tidegate', '-A', 'trust', '--no-sync', '-E', 'UTF8']);
  execFileSync(init[0], init[1], { env, stdio: 'ignore' });
  let child: ReturnType<typeof spawn> | undefined;
  const start = async () => {
    const [command, args] = as(join(bin, 'postgres'), [
      '-D',
      data,
      '-p',
      String(port),
      '-c',
      'listen_addresses=127.0.0.1',
      '-k',
      folder.path,
    ]);
    child = spawn(command, args, { env, stdio: 'ignore' });
    for (let i = 0; i < 200; i++) {
      try {
        execFileSync(join(bin, 'pg_isready'), ['-h', '127.0.0.1', '-p', String(port), '-q']);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    throw new Error('postgres did not start');
  };
  const end = async (signal: NodeJS.Signals) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child?.once('exit', resolve));
    child.kill(signal);
    await gone;
  };
  await start();
  return {
    url: `postgres://tidegate@127.0.0.1:${port}/postgres`,
    start,
    kill: () => end('SIGINT'), // fast shutdown: SIGKILL would leave its shared memory behind
    stop: async () => {
      await end('SIGINT');
      folder.remove();
    },
  };
}

/** A Redis of its own on a free port, nothing on disk. */
export async function startRedis(): Promise<PausableServer> {
  const port = await freePort();
  let child: ReturnType<typeof spawn> | undefined;
  const start = async () => {
    child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await new Promise<void>((resolve, reject) => {
      child?.once('error', reject);
      child?.once('exit', () => reject(new Error('redis-server did not start')));
      child?.stdout?.on('data', (text: Buffer) => text.includes('Ready to accept') && resolve());
    });
  };
  const end = async (signal: NodeJS.Signals) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child?.once('exit', resolve));
    child.kill(signal);
    await gone;
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    start,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    pause: () => child?.kill('SIGSTOP'),
    resume: () => child?.kill('SIGCONT'),
  };
}
