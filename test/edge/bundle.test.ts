import { expect, test } from 'vitest';
import { bundleWorker } from './bundle.ts';

test('the worker bundles without anything of Node, under 1 MiB compressed', async () => {
  const { gzipBytes, inputs, imports } = await bundleWorker();
  expect(imports).toEqual([]);
  expect(
    inputs.filter((file) => /node_modules\/(node-llama-cpp|undici|prom-client|ajv|pino|libsql|pg|redis)\//.test(file)),
  ).toEqual([]);
  expect(gzipBytes).toBeLessThan(1024 * 1024);
});
