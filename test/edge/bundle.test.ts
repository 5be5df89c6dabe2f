import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { calcPrice } from '@pydantic/genai-prices';
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

test('what the build puts in place of packages is what wrangler.toml names, and does as they do', async () => {
  const toml = readFileSync('wrangler.toml', 'utf8');
  const { writeLeanPackages } = await import(new URL('../../scripts/lean-packages.mjs', import.meta.url).href);
  const parts: Record<string, string> = await writeLeanPackages();
  for (const [name, path] of Object.entries(parts)) expect(toml).toContain(`"${name}" = "./${relative('.', path)}"`);
  const { code } = await bundleWorker('test/edge/parts-entry.ts');
  const bundled = await import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`);
  const usage = { input_tokens: 1000, output_tokens: 10 };
  expect(bundled.calcPrice(usage, 'gpt-4o', { providerId: 'openai' })).toEqual(
    calcPrice(usage, 'gpt-4o', { providerId: 'openai' }),
  );
  expect(new bundled.Environment().registerVariable('a', 'int').evaluate('a + 1 > 2', { a: 2n })).toBe(true);
});

test('what the tests run with is what wrangler.toml says', () => {
  const toml = readFileSync('wrangler.toml', 'utf8');
  expect(toml).toContain(`compatibility_date = "${compatibility.compatibilityDate}"`);
  expect(toml).toContain(`compatibility_flags = ${JSON.stringify(compatibility.compatibilityFlags)}`);
});
