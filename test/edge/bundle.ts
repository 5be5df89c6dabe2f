import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** Bundles the worker as wrangler does; `imports` are the names that stayed outside the bundle. */
export async function bundleWorker() {
  const { outputFiles, metafile } = await build({
    entryPoints: ['src/worker.ts'],
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['workerd', 'worker', 'browser', 'import'],
    external: ['node:*', 'cloudflare:*'],
    loader: { '.md': 'text', '.jinja': 'text', '.prompt': 'text' },
    minify: true,
    logLevel: 'silent',
  });
  const code = outputFiles[0]?.contents ?? new Uint8Array();
  const imports = Object.values(metafile.outputs).flatMap((output) =>
    output.imports.filter(({ external }) => external).map(({ path }) => path),
  );
  return { code, gzipBytes: gzipSync(code).length, inputs: Object.keys(metafile.inputs), imports };
}
