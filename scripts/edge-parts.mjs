#!/usr/bin/env node
// Writes two packages anew, into dist/edge, so that a cold start at the edge does not pay for them: all code of a worker
// is compiled and all its top level run before the first request. Run by wrangler ([build]; [alias] puts them in place).
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import vm from 'node:vm';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'dist', 'edge');

/** Writes what differs from what is there; gives the aliases. Throws when a package has another shape than we know. */
export async function writeEdgeParts() {
  mkdirSync(folder, { recursive: true });
  const { code, table } = splitPrices(
    readFileSync(join(root, 'node_modules/@pydantic/genai-prices/dist/index.js'), 'utf8'),
  );
  write('prices.txt', table);
  write('prices.mjs', code);
  write('cel.mjs', await deferCel());
  return { '@pydantic/genai-prices': join(folder, 'prices.mjs'), '@marcbachmann/cel-js': join(folder, 'cel.mjs') };
}

/** The table of published prices, half a megabyte, as text: nothing of it is compiled before a price is asked for. */
function splitPrices(source) {
  const [, literal] = /^const \w+ = (\[\n[\s\S]*?\n\]), /.exec(source) ?? [];
  if (!literal) throw new Error('@pydantic/genai-prices does not begin with its table: adapt scripts/edge-parts.mjs');
  const prices = vm.runInNewContext(literal);
  const table = JSON.stringify(prices);
  if (!isDeepStrictEqual(JSON.parse(table), structuredClone(prices)))
    throw new Error('the table of @pydantic/genai-prices is more than JSON: adapt scripts/edge-parts.mjs');
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

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeEdgeParts();
