import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { calcPrice } from '@pydantic/genai-prices';
import { expect, test } from 'vitest';
import { readPromptFiles } from '../../src/prompts/files.node.ts';
import { bundleWorker, compatibility, uploadedModules, type WorkerModule, workerModules } from './bundle.ts';

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
});

test('wrangler deploy --dry-run passes: under 1 MiB compressed, and a start compiles little of it', () => {
  const modules = uploadedModules();
  expect(gzipSync(modules.map(({ contents }) => contents).join('')).length).toBeLessThan(1024 * 1024);
  const compiled = new Set<WorkerModule>();
  const follow = (module: WorkerModule | undefined) => {
    if (!module || module.type === 'Text' || compiled.has(module)) return;
    compiled.add(module);
    for (const [, next] of module.contents.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)) {
      follow(modules.find(({ path }) => path === next));
    }
  };
  follow(modules[0]);
  expect([...compiled].reduce((sum, { contents }) => sum + contents.length, 0)).toBeLessThan(420 * 1024);
  // What few use, and what the first request is soon enough for.
  const rare =
    /RE2JS|registerVariable|ERR_JWKS_NO_MATCHING_KEY|lstrip_blocks|BLOCK_AS_IMPLICIT_KEY|bedrock-runtime|eval_duration/;
  const parts = modules.filter(({ contents }) => rare.test(contents));
  expect(parts.length).toBeGreaterThan(5);
  expect(parts.filter((module) => compiled.has(module)).map(({ path }) => path)).toEqual([]);
});

test('what the tests run with is what wrangler.toml says', () => {
  const toml = readFileSync('wrangler.toml', 'utf8');
  expect(toml).toContain(`compatibility_date = "${compatibility.compatibilityDate}"`);
  expect(toml).toContain(`compatibility_flags = ${JSON.stringify(compatibility.compatibilityFlags)}`);
});
