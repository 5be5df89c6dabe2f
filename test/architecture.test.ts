import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const sources = ['src', 'providers']
  .filter((top) => existsSync(join(root, top)))
  .flatMap((top) => readdirSync(join(root, top), { recursive: true, encoding: 'utf8' }).map((file) => join(top, file)))
  .filter((file) => /\.tsx?$/.test(file));

const importsOf = (file: string) =>
  [
    ...readFileSync(join(root, file), 'utf8').matchAll(
      /^(?:import|export)\b[^'";]*?from '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm,
    ),
  ]
    .map((match) => match[1] ?? match[2] ?? match[3] ?? '')
    .map((name) => (name.startsWith('.') ? relative(root, resolve(root, dirname(file), name)) : name));
const graph = new Map(sources.map((file) => [file, importsOf(file)]));

/** The dashboard shows what these rooms answer with: it takes their types, and nothing that would come with them. */
const typesForDashboard = ['observability', 'policy', 'filters', 'http'];

/** Which rooms a room may import from; a room is a folder of src/, `providers`, or a file at the top of src/. */
const rooms: Record<string, readonly string[]> = {
  core: [],
  'config-values': ['core'],
  wire: ['core'],
  policy: ['core', 'ledger', 'config-values'],
  ledger: ['core', 'config-values'],
  routing: ['core', 'config-values'],
  cache: ['core', 'config-values'],
  filters: ['core', 'config-values'],
  prompts: ['core', 'config-values'],
  observability: ['core', 'config-values'],
  engine: ['core'],
  models: ['core'],
  transport: ['core'],
  edge: ['core', 'policy', 'routing', 'cache', 'observability', 'ledger'],
  dashboard: ['core', ...typesForDashboard],
  gateway: ['core', 'policy', 'routing', 'cache', 'filters', 'prompts', 'observability'],
  'config-text': ['core', 'config', 'routing'],
  config: [
    'providers',
    'core',
    'config-values',
    'policy',
    'routing',
    'cache',
    'filters',
    'prompts',
    'ledger',
    'observability',
  ],
  providers: ['core', 'wire', 'transport', 'engine', 'models', 'config-values'],
  http: ['core', 'wire', 'gateway', 'policy', 'observability'],
};
const roomOf = (file: string) =>
  file.startsWith('providers/') ? 'providers' : (file.split('/')[1] ?? '').replace(/\.tsx?$/, '');

/** Files that only Node runs; everything else must also run at the edge. */
const nodeOnly = (file: string) =>
  /^src\/(engine|cli|models|node)\b|^src\/node\.ts|^src\/transport\/undici\.ts|^providers\/(local|onnx)\.ts|\.node\.ts$/.test(
    file,
  );

test('imports go in the directions of the style guide', () => {
  const wrong: string[] = [];
  for (const [file, imports] of graph) {
    const allowed = rooms[roomOf(file)];
    if (!allowed) continue; // composition roots and the CLI may import anything
    for (const target of imports.filter((name) => graph.has(name))) {
      const room = roomOf(target);
      if (room !== roomOf(file) && !allowed.includes(room)) wrong.push(`${file} → ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('the dashboard takes no code of the rooms whose answers it shows', () => {
  const wrong = sources
    .filter((file) => roomOf(file) === 'dashboard')
    .flatMap((file) =>
      [...readFileSync(join(root, file), 'utf8').matchAll(/^import (?!type )[^'";]*?from '\.\.\/(\w+)\//gm)]
        .filter(([, room = '']) => typesForDashboard.includes(room))
        .map(([line]) => `${file}: ${line}`),
    );
  expect(wrong).toEqual([]);
});

test('what may run at the edge imports nothing of Node', () => {
  const wrong = [...graph].flatMap(([file, imports]) =>
    nodeOnly(file) || file === 'src/cli'
      ? []
      : imports
          .filter(
            (name) => name.startsWith('node:') || ['undici', 'pino', 'node-llama-cpp'].includes(name) || nodeOnly(name),
          )
          .map((name) => `${file} → ${name}`),
  );
  expect(wrong).toEqual([]);
});

test('Hono stays in http, zod at the edges of the system', () => {
  const wrong = [...graph].flatMap(([file, imports]) =>
    imports
      .filter(
        (name) =>
          (/^(hono|@hono)\b/.test(name) && !/^(http|node|worker|edge)$/.test(roomOf(file))) ||
          (name === 'zod' &&
            !/^(config|config-values|config-text|wire|providers|http|engine|cli|models|ledger|prompts|filters|policy|routing|cache|observability)$/.test(
              roomOf(file),
            )),
      )
      .map((name) => `${file} → ${name}`),
  );
  expect(wrong).toEqual([]);
});

test('there are no import cycles', () => {
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
      return;
    }
    if (done.has(file)) return;
    for (const target of graph.get(file) ?? []) if (graph.has(target)) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
  expect(cycles).toEqual([]);
});

test('shared code never compares a provider’s name', () => {
  const wrong = sources.filter(
    (file) => file.startsWith('src/') && /provider(\.name)?\s*[!=]==\s*'/.test(readFileSync(join(root, file), 'utf8')),
  );
  expect(wrong).toEqual([]);
});

test('a request’s signal, which is our own, never reaches AbortSignal.any, which would ignore it', () => {
  const wrong = sources.filter(
    (file) =>
      /^(src|providers)\//.test(file) &&
      !/^src\/(core\/abort\.ts|cli\/|dashboard\/)/.test(file) &&
      readFileSync(join(root, file), 'utf8').includes('AbortSignal.any('),
  );
  expect(wrong).toEqual([]);
});
