import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

const bin = resolve(import.meta.dirname, '../../bin/tidegate.mjs');

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
  /** Called with all of stdout and stderr so far, to act on what the command says. */
  readonly onOutput?: (text: string, child: ReturnType<typeof spawn>) => void;
  /** Called when it has read the input (or is about to, of a small one), which is then left open. */
  readonly onRead?: (child: ReturnType<typeof spawn>) => void;
}

/** Runs the real command line in a process of its own, with nothing of this one's environment but the path. */
export function tidegate(args: readonly string[], options: CliOptions = {}): Promise<Finished> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [bin, ...args], {
      cwd: options.cwd,
      env: { PATH: process.env['PATH'], NO_COLOR: '1', ...options.env },
      stdio: 'pipe',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (piece: Buffer) => {
      stdout += piece.toString('utf8');
      options.onOutput?.(stdout + stderr, child);
    });
    child.stderr.on('data', (piece: Buffer) => {
      stderr += piece.toString('utf8');
      options.onOutput?.(stdout + stderr, child);
    });
    child.on('error', failed);
    child.on('close', (code) => done({ code, stdout, stderr }));
    child.stdin.on('error', () => {}); // it may end before it reads
    const { onRead, input = '' } = options;
    if (onRead) child.stdin.write(input, () => onRead(child));
    else child.stdin.end(input);
  });
}
