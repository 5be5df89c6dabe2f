import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

/** As in wrangler.toml. */
export const compatibility = {
  compatibilityDate: '2026-04-21',
  compatibilityFlags: ['enable_request_signal'],
};

/** Bundles the worker (or another entry) as wrangler does, but with texts as strings in the one file; `imports` are the names that stayed outside the bundle. */
export async function bundleWorker(entry = 'src/worker.ts') {
  const { writeLeanPackages } = await import(new URL('../../scripts/lean-packages.mjs', import.meta.url).href);
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['workerd', 'worker', 'browser', 'import'],
    external: ['node:*', 'cloudflare:*'],
    alias: await writeLeanPackages(),
    loader: { '.md': 'text', '.txt': 'text' },
    minify: true,
    logLevel: 'silent',
  });
  const code = outputFiles[0]?.contents ?? new Uint8Array();
  const imports = Object.values(metafile.outputs).flatMap((output) =>
    output.imports.filter(({ external }) => external).map(({ path }) => path),
  );
  return { code, gzipBytes: gzipSync(code).length, inputs: Object.keys(metafile.inputs), imports };
}
