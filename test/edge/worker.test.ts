import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chatAnswer, chunk, type FaultyUpstream, faultyUpstream, sse } from '../faulty-upstream.ts';
import { bundleWorker } from './bundle.ts';

const config = `
providers:
  up: { type: openai-compatible, baseUrl: "\${UP_URL}", apiKey: "\${UP_KEY}" }
models:
  m: { targets: [{ provider: up, model: m-1 }] }
`;

describe('the worker, in workerd', () => {
  let mf: Miniflare;
  let url: URL;
  let upstream: FaultyUpstream;

  beforeAll(async () => {
    upstream = await faultyUpstream();
    const { code } = await bundleWorker();
    mf = new Miniflare({
      modules: [{ type: 'ESModule', path: 'worker.mjs', contents: new TextDecoder().decode(code) }],
      compatibilityDate: '2026-04-21',
      cf: false,
      bindings: { TIDEGATE_CONFIG: config, UP_URL: upstream.baseUrl, UP_KEY: 'sk-secret' },
      handleRuntimeStdio: () => {},
    });
    url = await mf.ready;
  });
  afterAll(async () => {
    await mf.dispose();
    await upstream.close();
  });

  const chat = (body: object = {}, init: RequestInit = {}) =>
    fetch(new URL('/v1/chat/completions', url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hi' }], ...body }),
      ...init,
    });

  test('streams an upstream’s answer with its key and model name', async () => {
    upstream.answer(chatAnswer(['Hel', 'lo']));
    const response = await chat({ stream: true });
    expect(response.status).toBe(200);
    expect(response.headers.get('x-tidegate-target')).toBe('up/m-1');
    const text = await response.text();
    expect(text).toContain('"content":"Hel"');
    expect(text.match(/finish_reason":"stop"|\[DONE\]/g)).toEqual(['finish_reason":"stop"', '[DONE]']);
    const request = upstream.requests.at(-1);
    expect(request?.headers.authorization).toBe('Bearer sk-secret');
    expect(request?.json).toMatchObject({ model: 'm-1', stream: true });
  });

  test('gives an upstream’s failure as an error, before and after the first byte', async () => {
    upstream.answer({ status: 500, body: ['{"error":{"message":"broken"}}'] });
    expect((await chat({ stream: true })).status).toBe(502);
    upstream.answer({ body: [sse(chunk({ role: 'assistant', content: 'Hel' })), { wait: 50 }, 'reset'] });
    const text = await (await chat({ stream: true })).text();
    expect(text).toContain('"error"');
    expect(text).not.toContain('[DONE]');
  });

  test('sends what it has at once, and leaves the upstream when its client leaves', async () => {
    upstream.answer({ body: [sse(chunk({ role: 'assistant', content: 'first' })), 'stall'] });
    const client = new AbortController();
    const response = await chat({ stream: true }, { signal: client.signal });
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain('first');
    client.abort();
    await upstream.requests.at(-1)?.closed;
  });

  test('refuses bad bodies and unknown models in the client’s envelope', async () => {
    expect((await chat({ messages: 7 })).status).toBe(400);
    const unknown = await chat({ model: 'nope' });
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ error: { code: 'model_not_found', param: 'model' } });
  });
});
