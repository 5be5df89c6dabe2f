import { rmSync, utimesSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ggufBytes, sendFile, serve } from '../models/hub-server.ts';
import { tidegate } from './run-cli.ts';

const root = resolve(import.meta.dirname, '../..');
let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidegate-home-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const calls = [
  { args: [], code: 0, out: /Examples:/, err: /^$/ },
  { args: ['--version'], code: 0, out: /^\d+\.\d+\.\d+/, err: /^$/ },
  { args: ['help', 'pull'], code: 0, out: /hf:OWNER\/REPO\/FILE/, err: /^$/ },
  { args: ['models', 'rm', '--help'], code: 0, out: /Examples:/, err: /^$/ },
  { args: ['serve', '--help'], code: 0, out: /may be repeated\s+\(default: none\)/, err: /^$/ },
  { args: ['pul'], code: 2, out: /^$/, err: /Did you mean pull\?/ },
  { args: ['models', 'remove'], code: 2, out: /^$/, err: /unknown command 'remove'\n\(There are list, rm, path\.\)/ },
  { args: ['keys', 'crate'], code: 2, out: /^$/, err: /unknown command 'crate'\n\(Did you mean create\?\)/ },
  { args: ['top', '--url', 'nonsense'], code: 2, out: /^$/, err: /An address such as http/ },
  { args: ['prompt', 'list', '-d', 'nowhere'], code: 1, out: /^$/, err: /There is no folder nowhere\.\n$/ },
  { args: ['explain', '-f', 'nowhere.json'], code: 1, out: /^$/, err: /nowhere\.json: there is no such file[^\n]*\n$/ },
  { args: ['pull', '--jsn', 'x'], code: 2, out: /^$/, err: /Did you mean --json\?/ },
  { args: ['pull'], code: 2, out: /^$/, err: /missing required argument 'model'/ },
  { args: ['pull', 'smolm2'], code: 1, out: /^$/, err: /Did you mean smollm2/ },
  { args: ['models'], code: 0, out: /No models in .*tidegate pull smollm2/s, err: /^$/ },
  { args: ['models', 'rm', 'nothing'], code: 1, out: /^$/, err: /No model "nothing"/ },
];
test.each(calls)('tidegate $args ends with $code', async ({ args, code, out, err }) => {
  const run = await tidegate(args, { env: { HOME: home } });
  expect(run.stdout).toMatch(out);
  expect(run.stderr).toMatch(err);
  expect(run.code).toBe(code);
});

test('two processes that pull the same model at once fetch it once and agree', async () => {
  const file = ggufBytes(300_000);
  const server = await serve((request, response) => {
    setTimeout(() => sendFile(request, response, file), 1_000);
  });
  try {
    const env = { HOME: home, HF_ENDPOINT: server.url };
    const args = ['pull', '--json', 'hf:acme/tiny-GGUF/tiny-Q8_0.gguf'];
    const [a, b] = await Promise.all([tidegate(args, { env }), tidegate(args, { env })]);
    expect(a.stderr + b.stderr).toBe('');
    expect(JSON.parse(a.stdout)).toEqual(JSON.parse(b.stdout));
    expect(server.seen).toHaveLength(1);
    const listed = await tidegate(['models', '--json'], { env });
    expect(JSON.parse(listed.stdout)).toMatchObject([{ bytes: 300_000, quantization: 'Q8_0' }]);
  } finally {
    await server.close();
  }
});

test('Ctrl-C stops a download with exit code 130 and keeps what came for the next time', async () => {
  const server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': 1_000_000, etag: '"a"' });
    response.write(ggufBytes(1_000));
  });
  try {
    const run = await tidegate(['pull', 'hf:acme/tiny-GGUF/slow-Q8_0.gguf'], {
      env: { HOME: home, HF_ENDPOINT: server.url },
      onOutput: (text, child) => text.includes('downloading') && child.kill('SIGINT'),
    });
    expect(run.code).toBe(130);
  } finally {
    await server.close();
  }
});

test('two processes that build at once both start', async () => {
  rmSync(join(root, 'dist/sources.sha256'), { force: true });
  const runs = await Promise.all([1, 2, 3].map(() => tidegate(['--version'])));
  expect(runs.map(({ code, stderr }) => ({ code, stderr }))).toEqual(runs.map(() => ({ code: 0, stderr: '' })));
});

test('a changed source is built before it runs', async () => {
  const { statSync } = await import('node:fs');
  await tidegate(['--version']);
  const before = statSync(join(root, 'dist/main.js')).mtimeMs;
  const now = new Date();
  utimesSync(join(root, 'src/cli/main.ts'), now, now);
  await tidegate(['--version']);
  expect(statSync(join(root, 'dist/main.js')).mtimeMs).toBeGreaterThan(before);
});
