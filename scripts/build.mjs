#!/usr/bin/env node
// Bundles the sources into dist/. Run by bin/tidegate.mjs when they have changed, and before publishing.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { licencesOf } from './licences.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const stamp = join(dist, 'sources.sha256');

/** Output name → source. */
const entries = {
  main: 'src/cli/main.ts',
  'engine-child': 'src/engine/child.ts',
  'onnx-child': 'providers/onnx/child.node.ts',
};
const watched = ['src', 'providers', 'prompts', 'scripts', 'package.json'];
const keptDays = 7;
/**
 * Packages that stay files of their own: native ones and those that may be absent, those that start threads or give files
 * by their path. All others go into dist, since finding and opening four hundred small files is a fifth of the start.
 */
const external = [
  'esbuild',
  'libsql',
  'node-llama-cpp',
  'onnxruntime-*',
  'pg',
  'pino-pretty',
  'redis',
  'swagger-ui-dist',
  '@huggingface/transformers',
  '@opentelemetry/exporter-*',
  '@opentelemetry/resources',
  '@opentelemetry/sdk-*',
];
/** CommonJS packages ask for Node's own modules by `require`, which an ES module has not. */
const requireForPackages =
  "import { createRequire as createRequireForPackages } from 'node:module';\nconst require = createRequireForPackages(import.meta.url);";

/** One hash over the path, size and time of every source: catches deleted files and older checkouts too. */
function sourcesHash() {
  const hash = createHash('sha256');
  const add = (path) => {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\n`);
  };
  for (const top of watched) {
    if (!statSync(join(root, top)).isDirectory()) add(top);
    else {
      for (const path of filesUnder(top).sort()) if (/\.\w+$/.test(path)) add(path);
    }
  }
  return hash.digest('hex');
}

/** Node's own recursive listing asks for every entry's kind anew: half of what the hash costs at each start. */
function filesUnder(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesUnder(join(folder, entry.name)) : [join(folder, entry.name)],
  );
}

/** Builds if the sources differ from those of the last build; true if it did. */
export async function buildIfChanged() {
  const hash = sourcesHash();
  const built = existsSync(stamp) && existsSync(join(dist, 'main.js')) ? readFileSync(stamp, 'utf8') : '';
  if (built === hash) return false;
  await build();
  replace(stamp, hash);
  return true;
}

/** The dashboard for browsers, into dist/ui; gives the files it is made of. */
export async function buildUi({ outdir = join(dist, 'ui') } = {}) {
  const { build: bundle } = await import('esbuild');
  const ui = join(root, 'src/dashboard');
  const { outputFiles, metafile } = await bundle({
    entryPoints: [join(ui, 'main.tsx')],
    absWorkingDir: root,
    outdir,
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    target: ['chrome111', 'firefox113', 'safari16.4'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    write: false,
    metafile: true,
    logLevel: 'silent',
    legalComments: 'none',
  });
  mkdirSync(outdir, { recursive: true });
  for (const { path, contents } of outputFiles) replace(path, contents);
  for (const name of ['index.html', 'icon.svg']) replace(join(outdir, name), readFileSync(join(ui, name)));
  return Object.keys(metafile.inputs);
}

/** Files are replaced one by one, pieces before those who import them, so a process that starts meanwhile finds a whole set. */
export async function build({ keepDays = keptDays } = {}) {
  const esbuild = await import('esbuild').catch(() => {
    throw new Error('The packages are not installed. Run "npm ci" first.');
  });
  const { writeLeanPackagesForNode } = await import('./lean-packages.mjs');
  const lean = await writeLeanPackagesForNode();
  const { outputFiles, metafile } = await esbuild.build({
    entryPoints: entries,
    absWorkingDir: root,
    outdir: dist,
    bundle: true,
    splitting: true, // a command loads only what it needs
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external,
    alias: lean,
    banner: { js: requireForPackages },
    sourcemap: true,
    sourcesContent: false,
    write: false,
    metafile: true,
    logLevel: 'silent',
    chunkNames: 'chunk-[hash]',
    loader: { '.md': 'text', '.txt': 'text' },
  });
  refuseLazyCommonJs(metafile);
  mkdirSync(dist, { recursive: true });
  const isEntry = ({ path }) => basename(path).replace(/\.js(\.map)?$/, '') in entries;
  for (const file of [...outputFiles].sort((a, b) => Number(isEntry(a)) - Number(isEntry(b)))) {
    mkdirSync(dirname(file.path), { recursive: true });
    replace(file.path, file.contents);
  }
  removeOldChunks(new Set(outputFiles.map(({ path }) => basename(path))), keepDays);
  const sources = [...Object.keys(metafile.inputs), ...(await buildUi())];
  for (const name of Object.keys(lean)) sources.push(`node_modules/${name}/package.json`); // written anew from there
  replace(join(dist, 'third-party-licences.txt'), licencesOf(root, sources));
  await esbuild.stop(); // its service would stay beside the gateway for as long as that runs
}

/** What `import()` gives of a bundled CommonJS package has no names, only `default`: another thing than unbundled. */
function refuseLazyCommonJs({ inputs }) {
  for (const [source, { imports }] of Object.entries(inputs)) {
    if (source.includes('node_modules')) continue;
    for (const { path, kind } of imports) {
      if (kind !== 'dynamic-import' || inputs[path]?.format !== 'cjs') continue;
      throw new Error(`${source} imports ${path}, which is CommonJS, with import(): import it statically.`);
    }
  }
}

function replace(path, contents) {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}

/** A running server may still import pieces of its own build later, so they stay a while. */
function removeOldChunks(current, keepDays) {
  const before = Date.now() - keepDays * 86_400_000;
  for (const name of readdirSync(dist)) {
    if (!/^chunk-|\.tmp$/.test(name) || current.has(name)) continue;
    const info = statSync(join(dist, name), { throwIfNoEntry: false }); // another build may have moved it
    if (info && info.mtimeMs < before) rmSync(join(dist, name), { force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await build({ keepDays: 0 }); // to be published: nothing old
