#!/usr/bin/env node
// npm run slim: deletes what npm installed for other systems than this one. For images and small disks; "npm ci" brings it back.
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = join(dirname(fileURLToPath(import.meta.url)), '..', 'node_modules');
const { platform, arch } = process;
const foreign = [];

// npm takes these for x64 too, since their package.json says so.
const llama = join(modules, '@node-llama-cpp');
for (const name of entries(llama)) {
  const [system, machine] = name.replace(/^mac-/, 'darwin-').replace(/^win-/, 'win32-').split('-');
  if (system !== platform || machine !== arch) foreign.push(join(llama, name));
}
// One package with the binaries of all systems.
const onnx = join(modules, 'onnxruntime-node/bin');
for (const api of entries(onnx)) {
  for (const system of entries(join(onnx, api))) {
    if (system !== platform) foreign.push(join(onnx, api, system));
    else
      for (const machine of entries(join(onnx, api, system)))
        if (machine !== arch) foreign.push(join(onnx, api, system, machine));
  }
}

let freed = 0;
for (const path of foreign) {
  freed += bytesOf(path);
  rmSync(path, { recursive: true, force: true });
}
console.log(`${Math.round(freed / 1e6)} MB of binaries for other systems deleted.`);

function entries(folder) {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function bytesOf(folder) {
  return readdirSync(folder, { recursive: true }).reduce((sum, name) => {
    const info = statSync(join(folder, name), { throwIfNoEntry: false });
    return sum + (info?.isFile() ? info.size : 0);
  }, 0);
}
