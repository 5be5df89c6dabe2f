import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, chatAnswer, chunk, type FaultyUpstream, faultyUpstream, sse } from '../faulty-upstream.ts';
import { compatibility, lazyPieces, workerModules } from './bundle.ts';
import { leavable } from './leavable.ts';

const config = `
providers:
  up: { type: openai-compatible, baseUrl: "\${UP_URL}", apiKey: "\${UP_KEY}" }
models:
  m: { targets: [{ provider: up, model: m-1 }] }
  shaped: { targets: [{ provider: up, model: m-1 }], filters: [shape] }
filters:
  shape: { kind: json }
`;

describe('the worker, in workerd', () => {
  let mf: Miniflare;
  let url: URL;
  let upstream: FaultyUpstream;

  beforeAll(async () => {
    upstream = await faultyUpstream();
    mf = new Miniflare({
      modules: (await workerModules()).map((module) => ({ ...module })),
      ...compatibility,
      compatibilityFlags: [...compatibility.compatibilityFlags, lazyPieces],
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

  test("checks an answer against the client's schema", async () => {
    const schema = { properties: { a: { type: 'string', pattern: '^(a+)+$' } }, required: ['a'] };
    const shaped = { model: 'shaped', response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } };
    for (const [text, reason] of [
      ['{"a": "aaa"}', 'stop'],
      [`{"a": "${'a'.repeat(40)}!"}`, 'content_filter'],
    ] as const) {
      upstream.answer(chatAnswer([text]));
      const { choices } = (await (await chat(shaped)).json()) as { choices: object[] };
      expect(choices[0]).toMatchObject({ finish_reason: reason });
    }
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

  test('sends what it has at once', async () => {
    upstream.answer({ body: [sse(chunk({ role: 'assistant', content: 'first' })), 'stall'] });
    const response = await chat({ stream: true });
    const reader = response.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain('first');
    await reader?.cancel();
  });

  const beginning = sse(chunk({ role: 'assistant', content: 'first' }));
  test.each<{ readonly when: string; readonly answer: Answer }>([
    { when: 'before the upstream has answered', answer: { beforeHead: [{ wait: 5000 }] } },
    { when: 'before the first event', answer: { body: ['stall'] } },
    { when: 'in a silence', answer: { body: [beginning, 'stall'] } },
    { when: 'while text flows', answer: { body: [{ repeat: beginning, everyMs: 20 }] } },
  ])('leaves the upstream at once when its client leaves $when', async ({ answer }) => {
    upstream.answer(answer);
    const before = upstream.requests.length;
    const client = new AbortController();
    const body = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Hi' }] });
    leavable(new URL('/v1/chat/completions', url), body, client.signal).then(
      (response) => response.on('error', () => {}).resume(),
      () => {}, // left before it was answered
    );
    await upstream.received(before + 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const leftAt = performance.now();
    client.abort();
    expect(((await upstream.requests[before]?.closed) ?? Number.POSITIVE_INFINITY) - leftAt).toBeLessThan(1000);
  });

  test('refuses bad bodies and unknown models in the client’s envelope', async () => {
    expect((await chat({ messages: 7 })).status).toBe(400);
    const unknown = await chat({ model: 'nope' });
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ error: { code: 'model_not_found', param: 'model' } });
  });
});
