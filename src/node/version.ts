import { existsSync, readFileSync } from 'node:fs';

/** This package's version: `../package.json` from the bundle in dist/, two folders up from the sources. */
export function packageVersion(): string {
  const file = ['../package.json', '../../package.json']
    .map((path) => new URL(path, import.meta.url))
    .find((url) => existsSync(url));
  if (!file) return 'unknown';
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version; // our own file
}
