#!/usr/bin/env node
// npm run gpu -- cuda | vulkan | off: puts the engine's GPU binaries in place of the empty packages that package.json
// overrides (they weigh hundreds of megabytes, and most machines have no use for them). Again after each "npm ci".
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const scope = join(root, 'node_modules/@node-llama-cpp');
const system = process.platform === 'win32' ? 'win' : process.platform;
const packages = {
  cuda: [`${system}-x64-cuda`, `${system}-x64-cuda-ext`],
  vulkan: [`${system}-x64-vulkan`],
};

const wanted = process.argv[2];
if (process.platform === 'darwin') done('macOS needs none of this: Metal is part of the ordinary package.');
if (process.arch !== 'x64') done(`There are GPU binaries for x64 only; this is ${process.arch}.`, 1);
if (wanted === 'off') {
  for (const name of [...packages.cuda, ...packages.vulkan]) standIn(name);
  done('The GPU binaries are gone again.');
}
if (!(wanted in packages)) done('Usage: npm run gpu -- cuda | vulkan | off', 2);

const engine = join(root, 'node_modules/node-llama-cpp/package.json');
if (!existsSync(engine)) done('The packages are not installed. Run "npm ci" first.', 1);
const { version } = JSON.parse(readFileSync(engine, 'utf8'));
for (const name of packages[wanted]) install(name);
done(`Done. "npm start" now uses ${wanted} where the driver is there; "npx tidegate check" shows what it sees.`);

/** npm fetches the archive, so its registry, proxy and integrity check hold. */
function install(name) {
  const folder = mkdtempSync(join(scope, '.gpu-'));
  try {
    console.log(`Fetching @node-llama-cpp/${name}@${version} …`);
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const spec = `@node-llama-cpp/${name}@${version}`;
    const archive = run(npm, ['pack', spec, '--silent', '--pack-destination', folder]).trim().split('\n').at(-1);
    run('tar', ['-xzf', join(folder, archive), '-C', folder]);
    rmSync(join(scope, name), { recursive: true, force: true });
    renameSync(join(folder, 'package'), join(scope, name));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function standIn(name) {
  rmSync(join(scope, name), { recursive: true, force: true });
  mkdirSync(scope, { recursive: true });
  symlinkSync(relative(scope, join(root, 'vendor/empty')), join(scope, name), 'junction');
}

function run(command, args) {
  const { status, stdout, error } = spawnSync(command, args, {
    encoding: 'utf8',
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    shell: process.platform === 'win32',
  });
  if (error || status !== 0) done(`${command} ${args[0]} failed${error ? `: ${error.message}` : ''}.`, 1);
  return stdout;
}

function done(message, code = 0) {
  (code ? console.error : console.log)(message);
  process.exit(code);
}
