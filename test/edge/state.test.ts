import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  chatAnswer,
  chatJson,
  chatStream,
  done,
  type FaultyUpstream,
  faultyUpstream,
  openaiServer,
} from '../faulty-upstream.ts';
import { type Edge, startEdge } from './workers.ts';

const key = 'tg-edge-test-key-0123456789';
const secret = 'a-secret-of-two-gateways-0123456789';
const config = `
providers:
  up: { type: openai-compatible, baseUrl: "\${UP_URL}", apiKey: sk-up }
models:
  plain: { targets: [{ provider: up, model: m-1 }] }
  cached: { targets: [{ provider: up, model: m-1 }], cache: { ttl: 10m, scope: global } }
  aging: { targets: [{ provider: up, model: m-1 }], cache: { ttl: 1s, scope: global, staleWhileRevalidate: 10m } }
  watched: { targets: [{ provider: up, model: m-1 }], shadow: { target: { provider: up, model: m-2 }, percent: 100 } }
  home: { targets: [{ local: smollm2 }], fallback: [plain] }
prices: { overrides: { "up/*": { input: 10, output: 10 } } }
budgets: [{ name: small, per: key, only: [poor], usd: 0.05, period: month }]
keys: { fixed: [{ name: poor, key: tg-poor-0123456789abcdef }, { name: holder, key: tg-holder-0123456789abcdef, limits: { streams: 1 } }, { name: test, key: "${key}", limits: { requestsPerMinute: 20 } }, { name: free, key: "tg-another-key-9876543210" }] }
edge: { nodes: ["\${NODE_URL}"], secret: "${secret}" }
`;

