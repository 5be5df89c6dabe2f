import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type BuildOptions, build } from 'esbuild';

/** As in wrangler.toml. */
export const compatibility = {
  compatibilityDate: '2026-04-21',
  compatibilityFlags: ['enable_request_signal'],
};

/** Given at a deployment: pieces are compiled when they are imported. The installed workerd has it, but not with D1. */
export const lazyPieces = 'new_module_registry';

export interface WorkerModule {
  readonly type: 'ESModule' | 'Text';
  readonly path: string;
  readonly contents: string;
}

/** The worker in the pieces that wrangler uploads, the main one first. */
export async function workerModules(): Promise<readonly WorkerModule[]> {
  const { writeEdgePieces } = await import(script('edge-pieces.mjs'));
  const files: readonly string[] = await writeEdgePieces();
  return [...files]
    .sort((a, b) => Number(basename(b) === 'main.mjs') - Number(basename(a) === 'main.mjs'))
    .map((file) => ({
      type: file.endsWith('.mjs') ? 'ESModule' : 'Text',
      path: basename(file),
      contents: readFileSync(file, 'utf8'),
    }));
}

/** What `wrangler deploy` would upload, the main module first. */
export function uploadedModules(): readonly WorkerModule[] {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-upload-'));
  try {
    execFileSync(
      process.execPath,
      ['node_modules/wrangler/bin/wrangler.js', 'deploy', '--dry-run', '--outdir', folder],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, CI: 'true', WRANGLER_SEND_METRICS: 'false' },
      },
    );
    const others = readdirSync(folder).filter((name) => name !== 'README.md' && !/\.(?:js|map)$/.test(name));
    return ['worker.js', ...others].map((path) => ({
      type: /\.m?js$/.test(path) ? 'ESModule' : 'Text',
      path,
      contents: readFileSync(join(folder, path), 'utf8'),
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const script = (name: string) => new URL(`../../scripts/${name}`, import.meta.url).href;

/** Bundles the worker (or another entry) as wrangler does, but with texts as strings in the one file; `imports` are the names that stayed outside the bundle. */
export async function bundleWorker(entry = 'src/worker.ts') {
  const { writeLeanPackages } = await import(script('lean-packages.mjs'));
  const { edgeBuild } = await import(script('edge-pieces.mjs'));
  const { outputFiles, metafile } = await build({
    ...(edgeBuild as BuildOptions), // untyped, as scripts are
    entryPoints: [entry],
    write: false,
    metafile: true,
    alias: await writeLeanPackages(),
    loader: { '.md': 'text', '.txt': 'text' },
  });
  const code = outputFiles[0]?.contents ?? new Uint8Array();
  const imports = Object.values(metafile.outputs).flatMap((output) =>
    output.imports.filter(({ external }) => external).map(({ path }) => path),
  );
  return { code, gzipBytes: gzipSync(code).length, inputs: Object.keys(metafile.inputs), imports };
}
