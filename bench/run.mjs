#!/usr/bin/env node
// Bundles a bench and runs it: node bench/run.mjs overhead [options]. Node 20 runs no TypeScript by itself.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [name = '', ...options] = process.argv.slice(2);
const folder = mkdtempSync(join(root, 'node_modules', '.bench-')); // beside the packages, so that imports resolve
const out = join(folder, `${name.replaceAll('/', '-')}.mjs`);
let code = 1;
try {
  await build({
    entryPoints: [join(root, 'bench', `${name}.ts`)],
    outfile: out,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
    define: { 'import.meta.dirname': JSON.stringify(join(root, 'bench')) },
  });
  const child = spawn(process.execPath, [out, ...options], { stdio: 'inherit', cwd: root });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
  code = await new Promise((resolve) => child.on('exit', (status) => resolve(status ?? 1)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(code);
