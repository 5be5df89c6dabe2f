import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'test/**/*.test.tsx'],
    reporters: ['default', './test/plain-summary.ts'],
    testTimeout: 60_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 15_000 } }, // a condition on a busy machine
    maxWorkers: 2,
    // Real sockets, engines and a browser on a shared machine: one more try tells a slow moment from a fault.
    retry: process.env['CI'] ? 1 : 0,
    pool: 'forks',
    globalSetup: './test/build.ts',
  },
});
