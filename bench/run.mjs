#!/usr/bin/env node
// Bundles a bench and runs it: node bench/run.mjs overhead [options]. Node 20 runs no TypeScript by itself.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [name, ...options] = process.argv.slice(2);
const names = readdirSync(join(root, 'bench')).flatMap((file) =>
  extname(file) === '.ts' ? [basename(file, '.ts')] : [],
);
if (!names.includes(name)) {
  console.error(
    `Usage: node bench/run.mjs NAME [options]; the beginning of bench/NAME.ts has them.\nNAME: ${names.join(', ')}`,
  );
  process.exit(2);
}
mkdirSync(join(root, 'dist'), { recursive: true });
const folder = mkdtempSync(join(root, 'dist', 'bench-')); // of its own, since benches may run side by side
let code = 1;
try {
  await build({
    entryPoints: { [name]: join(root, 'bench', `${name}.ts`), 'engine-child': join(root, 'src/engine/child.ts') },
    absWorkingDir: root,
    outdir: folder,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
    loader: { '.md': 'text', '.txt': 'text' },
    define: { 'import.meta.dirname': JSON.stringify(join(root, 'bench')) },
  });
  const child = spawn(process.execPath, [join(folder, `${name}.js`), ...options], { stdio: 'inherit', cwd: root });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  code = await new Promise((resolve) => child.on('exit', (status) => resolve(status ?? 1)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(code);
