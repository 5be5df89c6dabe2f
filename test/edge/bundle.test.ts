import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readPromptFiles } from '../../src/prompts/files.node.ts';
import { bundleWorker, compatibility } from './bundle.ts';

test('the worker bundles without anything of Node, under 1 MiB compressed', async () => {
  const { gzipBytes, inputs, imports } = await bundleWorker();
  expect(imports).toEqual([]);
  expect(
    inputs.filter((file) => /node_modules\/(node-llama-cpp|undici|prom-client|ajv|pino|libsql|pg|redis)\//.test(file)),
  ).toEqual([]);
  expect(gzipBytes).toBeLessThan(1024 * 1024);
});

test('every packaged prompt is in the worker too', () => {
  const source = readFileSync('src/edge/prompt-files.ts', 'utf8');
  const imported = [...source.matchAll(/^import (\w+) from '\.\.\/\.\.\/prompts\/(.+)';$/gm)];
  const paths = Object.keys(readPromptFiles('prompts')).filter((path) => !/README/.test(path));
  expect(imported.map(([, , path]) => path).sort()).toEqual(paths.sort());
  for (const [, name, path] of imported) expect(source).toContain(`  '${path}': ${name},`);
});

test('what the tests run with is what wrangler.toml says', () => {
  const toml = readFileSync('wrangler.toml', 'utf8');
  expect(toml).toContain(`compatibility_date = "${compatibility.compatibilityDate}"`);
  expect(toml).toContain(`compatibility_flags = ${JSON.stringify(compatibility.compatibilityFlags)}`);
});
