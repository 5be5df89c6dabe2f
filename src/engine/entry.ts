import { createHash } from 'node:crypto';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Programs that run in a process of their own, by their source below the repository's root. */
const sources = { 'engine-child': 'src/engine/child.ts', 'onnx-child': 'providers/onnx/child.node.ts' } as const;

/**
 * The file to start as child. Beside the bundled gateway it is `NAME.js`; run from the TypeScript sources (tests,
 * benches) it is bundled on the fly into `.tidegate/build`, under a name made from its content.
 */
export async function childEntry(name: keyof typeof sources): Promise<string> {
  const here = import.meta.url;
  if (!here.endsWith('.ts')) return fileURLToPath(new URL(`./${name}.js`, here));
  const known = built.get(name) ?? build(name);
  built.set(name, known);
  return known;
}

const built = new Map<string, Promise<string>>();

async function build(name: keyof typeof sources): Promise<string> {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const { build: bundle } = await import('esbuild');
  const result = await bundle({
    entryPoints: [join(root, sources[name])],
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
  const path = join(folder, `${name}-${createHash('sha256').update(code).digest('hex').slice(0, 16)}.mjs`);
  if (!(await stat(path).catch(() => undefined))) {
    await mkdir(folder, { recursive: true });
    const temporary = `${path}.${process.pid}`;
    await writeFile(temporary, code);
    await rename(temporary, path);
  }
  return path;
}
