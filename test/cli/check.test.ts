import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tidegate } from './run-cli.ts';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'tidegate-home-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

interface Finding {
  readonly what: string;
  readonly state: string;
  readonly found: string;
  readonly advice?: string;
}

async function check(yaml: string | undefined) {
  if (yaml !== undefined) writeFileSync(join(home, 'tidegate.yaml'), yaml);
  const run = await tidegate(['check', '--json'], { env: { HOME: home }, cwd: home });
  const findings = JSON.parse(run.stdout) as Finding[]; // what --json prints
  return { code: run.code, of: (what: string) => findings.find((finding) => finding.what.startsWith(what)) };
}

test('a machine without configuration and model is told what serve will do', async () => {
  const { of } = await check(undefined);
  expect(of('node')?.found).toContain(process.version);
  expect(of('cpu')?.found).toMatch(/\d+ of \d+ cores/);
  expect(of('memory')?.found).toMatch(/free of/);
  expect(of('config')).toMatchObject({ state: 'ok', found: expect.stringMatching(/no tidegate\.yaml/) });
  expect(of('model smollm2')).toMatchObject({ state: 'warn', advice: expect.stringMatching(/tidegate pull/) });
});

test('a port in use is found before serving', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((ready) => taken.once('listening', ready));
  const address = taken.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const { of, code } = await check(`server: { port: ${port} }\n`);
  taken.close();
  expect(of('port')).toMatchObject({ state: 'fail', advice: expect.stringMatching(/--port/) });
  expect(code).toBe(1);
});

test('a port where a gateway serves already is no fault', async () => {
  const gateway = createHttpServer((request, response) => {
    response.writeHead(request.url === '/health/live' ? 200 : 404).end('{"status":"ok"}');
  }).listen(0, '127.0.0.1');
  await new Promise((ready) => gateway.once('listening', ready));
  const address = gateway.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const { of, code } = await check(`server: { port: ${port} }\n`);
  gateway.close();
  expect(of('port')).toMatchObject({ state: 'ok', found: expect.stringMatching(/a Tidegate serves/) });
  expect(code).toBe(0);
});

const files = [
  { name: 'a wrong value', yaml: 'server:\n  port: many\n', found: /line 2.*server\.port/ },
  { name: 'an unknown field', yaml: 'server: { prot: 1 }\n', found: /prot.*port/s },
  { name: 'no YAML at all', yaml: 'server: [', found: /line 1/ },
];
test.each(files)('a configuration with $name is refused with its line', async ({ yaml, found }) => {
  const { of, code } = await check(yaml);
  expect(of('config')).toMatchObject({ state: 'fail', found: expect.stringMatching(found) });
  expect(code).toBe(1);
});

test('a model file that is no GGUF is found before serving', async () => {
  writeFileSync(join(home, 'bad.gguf'), 'not a model');
  const { of } = await check(`server: { port: 0 }\nmodels: { m: { targets: [{ local: ./bad.gguf }] } }\n`);
  expect(of('model ./bad.gguf')).toMatchObject({ state: 'fail', found: expect.stringMatching(/not a GGUF/) });
});

test('an NVIDIA card without its binary is told with the command that installs it', async (context) => {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    context.skip('the names of cards are asked for on Linux x64');
  const bin = join(home, 'bin');
  mkdirSync(bin);
  // The driver's own tool, as it answers on a machine with such a card.
  writeFileSync(join(bin, 'nvidia-smi'), '#!/bin/sh\necho "NVIDIA H100 80GB HBM3, 81559 MiB"\n', { mode: 0o755 });
  const run = await tidegate(['check', '--json'], {
    env: { HOME: home, PATH: `${bin}:${process.env['PATH']}` },
    cwd: home,
  });
  const gpu = (JSON.parse(run.stdout) as Finding[]).find(({ what }) => what === 'gpu'); // what --json prints
  expect(gpu?.found).toMatch(/NVIDIA H100 80GB HBM3/);
  if (gpu?.state === 'warn') expect(gpu.advice).toBe('Install it with: npm run gpu -- cuda');
  else expect(gpu?.found).toMatch(/\(cuda\)/); // somebody has run that command here
});
