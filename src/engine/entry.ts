import { createHash } from 'node:crypto';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The file to start as engine child. Beside the bundled gateway it is `engine-child.js`; run from the TypeScript sources
 * (tests, benches) it is bundled on the fly into `.tidegate/build`, under a name made from its content.
 */
export async function engineEntry(): Promise<string> {
  const here = import.meta.url;
  if (!here.endsWith('.ts')) return fileURLToPath(new URL('./engine-child.js', here));
  built ??= build();
  return built;
}

let built: Promise<string> | undefined;

async function build(): Promise<string> {
  const { build: bundle } = await import('esbuild');
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const result = await bundle({
    entryPoints: [fileURLToPath(new URL('./child.ts', import.meta.url))],
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    write: false,
    logLevel: 'silent',
  });
  const code = result.outputFiles[0]?.contents ?? new Uint8Array(0);
  const folder = join(root, '.tidegate', 'build');
  const path = join(folder, `engine-child-${createHash('sha256').update(code).digest('hex').slice(0, 16)}.mjs`);
  if (!(await stat(path).catch(() => undefined))) {
    await mkdir(folder, { recursive: true });
    const temporary = `${path}.${process.pid}`;
    await writeFile(temporary, code);
    await rename(temporary, path);
  }
  return path;
}
