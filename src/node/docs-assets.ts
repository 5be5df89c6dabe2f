import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { DocsAsset } from '../http/routes/docs.ts';

const types: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
};

/** Swagger UI out of its package, read when somebody looks. */
export const docsAsset: DocsAsset = async (name) => {
  const contentType = Object.hasOwn(types, name) ? types[name] : undefined;
  if (contentType === undefined) return undefined;
  const folder = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));
  return { contentType, bytes: await readFile(join(folder, name)) };
};
