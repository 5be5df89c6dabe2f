#!/usr/bin/env node
// Runs bench/NAME.ts: bundles it beside an engine child of its own, since Node 20 reads no TypeScript.
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = join(fileURLToPath(new URL('.', import.meta.url)), '..');
const [name = 'engine', ...rest] = process.argv.slice(2);
const outdir = join(root, 'dist', 'bench');
await build({
  entryPoints: { [name]: join(root, 'bench', `${name}.ts`), 'engine-child': join(root, 'src/engine/child.ts') },
  absWorkingDir: root,
  outdir,
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  packages: 'external',
  logLevel: 'warning',
  loader: { '.md': 'text', '.txt': 'text' },
});
process.argv = [process.argv[0], join(outdir, `${name}.js`), ...rest];
await import(pathToFileURL(join(outdir, `${name}.js`)).href);
