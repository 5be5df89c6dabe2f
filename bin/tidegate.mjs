#!/usr/bin/env node
// In a checkout dist/ is built when the sources have changed; a published package carries it.
import { existsSync } from 'node:fs';
import nodeModule from 'node:module';

const here = (path) => new URL(path, import.meta.url);
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`tidegate needs Node 20.19 or newer; this is ${process.version}.`);
  process.exit(1);
}

try {
  if (existsSync(here('../src/cli/main.ts'))) {
    const { buildIfChanged } = await import('../scripts/build.mjs');
    await buildIfChanged();
  }
} catch (error) {
  console.error(`tidegate cannot be built: ${error.message}`);
  process.exit(1);
}

if (!existsSync(here('../dist/main.js'))) {
  console.error(
    'tidegate was packed without dist/: pack it with "npm pack --ignore-scripts=false", or "npm run build" first.',
  );
  process.exit(1);
}
nodeModule.enableCompileCache?.(); // Node 22 and newer: a third less of the start
const { main } = await import('../dist/main.js');
process.exitCode = await main(process.argv.slice(2));
// What is left, such as an idle socket, must not keep the terminal waiting.
setTimeout(() => process.exit(), 500).unref();
