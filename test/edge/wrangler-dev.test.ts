import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chunk, type FaultyUpstream, faultyUpstream, openaiServer, sse } from '../faulty-upstream.ts';
import { freePort } from '../free-port.ts';
import { leavable } from './leavable.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-wrangler-'));
let upstream: FaultyUpstream;
let wrangler: ChildProcess;
let client: OpenAI;
let address: string;

beforeAll(async () => {
  upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
  const port = await freePort();
  const config = JSON.stringify({
    server: { heartbeat: 500 },
    providers: { up: { type: 'openai-compatible', baseUrl: upstream.baseUrl, apiKey: 'sk-up' } },
    models: { m: { targets: [{ provider: 'up', model: 'm-1' }] } },
  });
  wrangler = spawn(
    process.execPath,
    [
      'node_modules/wrangler/bin/wrangler.js',
      'dev',
      '--ip',
      '127.0.0.1',
      '--port',
      String(port),
      '--inspector-port',
      '0',
      '--persist-to',
      folder,
      '--var',
      `TIDEGATE_CONFIG:${config}`,
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, CI: 'true', WRANGLER_SEND_METRICS: 'false' },
      detached: true,
    },
  );
  let output = '';
  await new Promise<void>((resolve, reject) => {
    const read = (data: Buffer) => {
      output += data.toString();
      if (/Ready on/.test(output)) resolve();
    };
    wrangler.stdout?.on('data', read);
    wrangler.stderr?.on('data', read);
    wrangler.once('exit', () => reject(new Error(`wrangler dev ended:\n${output}`)));
  });
  address = `http://127.0.0.1:${port}/v1`;
  client = new OpenAI({ baseURL: address, apiKey: 'none', maxRetries: 0 });
});

afterAll(async () => {
  if (wrangler.pid !== undefined) process.kill(-wrangler.pid, 'SIGTERM'); // with its workerd
  await upstream.close();
  rmSync(folder, { recursive: true, force: true });
});

test('wrangler dev serves the official SDK without an account', async () => {
  const ask = { model: 'm', messages: [{ role: 'user' as const, content: 'Hi' }] };
  let text = '';
  for await (const part of await client.chat.completions.create({ ...ask, stream: true })) {
    text += part.choices[0]?.delta.content ?? '';
  }
  expect(text).toBe('Hello');
  expect((await client.chat.completions.create(ask)).choices[0]?.message.content).toBe('Hello');
  await expect(client.chat.completions.create({ ...ask, model: 'x' })).rejects.toMatchObject({ status: 404 });
});

test('a client of wrangler dev that leaves a stream frees the upstream, by the next sign of life at the latest', async () => {
  upstream.answer({ body: [sse(chunk({ role: 'assistant', content: 'first' })), 'stall'] });
  const before = upstream.requests.length;
  const leaving = new AbortController();
  const ask = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Hi' }] });
  const answer = await leavable(new URL(`${address}/chat/completions`), ask, leaving.signal);
  answer.on('error', () => {});
  await new Promise((resolve) => answer.once('data', resolve));
  const leftAt = performance.now();
  leaving.abort();
  expect(Number(await upstream.requests[before]?.closed) - leftAt).toBeLessThan(8000); // wrangler's proxies tell only who writes
});
