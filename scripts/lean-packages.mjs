#!/usr/bin/env node
// Writes packages anew, into dist/lean, so that a start does not pay for what it does not use. At the edge all code of a
// worker is compiled and all its top level run before the first request (wrangler runs this file: [build]; [alias] puts
// its packages in place); on Node scripts/build.mjs bundles the same.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import vm from 'node:vm';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'dist', 'lean');

/** Writes what differs from what is there; gives the aliases. Throws when a package has another shape than we know. */
export async function writeLeanPackages() {
  mkdirSync(folder, { recursive: true });
  const { code, table } = splitPrices(
    readFileSync(join(root, 'node_modules/@pydantic/genai-prices/dist/index.js'), 'utf8'),
  );
  write('prices.txt', table);
  write('prices.mjs', code);
  write('cel.mjs', await deferCel());
  return { '@pydantic/genai-prices': join(folder, 'prices.mjs'), '@marcbachmann/cel-js': join(folder, 'cel.mjs') };
}

/** The same and what only Node has: of undici the connection pools, without its fetch, WebSocket and caches. */
export async function writeLeanPackagesForNode() {
  const packages = await writeLeanPackages();
  const parts = { Agent: 'dispatcher/agent.js', buildConnector: 'core/connect.js' };
  const lines = Object.entries(parts).map(
    ([name, file]) =>
      `export { default as ${name} } from ${JSON.stringify(join(root, 'node_modules/undici/lib', file))};\n`,
  );
  write('undici.mjs', lines.join(''));
  return { ...packages, undici: join(folder, 'undici.mjs') };
}

/** The table of published prices, half a megabyte, as text: nothing of it is compiled before a price is asked for. */
function splitPrices(source) {
  const [, literal] = /^const \w+ = (\[\n[\s\S]*?\n\]), /.exec(source) ?? [];
  if (!literal)
    throw new Error('@pydantic/genai-prices does not begin with its table: adapt scripts/lean-packages.mjs');
  const prices = vm.runInNewContext(literal);
  const table = JSON.stringify(prices);
  if (!isDeepStrictEqual(JSON.parse(table), structuredClone(prices)))
    throw new Error('the table of @pydantic/genai-prices is more than JSON: adapt scripts/lean-packages.mjs');
  return { table, code: `import table from './prices.txt';\n${source.replace(literal, () => 'JSON.parse(table)')}` };
}

/** CEL fills its registry of functions as it is loaded: here when the first environment is made. */
async function deferCel() {
  const { outputFiles } = await build({
    stdin: { contents: "export { Environment } from '@marcbachmann/cel-js';", resolveDir: root },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'cel',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
  });
  return `let loaded;
function load() {
${outputFiles[0].text}
  return cel;
}
export function Environment(options) {
  loaded ??= load();
  return new loaded.Environment(options);
}
`;
}

/** In one step, for whoever reads at the same time. */
function write(file, text) {
  const path = join(folder, file);
  try {
    if (readFileSync(path, 'utf8') === text) return;
  } catch {} // not there yet
  writeFileSync(`${path}.${process.pid}`, text);
  renameSync(`${path}.${process.pid}`, path);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeLeanPackages();
