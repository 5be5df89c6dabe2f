import { cloudflareTest } from '@cloudflare/vitest-pool-workers';
import { defineConfig } from 'vitest/config';
import { edgeTests } from './edge-tests.ts';

/**
 * The same tests inside workerd, Cloudflare's own runtime. Those modules of Node that Workers lend (nodejs_compat) are
 * for the tests' own use; that the worker needs none of them is test/edge/bundle.test.ts's to hold.
 */
export default defineConfig(async () => ({
  plugins: [cloudflareTest({ miniflare: { compatibilityDate: '2026-04-21', compatibilityFlags: ['nodejs_compat'] } })],
  test: {
    include: [...(await edgeTests())],
    testTimeout: 60_000,
    retry: process.env['CI'] ? 1 : 0,
    // One runtime for all of them: a new one per file costs more than the tests.
    isolate: false,
    maxWorkers: 1,
    fileParallelism: false,
  },
}));
