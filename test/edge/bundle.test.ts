import { readFileSync } from 'node:fs';
import { calcPrice } from '@pydantic/genai-prices';
import { expect, test } from 'vitest';
import { readPromptFiles } from '../../src/prompts/files.node.ts';
import { bundleWorker, compatibility, workerModules } from './bundle.ts';

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

test('what the build puts in place of packages does as they do', async () => {
  const { code } = await bundleWorker('test/edge/parts-entry.ts');
  const bundled = await import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`);
  const usage = { input_tokens: 1000, output_tokens: 10 };
  expect(bundled.calcPrice(usage, 'gpt-4o', { providerId: 'openai' })).toEqual(
    calcPrice(usage, 'gpt-4o', { providerId: 'openai' }),
  );
  expect(new bundled.Environment().registerVariable('a', 'int').evaluate('a + 1 > 2', { a: 2n })).toBe(true);
});

test('wrangler takes the pieces that are built: their names, folder and main module are those of wrangler.toml', async () => {
  const toml = readFileSync('wrangler.toml', 'utf8');
  expect(toml).toContain('alias = { "./worker/main.ts" = "./dist/edge/main.mjs" }\nbase_dir = "dist/edge"');
  expect(toml).toContain('globs = ["**/piece-*.mjs"]'); // texts go up without a rule of ours
  expect(readFileSync('src/worker.ts', 'utf8')).toContain("from './worker/main.ts'");
  const [main, ...others] = await workerModules();
  expect(main?.path).toBe('main.mjs');
  expect(others.filter(({ path }) => !/^piece-\w+\.mjs$|^prices-\w+\.txt$/.test(path))).toEqual([]);
  // What few use is in none of the pieces that a start compiles, nor what the first request is soon enough for.
  const rare = others.filter(({ contents }) =>
    /RE2JS|registerVariable|createRemoteJWKSet|lstrip_blocks|BLOCK_AS_IMPLICIT_KEY|bedrock-runtime|eval_duration/.test(
      contents,
    ),
  );
  const compiled = new Set<string>();
  const follow = (path: string) => {
    if (compiled.has(path)) return;
    compiled.add(path);
    const contents = [main, ...others].find((module) => module?.path === path)?.contents ?? '';
    for (const [, next = ''] of contents.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)) follow(next);
  };
  follow('main.mjs');
  expect(rare.length).toBeGreaterThan(5);
  expect(rare.filter(({ path }) => compiled.has(path)).map(({ path }) => path)).toEqual([]);
});

test('what the tests run with is what wrangler.toml says', () => {
  const toml = readFileSync('wrangler.toml', 'utf8');
  expect(toml).toContain(`compatibility_date = "${compatibility.compatibilityDate}"`);
  expect(toml).toContain(`compatibility_flags = ${JSON.stringify(compatibility.compatibilityFlags)}`);
});
