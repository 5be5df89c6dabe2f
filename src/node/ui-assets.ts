import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Asset } from '../http/routes/dashboard.ts';

/** All files that the browser app is made of. */
const types: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'main.js': 'text/javascript; charset=utf-8',
  'main.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
};

/** Reads the built dashboard from a folder, each file once. */
export function uiAssets(folder: string): (name: string) => Promise<Asset | undefined> {
  const read = new Map<string, Promise<Asset | undefined>>();
  return (name) => {
    const contentType = types[name];
    if (contentType === undefined) return Promise.resolve(undefined);
    let asset = read.get(name);
    if (!asset) {
      asset = readFile(join(folder, name)).then(
        (bytes) => ({ contentType, bytes }),
        () => {
          read.delete(name); // not built yet
          return undefined;
        },
      );
      read.set(name, asset);
    }
    return asset;
  };
}
