#!/usr/bin/env node
// Bundles the worker into dist/edge in pieces: main.mjs, which wrangler takes into its own script ([alias] in
// wrangler.toml), and piece-*.mjs and texts, which it uploads as they are and workerd compiles when they are imported.
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { writeLeanPackages } from './lean-packages.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'dist', 'edge');

/** As wrangler bundles. */
export const edgeBuild = {
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  mainFields: ['module', 'main'],
  conditions: ['workerd', 'worker', 'browser', 'import'],
  external: ['node:*', 'cloudflare:*'],
  absWorkingDir: root,
  legalComments: 'none',
  logLevel: 'silent',
};

/** Writes what differs from what is there, and removes what is no longer part of it; gives the names of the files. */
export async function writeEdgePieces() {
  const { outputFiles } = await build({
    ...edgeBuild,
    entryPoints: { main: 'src/worker/main.ts' },
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'piece-[hash]',
    assetNames: '[name]-[hash]',
    splitting: true,
    alias: await writeLeanPackages(),
    loader: { '.md': 'text', '.txt': 'copy' },
    write: false,
  });
  mkdirSync(folder, { recursive: true });
  const names = outputFiles.map(({ path }) => basename(path));
  // Pieces before main.mjs, which imports them: a `wrangler dev` that looks meanwhile finds a whole set.
  const isMain = ({ path }) => basename(path) === 'main.mjs';
  const inOrder = [...outputFiles].sort((a, b) => Number(isMain(a)) - Number(isMain(b)));
  for (const { path, contents } of inOrder) writeIfOther(path, contents);
  for (const name of readdirSync(folder)) {
    if (!names.includes(name) && !name.endsWith('.tmp')) rmSync(join(folder, name), { force: true });
  }
  return names.map((name) => join(folder, name));
}

function writeIfOther(path, contents) {
  try {
    if (readFileSync(path).equals(contents)) return;
  } catch {} // not there yet
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeEdgePieces();