describe('a worker with KV, D1 and Durable Objects', () => {
  let edge: Edge;
  let upstream: FaultyUpstream;
  let node: FaultyUpstream;

  beforeAll(async () => {
    [upstream, node] = await Promise.all([faultyUpstream(), faultyUpstream()]);
    const bindings = { UP_URL: upstream.baseUrl, NODE_URL: node.baseUrl };
    edge = await startEdge({ config, bindings, isolates: 2 });
  });
  afterAll(async () => {
    await edge?.close();
    await Promise.all([upstream.close(), node.close()]);
  });

  let asked = 0;
  /** Every other request reaches another isolate. */
  const chat = (body: object = {}, apiKey = 'tg-another-key-9876543210', more: Record<string, string> = {}) =>
    fetch(new URL('/v1/chat/completions', edge.urls[asked++ % 2]), {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}`, ...more },
      body: JSON.stringify({ model: 'plain', messages: [{ role: 'user', content: 'Hi' }], ...body }),
    });

  test('lets nobody in without a key', async () => {
    upstream.answer(openaiServer(['a']));
    expect((await chat({}, 'tg-wrong')).status).toBe(401);
    expect((await chat()).status).toBe(200);
  });

  test('counts limits exactly over isolates, however many ask at once, and over a restart', async () => {
    upstream.answer(openaiServer(['a']));
    const answers = await Promise.all(Array.from({ length: 50 }, () => chat({}, key)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(20);
    expect(statuses.filter((status) => status === 429)).toHaveLength(30);
    expect(Number(answers.find(({ status }) => status === 429)?.headers.get('retry-after'))).toBeGreaterThan(0);
    await Promise.all(answers.map((answer) => answer.text()));
    await new Promise((resolve) => setTimeout(resolve, 1300)); // counts are written once a second
    await edge.restart();
    const after = await chat({}, key);
    expect(after.status).toBe(429);
    await after.text();
  });

  test('holds tokens and answers at once over isolates, and gives back what was not used', async () => {
    const holder = 'tg-holder-0123456789abcdef';
    upstream.answer({ body: [chatStream(['a'], { done: false }), { wait: 700 }, done] });
    const first = await chat({ stream: true }, holder);
    const second = await chat({ stream: true }, holder);
    expect([first.status, second.status]).toEqual([200, 429]);
    await Promise.all([first.text(), second.text()]);
    upstream.answer(openaiServer(['a']));
    const free = async () => {
      const answer = await chat({}, holder);
      await answer.text();
      return answer.status;
    };
    await expect.poll(free, { timeout: 5000 }).toBe(200);
  });

  test('spends a budget to its end and not beyond, over isolates', async () => {
    upstream.answer(chatJson('rich', { usage: { prompt_tokens: 1000, completion_tokens: 1000, total_tokens: 2000 } }));
    const poor = 'tg-poor-0123456789abcdef';
    const before = upstream.requests.length;
    const statuses: number[] = [];
    for (let i = 0; i < 6; i++) {
      const answer = await chat({ max_tokens: 1000 }, poor);
      await answer.text();
      statuses.push(answer.status);
    }
    // Two cents each of five; a third could need one more than is left.
    expect(statuses).toEqual([200, 200, 429, 429, 429, 429]);
    expect(upstream.requests.length - before).toBe(2);
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
    const kv = (await edge.mf.getKVNamespace('TIDEGATE_KV')) as unknown as { list(): Promise<{ keys: unknown[] }> }; // typed for another platform
    await expect.poll(async () => (await kv.list()).keys.length).toBe(1);
  });

  test('gives a stale answer at once, and the new one that it fetches meanwhile to the next', async () => {
    const ask = async () => {
      const answer = await chat({ model: 'aging', temperature: 0 });
      const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] };
      return `${choices[0]?.message.content} ${answer.headers.get('x-tidegate-cache')}`;
    };
    upstream.answer(chatJson('first'));
    expect(await ask()).toBe('first miss');
    await new Promise((resolve) => setTimeout(resolve, 1100));
    upstream.answer(async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return chatJson('second');
    });
    const before = upstream.requests.length;
    expect(await ask()).toBe('first stale');
    await new Promise((resolve) => setTimeout(resolve, 600));
    upstream.answer(chatJson('third'));
    expect(await ask()).toMatch(/^second /);
    expect(upstream.requests.length - before).toBe(1);
  });

  test('asks anew at once where no stored answer will do, and where none was stored', async () => {
    const cut = {
      choices: [{ index: 0, message: { role: 'assistant', content: '' }, finish_reason: 'content_filter' }],
    };
    const ask = async (temperature: number, more?: Record<string, string>) => {
      const answer = await chat({ model: 'aging', temperature }, undefined, more);
      await answer.text();
      return answer.headers.get('x-tidegate-cache');
    };
    const before = upstream.requests.length;
    const sinceMs = performance.now();
    upstream.answer(chatJson('kept'));
    expect(await ask(1)).toBe('miss');
    expect(await ask(1, { 'cache-control': 'no-cache' })).toBe('miss');
    upstream.answer(chatJson('', cut));
    expect(await ask(2)).toBe('miss');
    expect(await ask(2)).toBe('miss');
    expect(upstream.requests.length - before).toBe(4);
    expect(performance.now() - sinceMs).toBeLessThan(5000); // a lock that nobody gives back lasts 15 s
  });

  test('lets the copy of a request that is only compared come to its end', async () => {
    upstream.answer(async ({ json }) => {
      const isCopy = json.model === 'm-2';
      await new Promise((resolve) => setTimeout(resolve, isCopy ? 400 : 0));
      return chatJson('a');
    });
    const before = upstream.requests.length;
    await (await chat({ model: 'watched' })).text();
    await new Promise((resolve) => setTimeout(resolve, 800));
    const copies = upstream.requests.slice(before).filter(({ json }) => json.model === 'm-2');
    expect(copies.map(({ closedAtMs }) => closedAtMs)).toEqual([undefined]);
  });

  test('books every answered request in D1', async () => {
    upstream.answer(openaiServer(['a', 'b']));
    const response = await chat({ stream: true, user: 'someone' });
    await response.text();
    const database = await edge.mf.getD1Database('TIDEGATE_DB');
    const booked = () =>
      database
        .prepare('SELECT model, target, status, outcome FROM usage WHERE request_id = ?')
        .bind(response.headers.get('x-request-id'))
        .first();
    await expect.poll(booked).toMatchObject({ model: 'plain', target: 'up/m-1', status: 200, outcome: 'ok' });
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
