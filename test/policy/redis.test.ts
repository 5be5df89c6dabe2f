import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisStore } from '../../src/cache/redis.ts';
import { createResponseCache } from '../../src/cache/response-cache.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { connectRedis } from '../../src/core/redis.node.ts';
import type { Redis } from '../../src/core/redis.ts';
import type { Run } from '../../src/core/run.ts';
import { sleep } from '../../src/core/signals.ts';
import { startGateway } from '../../src/node.ts';
import type { Claim } from '../../src/policy/counters.ts';
import { memoryCounters } from '../../src/policy/counters-memory.ts';
import { redisCounters, withFallback } from '../../src/policy/counters-redis.ts';
import { faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { hasServer, type Server, scratch, startRedis } from '../ledger/databases.ts';
import { drain } from '../observability/harness.ts';
import { ask, contextOf } from '../request.ts';

describe.runIf(hasServer('redis-server'))('several gateways on one Redis', () => {
  let server: Server;
  const clients: Redis[] = [];
  const connect = async () => {
    const client = await connectRedis(server.url);
    clients.push(client);
    return client;
  };
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server.stop();
  });

  const rate = (amount: number, key: string, limit = 100): Claim => ({
    kind: 'rate',
    key,
    amount,
    limit,
    windowMs: 60_000,
  });

  test('two gateways admit exactly the limit together, however many ask at once', async () => {
    const gateways = [redisCounters(await connect()), redisCounters(await connect())];
    const asked = Array.from({ length: 400 }, (_, i) =>
      gateways[i % 2]?.reserve([rate(1, 'both'), rate(3, 'tokens', 900)]),
    );
    const admitted = (await Promise.all(asked)).filter((reservation) => reservation && !reservation.refused);
    expect(admitted).toHaveLength(100);
    const tokens = await gateways[0]?.reserve([rate(600, 'tokens', 900)]);
    expect(tokens?.refused).toBeUndefined(); // 300 taken by the admitted, none by the refused
  });

  test('says what memory says: remaining, reset, retry-after, refunds, budgets, slots', async () => {
    const memory = memoryCounters();
    const redis = redisCounters(await connect());
    const budget = (amount: number): Claim => ({
      kind: 'budget',
      key: 'b',
      amount,
      limit: 1e12,
      endsInMs: 3_600_000,
      initial: 4e11,
    });
    const slot = (holder: string): Claim => ({ kind: 'slots', key: 's', limit: 1, holder, leaseMs: 60_000 });
    for (const counters of [memory, redis]) {
      const first = await counters.reserve([rate(40, 'r'), budget(5e11), slot('a')]);
      expect(first.refused).toBeUndefined();
      expect(first.states.map(({ remaining }) => remaining)).toEqual([60, 1e11, 1]);
      expect(first.states[0]?.resetMs).toBe(61_000);
      expect((await counters.reserve([rate(1, 'r'), budget(2e11)])).refused?.index).toBe(1);
      expect((await counters.reserve([rate(1, 'r'), slot('b')])).refused?.index).toBe(1);
      const over = await counters.reserve([rate(61, 'r')]);
      expect(over.refused?.retryAfterMs).toBeGreaterThan(59_000);
      expect(over.refused?.retryAfterMs).toBeLessThanOrEqual(61_000);
      const [, state] = await counters.settle(first.at, [
        { kind: 'rate', key: 'r', amount: -30, windowMs: 60_000 },
        { kind: 'budget', key: 'b', amount: -4e11, limit: 1e12 },
        { kind: 'slots', key: 's', holder: 'a' },
      ]);
      expect(state?.remaining).toBe(5e11);
      const second = await counters.reserve([rate(1, 'r'), budget(1e11), slot('b')]);
      expect(second.states.map(({ remaining }) => remaining)).toEqual([89, 4e11, 1]);
    }
  });

  test('keeps the place of an answer that goes on in silence, and only as long as it goes on', async () => {
    const counters = redisCounters(await connect());
    const slot = (holder: string) => ({ kind: 'slots' as const, key: 'silent', limit: 1, holder, leaseMs: 200 });
    const pause = (ms: number) => sleep(ms, new AbortController().signal);
    await counters.reserve([slot('thinking')]);
    for (let i = 0; i < 10; i++) {
      await pause(60);
      counters.renew?.(slot('thinking'));
    }
    expect((await counters.reserve([slot('next')])).refused).toBeDefined();
    counters.renew?.(slot('never there')); // gives nobody a place
    await expect
      .poll(async () => (await counters.reserve([slot('next')])).refused, { timeout: 5000, interval: 50 })
      .toBeUndefined();
  });

  test('tells who finds all places taken when one is going to be free, from what both have seen', async () => {
    const [one, two] = [redisCounters(await connect()), redisCounters(await connect())];
    const slot = (holder: string): Claim => ({ kind: 'slots', key: 'wait', limit: 1, holder, leaseMs: 60_000 });
    const pause = (ms: number) => sleep(ms, new AbortController().signal);
    for (const holder of ['a', 'b', 'c']) {
      const { at } = await one.reserve([slot(holder)]);
      await pause(400);
      await one.settle(at, [{ kind: 'slots', key: 'wait', holder }]);
    }
    await one.reserve([slot('running')]);
    await pause(100);
    const wait = (await two.reserve([slot('late')])).refused?.retryAfterMs ?? 0;
    expect(wait).toBeGreaterThan(50);
    expect(wait).toBeLessThan(700);
    expect((await two.reserve([slot('late')])).refused).toBeDefined();
  });

  test('a place of a gateway that crashed is free again when its lease ends', async () => {
    const redis = redisCounters(await connect());
    const slot = (holder: string): Claim => ({ kind: 'slots', key: 'lease', limit: 1, holder, leaseMs: 100 });
    await redis.reserve([slot('crashed')]);
    expect((await redis.reserve([slot('next')])).refused).toBeDefined();
    await sleep(150, new AbortController().signal);
    expect((await redis.reserve([slot('next')])).refused).toBeUndefined();
  });

  const slow =
    (calls: { count: number }): ((_: unknown, signal: AbortSignal) => Promise<Run>) =>
    async (_, signal) => {
      const n = ++calls.count;
      await sleep(30, signal);
      async function* events(): AsyncGenerator<CompletionEvent> {
        for (const text of ['an', 'swer', String(n)]) {
          yield { type: 'text-delta', choice: 0, text };
          await sleep(20, signal);
        }
        yield { type: 'finish', choice: 0, reason: 'stop' };
      }
      return { target: 'up/m', attempts: [], cache: 'bypass', headers: {}, events: events() };
    };
  const route = (name: string) => ({ name, filters: [], cache: { ttlMs: 60_000, scope: 'global' as const } });
  const textOf = async (run: Run) =>
    (await drain(run.events)).map((event) => (event.type === 'text-delta' ? event.text : '')).join('');

  test('fifty equal misses at two gateways are one call, and the answer serves both', async () => {
    const caches = [
      createResponseCache({ store: redisStore(await connect()) }),
      createResponseCache({ store: redisStore(await connect()) }),
    ];
    const calls = { count: 0 };
    const runs = Array.from({ length: 50 }, async (_, i) => {
      const run = await caches[i % 2]?.through(ask(), route('flight'), contextOf(), slow(calls));
      return run && textOf(run);
    });
    expect(new Set(await Promise.all(runs))).toEqual(new Set(['answer1']));
    expect(calls.count).toBe(1);
    const hit = await caches[0]?.through(ask(), route('flight'), contextOf(), slow(calls));
    expect(hit?.cache).toBe('hit');
  });

  test('when the gateway that makes an answer gives up, the other one makes it', async () => {
    const [one, two] = [
      createResponseCache({ store: redisStore(await connect()) }),
      createResponseCache({ store: redisStore(await connect()) }),
    ];
    const calls = { count: 0 };
    const leaving = new AbortController();
    const first = one
      .through(ask(), route('leaving'), contextOf({ signal: leaving.signal }), slow(calls))
      .catch(() => {});
    await expect.poll(() => calls.count, { interval: 1 }).toBe(1);
    const second = two.through(ask(), route('leaving'), contextOf(), slow(calls));
    leaving.abort();
    await first;
    expect(await textOf(await second)).toBe('answer2');
  });

  test('two whole gateways hold one limit together, and answer equal requests with one call', async () => {
    const folder = scratch();
    await using upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
    const file = join(folder.path, 'tidegate.yaml');
    writeFileSync(
      file,
      `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-test } }
models:
  demo: { targets: [{ provider: up, model: m }] }
  kept: { targets: [{ provider: up, model: m }], cache: { ttl: 1m } }
keys: { fixed: [{ name: test, key: tg-redis-test-0123456789, limits: { requestsPerMinute: 60 } }, { name: free, key: tg-redis-free-0123456789 }] }
limits: { store: "${server.url}" }
cache: { store: "${server.url}" }
`,
    );
    const start = () => startGateway({ port: 0, configFile: file, log: { level: 'silent' } });
    const gateways = await Promise.all([start(), start()]);
    const send = async (i: number, model: string, key: string) => {
      const response = await fetch(`${gateways[i % 2]?.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
      });
      await response.text();
      return response.status;
    };
    const statuses = await Promise.all(
      Array.from({ length: 150 }, (_, i) => send(i, 'demo', 'tg-redis-test-0123456789')),
    );
    expect(statuses.filter((status) => status === 200)).toHaveLength(60);
    expect(statuses.filter((status) => status === 429)).toHaveLength(90);
    const before = upstream.requests.length;
    const kept = await Promise.all(Array.from({ length: 40 }, (_, i) => send(i, 'kept', 'tg-redis-free-0123456789')));
    expect(new Set(kept)).toEqual(new Set([200]));
    expect(upstream.requests.length - before).toBe(1);
    await Promise.all(gateways.map((gateway) => gateway.close()));
    folder.remove();
  });

  test('a gateway that is told of Redis in its file counts and keeps answers there from then on', async () => {
    const folder = scratch();
    await using upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
    const file = join(folder.path, 'tidegate.yaml');
    const write = (store: string) =>
      writeFileSync(
        file,
        `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-test } }
models: { demo: { targets: [{ provider: up, model: m }] } }
limits: { store: "${store}", perKey: { requestsPerMinute: 50 } }
cache: { store: "${store}", response: { ttl: 1m, scope: global } }
`,
      );
    write('memory');
    const start = () => startGateway({ port: 0, configFile: file, log: { level: 'silent' } });
    const first = await start();
    const ask = async ({ url }: { url: string }, content: string) => {
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'demo', messages: [{ role: 'user', content }] }),
      });
      await response.text();
      return [response.headers.get('x-tidegate-cache'), response.headers.get('x-ratelimit-remaining-requests')];
    };
    expect(await ask(first, 'a')).toEqual(['miss', '49']);
    write(server.url);
    expect(await first.reload()).toEqual({ restart: [] });
    expect(await ask(first, 'b')).toEqual(['miss', '49']); // another count has begun
    const second = await start();
    expect(await ask(second, 'b')).toEqual(['hit', '48']);
    await Promise.all([first.close(), second.close()]);
    folder.remove();
  });

  test('while Redis is away the gateway counts and answers by itself, and comes back to it', async () => {
    const own = await startRedis();
    const client = await connectRedis(own.url);
    clients.push(client);
    const counters = withFallback(redisCounters(client), memoryCounters());
    const cache = createResponseCache({ store: redisStore(client) });
    const calls = { count: 0 };
    const answer = async () => textOf(await cache.through(ask(), route('away'), contextOf(), slow(calls)));
    expect((await counters.reserve([rate(60, 'away')])).states[0]?.remaining).toBe(40);
    await own.kill();
    const alone = await counters.reserve([rate(70, 'away')]);
    expect(alone.states[0]?.remaining).toBe(30);
    await counters.settle(alone.at, [{ kind: 'rate', key: 'away', amount: -20, windowMs: 60_000 }]);
    expect((await counters.reserve([rate(50, 'away')])).refused).toBeUndefined();
    expect(await answer()).toBe('answer1');
    await own.start();
    await expect.poll(() => client.send(['PING']).catch(() => 'away'), { timeout: 10_000 }).toBe('PONG');
    expect((await counters.reserve([rate(60, 'away')])).states[0]?.remaining).toBe(40); // scripts are sent again
    await own.stop();
  });

  test('a Redis that hangs holds nobody up for longer than a moment, and is used again when it answers', async () => {
    const own = await startRedis();
    const client = await connectRedis(own.url);
    clients.push(client);
    const counters = withFallback(redisCounters(client), memoryCounters());
    const cache = createResponseCache({ store: redisStore(client) });
    const calls = { count: 0 };
    const answer = async () => textOf(await cache.through(ask(), route('hangs'), contextOf(), slow(calls)));
    expect((await counters.reserve([rate(60, 'hangs')])).states[0]?.remaining).toBe(40);
    for (const longer of [0, 4000]) {
      own.pause();
      const since = performance.now();
      expect((await counters.reserve([rate(1, 'hangs')])).at).toBeLessThan(0); // counted here
      expect(performance.now() - since).toBeLessThan(3000);
      const then = performance.now();
      await Promise.all(Array.from({ length: 50 }, () => counters.reserve([rate(0, 'hangs')])));
      expect(await answer()).toMatch(/^answer/);
      expect(performance.now() - then).toBeLessThan(900); // only the first ones waited
      await sleep(longer, new AbortController().signal); // the connection is made anew meanwhile
      own.resume();
      await expect.poll(() => client.send(['PING']).catch(() => 'away'), { timeout: 15_000 }).toBe('PONG');
      expect((await counters.reserve([rate(0, 'hangs')])).at).toBeGreaterThan(0);
    }
    await own.stop();
  }, 60_000);
});
