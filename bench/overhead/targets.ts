import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Something to send requests to: a process of its own, so that its CPU and memory can be read. */
export interface Target {
  readonly name: string;
  readonly port: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent for the mock itself. */
  readonly pid: number | undefined;
  readonly startMs: number;
  readonly idleMiB: number;
  stop(): void;
}

const cli = join(import.meta.dirname, '..', 'bin', 'tidegate.mjs');

export const models = ['json', 'burst-100', 'paced-40-50', 'paced-20-50', 'paced-1-1'] as const;

/** `self` is this bench's own bundle: it runs mock and relay as children. When one does not start, the others are stopped. */
export async function startTargets(self: string, only: readonly string[]): Promise<Target[]> {
  const targets: Target[] = [];
  try {
    for await (const target of started(self, only)) targets.push(target);
    return targets;
  } catch (error) {
    for (const target of targets) target.stop();
    throw error;
  }
}

async function* started(self: string, only: readonly string[]): AsyncGenerator<Target> {
  execFileSync(process.execPath, [cli, '--version']); // builds what has changed, which is no part of a start
  const wanted = (name: string) => only.length === 0 || only.includes(name);
  const mockPort = await freePort();
  const mock = await start('direct', self, ['--mock', String(mockPort)], mockPort);
  yield { ...mock, pid: undefined };
  if (wanted('relay')) {
    const port = await freePort();
    yield await start('relay', self, ['--relay', String(mockPort), String(port)], port);
  }
  for (const [name, extra] of Object.entries(settings)) {
    if (extra.asked ? only.includes(name) : wanted(name)) yield await startTidegate(name, extra, mockPort);
  }
  const portkey = process.env['TIDEGATE_BENCH_PORTKEY'];
  if (portkey && wanted('portkey')) {
    const port = await freePort();
    const target = await start('portkey', portkey, ['--headless', `--port=${port}`], port);
    const headers = {
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `http://127.0.0.1:${mockPort}/v1`,
      authorization: 'Bearer x',
    };
    yield { ...target, headers };
  }
  const bifrost = process.env['TIDEGATE_BENCH_BIFROST'];
  if (bifrost && wanted('bifrost')) {
    const port = await freePort();
    yield await start('bifrost', bifrost, [String(port), `http://127.0.0.1:${mockPort}`], port, []);
  }
  const litellm = process.env['TIDEGATE_BENCH_LITELLM'];
  if (litellm && wanted('litellm')) yield await startLitellm(litellm, mockPort);
}

/** LiteLLM's proxy with one worker, as its documentation starts it; `program` is the `litellm` of its Python environment. */
async function startLitellm(program: string, mockPort: number): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'));
  const file = join(folder, 'litellm.yaml');
  const base = `api_base: "http://127.0.0.1:${mockPort}/v1", api_key: x`;
  const entries = models.map(
    (model) => `  - { model_name: ${model}, litellm_params: { model: openai/${model}, ${base} } }`,
  );
  writeFileSync(file, `model_list:\n${entries.join('\n')}\ngeneral_settings: { master_key: sk-bench }\n`); // it starts with one only
  const port = await freePort();
  const args = ['--config', file, '--port', String(port), '--host', '127.0.0.1', '--num_workers', '1'];
  const target = await start('litellm', program, args, port, []);
  return withFolder({ ...target, headers: { authorization: 'Bearer sk-bench' } }, folder);
}

const withFolder = (target: Target, folder: string): Target => ({
  ...target,
  stop: () => {
    target.stop();
    rmSync(folder, { recursive: true, force: true });
  },
});

/** The gateway as it comes, without counting for `/metrics`, and with an output filter on every model. */
const settings: Readonly<Record<string, Setting>> = {
  tidegate: {},
  'without metrics': { file: 'observability: { metrics: { enabled: false } }' },
  'with a filter': { file: 'filters: { secrets: { kind: patterns, preset: secrets } }', model: ', filters: [secrets]' },
  '1 worker': { args: ['--workers', '1'], asked: true },
  '2 workers': { args: ['--workers', '2'], asked: true },
  '3 workers': { args: ['--workers', '3'], asked: true },
};

interface Setting {
  /** What the configuration says besides, and each of its models. */
  readonly file?: string;
  readonly model?: string;
  readonly args?: readonly string[];
  /** Only where `--only` names it. */
  readonly asked?: boolean;
}

async function startTidegate(
  name: string,
  { file: more = '', model: rule = '', args = [] }: Setting,
  mockPort: number,
): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-bench-'));
  const file = join(folder, 'tidegate.yaml');
  const entries = models.map((model) => `  ${model}: { targets: [{ provider: mock, model: ${model} }]${rule} }`);
  writeFileSync(
    file,
    `providers:\n  mock: { type: openai-compatible, baseUrl: "http://127.0.0.1:${mockPort}/v1", apiKey: x }\nmodels:\n${entries.join('\n')}\n${more}\n`,
  );
  const port = await freePort();
  const target = await start(
    name,
    cli,
    ['serve', '--config', file, '--port', String(port), '--log', 'warn', '--no-pull', ...args],
    port,
  );
  return withFolder(target, folder);
}

/** Node as `npm start` and the image run it; relay and mock get the same. */
const node = [process.execPath, '--min-semi-space-size=4', '--max-semi-space-size=8'];

/** `runner` is what runs the script: Node unless told. */
async function start(
  name: string,
  script: string,
  args: readonly string[],
  port: number,
  runner: readonly string[] = node,
): Promise<Target> {
  const [program = '', ...rest] = [...runner, script, ...args];
  const startedMs = performance.now();
  const child = spawn(program, rest, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, NODE_ENV: 'production' },
  });
  let complaints = '';
  child.stderr.on('data', (text) => {
    complaints = (complaints + text).slice(-2000);
  });
  const unable = new Promise<never>((_, reject) => child.once('error', reject)); // there is no such program
  await Promise.race([listening(port, child), unable]).catch(() => {
    child.kill();
    throw new Error(`${name} did not start: ${complaints}`);
  });
  const startMs = performance.now() - startedMs;
  await new Promise((resolve) => setTimeout(resolve, 500));
  return {
    name,
    port,
    headers: {},
    pid: child.pid,
    startMs,
    idleMiB: residentMiB(child.pid),
    stop: () => void child.kill('SIGKILL'),
  };
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  const { connect } = await import('node:net');
  for (let tries = 0; tries < 12_000; tries++) {
    if (child.exitCode !== null) throw new Error('it ended');
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' }, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('it does not listen');
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** User and system CPU seconds of a process and of its children so far (Linux); NaN elsewhere. */
export function cpuSeconds(pid: number | undefined): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return childrenOf(pid).reduce(
      (sum, child) => sum + cpuSeconds(child),
      (Number(fields[11]) + Number(fields[12])) / 100,
    );
  } catch {
    return Number.NaN;
  }
}

/** Ids of the processes it started (Linux). */
export const childrenOf = (pid: number | undefined): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

export function residentMiB(pid: number | undefined): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}
