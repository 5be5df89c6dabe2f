import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../test/free-port.ts';

/** A server under test: a real process behind a real socket. */
export interface Server {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  /** CPU milliseconds spent so far in JavaScript: the gateway's process, and the engine child's main thread. Linux only. */
  javascriptMs(): number | undefined;
  /** CPU milliseconds of all its processes; with one compute thread (which never spins) it does not depend on who else is busy. */
  cpuMs(): number | undefined;
  close(): Promise<void>;
}

export interface ServerOptions {
  readonly modelPath: string;
  readonly slots: number;
  readonly contextTokens: number;
  readonly threads: number;
}

/** The gateway as `npm start` runs it, on a port of its own. */
export async function startTidegate(root: string, options: ServerOptions): Promise<Server> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const config = join(folder, 'tidegate.yaml');
  const { slots, contextTokens, threads } = options;
  await writeFile(config, `engine: { slots: ${slots}, contextTokens: ${contextTokens}, threads: ${threads} }\n`);
  const port = await freePort();
  const child = spawn(
    process.execPath,
    [
      join(root, 'bin/tidegate.mjs'),
      'serve',
      '--no-pull',
      '--log',
      'silent',
      '--config',
      config,
      '--port',
      `${port}`,
      '--model',
      `m=${options.modelPath}`,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], cwd: folder },
  );
  const server = serverOf('tidegate', port, child);
  await untilAnswering(`${server.url}/models`, child);
  return { ...server, javascriptMs: () => javascriptMs(server.pid) };
}

/** llama.cpp's own server, of the same release. */
export async function startLlamaServer(
  binary: string,
  options: ServerOptions,
  more: readonly string[] = [],
): Promise<Server> {
  const port = await freePort();
  const { slots, contextTokens, threads, modelPath } = options;
  const child = spawn(
    binary,
    [
      '-m',
      modelPath,
      '-t',
      `${threads}`,
      '-np',
      `${slots}`,
      '-c',
      `${slots * contextTokens}`,
      '--no-kv-unified',
      '-fa',
      'on',
      '--no-ui',
      '--port',
      `${port}`,
      ...more,
    ],
    { stdio: ['ignore', 'ignore', 'ignore'] },
  );
  const server = serverOf('llama-server', port, child);
  await untilAnswering(`${server.url}/models`, child);
  return server;
}

function serverOf(name: string, port: number, child: ChildProcess): Server {
  return {
    name,
    url: `http://127.0.0.1:${port}/v1`,
    pid: child.pid ?? 0,
    javascriptMs: () => undefined,
    cpuMs: () => treeMs(child.pid ?? 0),
    close: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGTERM');
        setTimeout(() => child.kill('SIGKILL'), 8000).unref();
      }),
  };
}

async function untilAnswering(url: string, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (child.exitCode !== null) throw new Error(`the server ended with code ${child.exitCode}`);
    const response = await fetch(url).catch(() => undefined);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the server did not answer within 30 s');
}

/** All of the gateway's process, and of its engine child the thread that runs JavaScript. */
function javascriptMs(pid: number): number | undefined {
  try {
    return childrenOf(pid).reduce(
      (sum, child) => sum + cpuMs(`/proc/${child}/task/${child}/stat`),
      cpuMs(`/proc/${pid}/stat`),
    );
  } catch {
    return undefined;
  }
}

function treeMs(pid: number): number | undefined {
  try {
    return childrenOf(pid).reduce((sum, child) => sum + cpuMs(`/proc/${child}/stat`), cpuMs(`/proc/${pid}/stat`));
  } catch {
    return undefined;
  }
}

const childrenOf = (pid: number): string[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);

/** User and system time in clock ticks of 10 ms; the name before them may hold blanks. */
function cpuMs(path: string): number {
  const fields = readFileSync(path, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
