import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { edgeTests } from './workerd/edge-tests.ts';

/** Runs vitest inside workerd; gives its exit status and what it printed. */
function inWorkerd(): Promise<{ readonly status: number | null; readonly output: string }> {
  const args = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    'test/edge/workerd/vitest.config.ts',
    '--root',
    '.',
  ];
  const child = spawn(process.execPath, args, { env: { ...process.env, NO_COLOR: '1' }, stdio: 'pipe' });
  let output = '';
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString();
  });
  child.stderr.on('data', (data: Buffer) => {
    output += data.toString();
  });
  return new Promise((resolve) => child.once('exit', (status) => resolve({ status, output })));
}

test('the tables of dialects, routing, filters, limits and cache hold in workerd as they do on Node', async () => {
  const files = await edgeTests();
  for (const room of ['wire/sse', 'http/chat-completions', 'http/responses', 'filters/output', 'routing/takeover']) {
    expect(files).toContain(`test/${room}.test.ts`);
  }
  const { status, output } = await inWorkerd();
  expect(status, output.slice(-6000)).toBe(0);
  expect(output).toMatch(new RegExp(`Test Files +${files.length} passed`));
}, 300_000);
