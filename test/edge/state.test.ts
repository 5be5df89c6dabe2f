import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chatAnswer, chatJson, type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { bundleWorker, compatibility } from './bundle.ts';

const key = 'tg-edge-test-key-0123456789';
const secret = 'a-secret-of-two-gateways-0123456789';
const config = `
providers:
  up: { type: openai-compatible, baseUrl: "\${UP_URL}", apiKey: sk-up }
models:
  plain: { targets: [{ provider: up, model: m-1 }] }
  cached: { targets: [{ provider: up, model: m-1 }], cache: { ttl: 10m, scope: global } }
  home: { targets: [{ local: smollm2 }], fallback: [plain] }
keys: { fixed: [{ name: test, key: "${key}", limits: { requestsPerMinute: 20 } }, { name: free, key: "tg-another-key-9876543210" }] }
edge: { nodes: ["\${NODE_URL}"], secret: "${secret}" }
`;

describe('a worker with KV, D1 and a Durable Object', () => {
  let mf: Miniflare;
  let url: URL;
  let upstream: FaultyUpstream;
  let node: FaultyUpstream;

  beforeAll(async () => {
    [upstream, node] = await Promise.all([faultyUpstream(), faultyUpstream()]);
    const { code } = await bundleWorker();
    mf = new Miniflare({
      modules: [{ type: 'ESModule', path: 'worker.mjs', contents: new TextDecoder().decode(code) }],
      ...compatibility,
      cf: false,
      bindings: { TIDEGATE_CONFIG: config, UP_URL: upstream.baseUrl, NODE_URL: node.baseUrl },
      kvNamespaces: ['TIDEGATE_KV'],
      d1Databases: ['TIDEGATE_DB'],
      durableObjects: { TIDEGATE_STATE: 'TidegateState' },
      handleRuntimeStdio: () => {},
    });
    url = await mf.ready;
  });
  afterAll(async () => {
    await mf.dispose();
    await Promise.all([upstream.close(), node.close()]);
  });

  const chat = (body: object = {}, apiKey = 'tg-another-key-9876543210') =>
    fetch(new URL('/v1/chat/completions', url), {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
      body: JSON.stringify({ model: 'plain', messages: [{ role: 'user', content: 'Hi' }], ...body }),
    });

  test('lets nobody in without a key', async () => {
    upstream.answer(openaiServer(['a']));
    expect((await chat({}, 'tg-wrong')).status).toBe(401);
    expect((await chat()).status).toBe(200);
  });

  test('counts limits exactly, however many ask at once', async () => {
    upstream.answer(openaiServer(['a']));
    const answers = await Promise.all(Array.from({ length: 50 }, () => chat({}, key)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(20);
    expect(statuses.filter((status) => status === 429)).toHaveLength(30);
    expect(Number(answers.find(({ status }) => status === 429)?.headers.get('retry-after'))).toBeGreaterThan(0);
    await Promise.all(answers.map((answer) => answer.text()));
  });

  test('asks the upstream once for what many ask at once, and keeps the answer', async () => {
    upstream.answer(async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      return chatJson('shared');
    });
    const before = upstream.requests.length;
    const body = { model: 'cached', temperature: 0, seed: 1, messages: [{ role: 'user', content: 'once?' }] };
    const answers = await Promise.all(Array.from({ length: 12 }, () => chat(body)));
    for (const answer of answers) {
      expect(
        ((await answer.json()) as { choices: { message: { content: string } }[] }).choices[0]?.message.content,
      ).toBe('shared');
    }
    expect(upstream.requests.length - before).toBe(1);
    const again = await chat(body);
    expect(again.headers.get('x-tidegate-cache')).toBe('hit');
    await again.text();
    const kv = (await mf.getKVNamespace('TIDEGATE_KV')) as unknown as { list(): Promise<{ keys: unknown[] }> }; // typed for another platform
    await expect.poll(async () => (await kv.list()).keys.length).toBe(1);
  });

  test('books every answered request in D1', async () => {
    upstream.answer(openaiServer(['a', 'b']));
    const response = await chat({ stream: true, user: 'someone' });
    await response.text();
    const database = await mf.getD1Database('TIDEGATE_DB');
    const row = await database
      .prepare('SELECT model, target, status, outcome FROM usage WHERE request_id = ?')
      .bind(response.headers.get('x-request-id'))
      .first();
    expect(row).toMatchObject({ model: 'plain', target: 'up/m-1', status: 200, outcome: 'ok' });
  });

  test('reaches a gateway with an engine by signed requests, and an upstream when that is down', async () => {
    node.answer(chatAnswer(['from home']));
    const response = await chat({ model: 'home', stream: true });
    expect(await response.text()).toContain('from home');
    expect(response.headers.get('x-tidegate-target')).toBe('node#1/smollm2');
    const { authorization } = node.requests.at(-1)?.headers ?? {};
    expect(authorization).toMatch(/^Bearer tgs-/);
    expect(authorization).not.toContain(secret);

    node.answer({ status: 503 });
    upstream.answer(chatAnswer(['from afar']));
    const other = await chat({ model: 'home', stream: true });
    expect(await other.text()).toContain('from afar');
    expect(other.headers.get('x-tidegate-target')).toBe('up/m-1');
  });
});
