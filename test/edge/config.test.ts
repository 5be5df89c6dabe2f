import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createConfigSource } from '../../src/edge/config-source.ts';
import { type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { type Edge, startEdge } from './workers.ts';

describe('a configuration that changes under an isolate', () => {
  const source = (text: { value: string | Error }, at: { now: number }, good: string | null = null) => {
    const after: Promise<unknown>[] = [];
    const bad: string[] = [];
    const made = createConfigSource({
      read: async () => {
        if (text.value instanceof Error) throw text.value;
        return text.value;
      },
      readGood: async () => good,
      build: async (read) => {
        if (read.startsWith('bad')) throw new Error(`cannot use ${read}`);
        return read;
      },
      onBad: (error) => bad.push(String(error)),
      freshMs: 5000,
      staleMs: 30_000,
      clock: { now: () => at.now, wall: () => at.now },
    });
    return { made, bad, after, current: () => made.current((work) => void after.push(work)) };
  };

  test('is looked up behind an answer when it is no longer fresh, and before one when it is stale', async () => {
    const [text, at] = [{ value: 'one' }, { now: 0 }];
    const { current, after } = source(text, at);
    expect(await current()).toBe('one');
    text.value = 'two';
    at.now = 4000;
    expect(await current()).toBe('one');
    at.now = 6000;
    expect(await current()).toBe('one');
    await Promise.all(after);
    expect(await current()).toBe('two');
    text.value = 'three';
    at.now = 60_000;
    expect(await current()).toBe('three');
  });

  test('stays as it was while the newest cannot be used or cannot be read', async () => {
    const [text, at]: [{ value: string | Error }, { now: number }] = [{ value: 'one' }, { now: 0 }];
    const { current, bad, made } = source(text, at);
    await current();
    for (const [now, value] of [
      [40_000, 'bad'],
      [80_000, 'bad'],
      [120_000, new Error('KV is away')],
    ] as const) {
      at.now = now;
      text.value = value;
      expect(await current()).toBe('one');
    }
    expect(bad.filter((line) => line.includes('cannot use bad'))).toHaveLength(1); // told once
    expect(made.problem()).toContain('cannot use bad');
    at.now = 160_000;
    text.value = 'two';
    expect(await current()).toBe('two');
    expect(made.problem()).toBeUndefined();
  });

  test('begins with the last good one where the newest cannot be used, and not at all where there is none', async () => {
    expect(await source({ value: 'bad' }, { now: 0 }, 'good').current()).toBe('good');
    await expect(source({ value: 'bad' }, { now: 0 }).current()).rejects.toThrow('cannot use bad');
    await expect(source({ value: new Error('KV is away') }, { now: 0 }, 'good').current()).rejects.toThrow(
      'KV is away',
    );
  });
});

describe('a worker whose configuration is in KV', () => {
  const root = 'tg-root-0123456789abcdef';
  const configOf = (models: string) => `
providers: { up: { type: openai-compatible, baseUrl: "\${UP_URL}", apiKey: "\${UP_KEY}" } }
models: ${models}
keys: { fixed: [{ name: root, key: "\${ROOT_KEY}", role: admin }] }
`;
  const m = '{ targets: [{ provider: up, model: m-1 }] }';
  let edge: Edge;
  let upstream: FaultyUpstream;
  beforeAll(async () => {
    upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
    const bindings = { UP_URL: upstream.baseUrl, UP_KEY: 'sk-upstream-secret', ROOT_KEY: root };
    edge = await startEdge({ config: 'models: {}', bindings });
    await put(configOf(`{ one: ${m} }`));
  });
  afterAll(async () => {
    await edge?.close();
    await upstream?.close();
  });
  const kv = () =>
    edge.mf.getKVNamespace('TIDEGATE_KV') as unknown as Promise<{
      put(key: string, value: string): Promise<void>;
      get(key: string): Promise<string | null>;
    }>; // typed for another platform
  const put = async (text: string) => (await kv()).put('config', text);

  const call = (method: string, path: string, body?: object, key = root) =>
    fetch(new URL(path, edge.urls[0]), {
      method,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      ...(body && { body: JSON.stringify(body) }),
    });
  const chat = async (model: string, key?: string) => {
    const response = await call(
      'POST',
      '/v1/chat/completions',
      { model, messages: [{ role: 'user', content: 'private words' }] },
      key,
    );
    await response.text();
    return response.status;
  };

  test('serves by it, with secrets filled in from the bindings', async () => {
    expect(await chat('one')).toBe(200);
    expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer sk-upstream-secret');
    expect(await chat('two')).toBe(404);
  });

  test('takes a new one within seconds, keeps it when the next is broken, and begins with it after a restart', async () => {
    await put(configOf(`{ one: ${m}, two: ${m} }`));
    await expect.poll(() => chat('two'), { timeout: 30_000, interval: 500 }).toBe(200);
    await put('models: { three: { targets: [{ provider: nowhere, model: x }] } }');
    const health = async () => (await (await call('GET', '/health')).json()) as { parts: Record<string, string> };
    await expect
      .poll(async () => (await health()).parts['config'], { timeout: 30_000, interval: 500 })
      .toMatch(/invalid/);
    expect([await chat('two'), await chat('three')]).toEqual([200, 404]);
    await edge.restart();
    expect([await chat('two'), await chat('three')]).toEqual([200, 404]);
    await put(configOf(`{ one: ${m}, two: ${m} }`));
  });

  test('makes keys over the admin API that work everywhere, until they are revoked', async () => {
    const made = await call('POST', '/admin/keys', { name: 'ada' });
    const { id, key } = (await made.json()) as { id: string; key: string };
    expect(made.status).toBe(201);
    expect(await chat('one', key)).toBe(200);
    expect((await call('GET', '/admin/keys', undefined, key)).status).toBe(403);
    expect((await call('DELETE', `/admin/keys/${id}`)).status).toBe(200);
    await expect.poll(() => chat('one', key), { timeout: 10_000 }).toBe(401);
    const usage = await call('GET', '/v1/usage?by=key');
    expect(await usage.text()).toContain(id);
  });

  test.each([
    ['pulling a model', 'POST', '/api/pull', { model: 'qwen3' }],
    ['loading a model', 'POST', '/v1/models/load', { model: 'one' }],
    [
      'a batch',
      'POST',
      '/v1/batches',
      { input_file_id: 'file-x', endpoint: '/v1/chat/completions', completion_window: '24h' },
    ],
    ['the dashboard', 'GET', '/dashboard', undefined],
    ['Prometheus metrics', 'GET', '/metrics', undefined],
  ])('says openly that it has no %s', async (_, method, path, body) => {
    const response = await call(method, path, body);
    expect(response.status).toBeGreaterThanOrEqual(400);
    expect(response.status).toBeLessThan(500);
    expect((await response.text()).length).toBeGreaterThan(20);
  });

  test('keeps what D1 can keep, and refuses what is too large for it', async () => {
    const upload = (bytes: number) => {
      const form = new FormData();
      form.set('purpose', 'user_data');
      form.set('file', new Blob(['x'.repeat(bytes)]), 'a.txt');
      return fetch(new URL('/v1/files', edge.urls[0]), {
        method: 'POST',
        headers: { authorization: `Bearer ${root}` },
        body: form,
      });
    };
    const small = await upload(1000);
    const { id } = (await small.json()) as { id: string };
    expect((await (await call('GET', `/v1/files/${id}/content`)).text()).length).toBe(1000);
    expect((await upload(3_000_000)).status).toBe(413);
    const stored = await call('POST', '/v1/chat/completions', {
      model: 'one',
      store: true,
      messages: [{ role: 'user', content: 'x' }],
    });
    const completion = (await stored.json()) as { id: string };
    expect((await call('GET', `/v1/chat/completions/${completion.id}`)).status).toBe(200);
    const line = JSON.stringify({
      custom_id: 'a',
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'one', messages: [{ role: 'user', content: 'x' }] },
    });
    const form = new FormData();
    form.set('purpose', 'batch');
    form.set('file', new Blob([line]), 'b.jsonl');
    const file = await fetch(new URL('/v1/files', edge.urls[0]), {
      method: 'POST',
      headers: { authorization: `Bearer ${root}` },
      body: form,
    });
    const { id: input } = (await file.json()) as { id: string };
    const batch = await call('POST', '/v1/batches', {
      input_file_id: input,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    expect(batch.status).toBe(400);
    expect(await batch.text()).toContain('do not run at the edge');
  });

  test('logs each request as one line, without keys and without what was said', () => {
    const log = edge.logged.join('\n');
    expect(log).toContain('"outcome":"ok"');
    for (const secret of [root, 'sk-upstream-secret', 'private words', 'Hello']) expect(log).not.toContain(secret);
  });
});
