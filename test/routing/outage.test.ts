import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorJson, type FaultyUpstream, faultyUpstream } from '../faulty-upstream.ts';
import { answerOf, realGateway, says } from './real-gateway.ts';

const names = ['a', 'b', 'c'] as const;
const up = {} as Record<(typeof names)[number], FaultyUpstream>; // filled in beforeAll
beforeAll(async () => {
  for (const name of names) up[name] = await faultyUpstream();
});
afterAll(() => Promise.all(names.map((name) => up[name].close())));

const providers = () =>
  `providers:\n${names.map((name) => `  ${name}: { type: openai-compatible, baseUrl: "${up[name].baseUrl}" }`).join('\n')}\n`;
const targets = (...of: (typeof names)[number][]) =>
  `[${of.map((name) => `{ provider: ${name}, model: x }`).join(', ')}]`;
const down = errorJson(500, 'down');

describe('when nobody answers', () => {
  test('a stale answer is given where the route allows it, marked as such, whole or streamed', async () => {
    for (const name of names) up[name].answer(says('fresh'));
    await using it = await realGateway(
      `${providers()}models:
  m: { targets: ${targets('a', 'b')}, retry: { attempts: 0 }, cache: { ttl: 2s, staleIfError: 1h } }
  strict: { targets: ${targets('a', 'b')}, retry: { attempts: 0 }, cache: { ttl: 2s } }\n`,
    );
    const ask = (model: string, stream = false) => it.chat('What is the tide?', { model, stream, temperature: 0 });
    for (const model of ['strict', 'm']) {
      const first = await ask(model);
      expect([first.headers.get('x-tidegate-cache'), await answerOf(first)]).toEqual(['miss', 'fresh']);
    }
    expect((await ask('m')).headers.get('x-tidegate-cache')).toBe('hit');
    await new Promise((resolve) => setTimeout(resolve, 2100));
    for (const name of names) up[name].answer(down);

    const stale = await ask('m');
    expect([stale.status, stale.headers.get('x-tidegate-cache'), await answerOf(stale)]).toEqual([
      200,
      'stale',
      'fresh',
    ]);
    const streamed = await ask('m', true);
    expect(streamed.headers.get('x-tidegate-cache')).toBe('stale');
    expect(await streamed.text()).toMatch(/fresh[\s\S]*\[DONE\]/);
    expect((await it.chat('Another question', { temperature: 0 })).status).toBe(502);
    expect((await ask('strict')).status).toBe(502);

    // With every circuit open nobody is asked any more, and the stale answer is still given.
    await Promise.all(Array.from({ length: 12 }, () => it.chat(String(Math.random()))));
    const calls = up.a.requests.length + up.b.requests.length;
    const still = await ask('m');
    expect([still.headers.get('x-tidegate-cache'), up.a.requests.length + up.b.requests.length]).toEqual([
      'stale',
      calls,
    ]);
    const refused = await ask('strict');
    expect([refused.status, Number(refused.headers.get('retry-after'))]).toEqual([503, expect.any(Number)]);
    expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(5);

    for (const name of names) up[name].answer(says('new'));
    const back = async () => answerOf(await ask('m'));
    await expect.poll(back, { timeout: 15_000, interval: 300 }).toBe('new'); // one probe, half open
  }, 40_000);

  test('upstreams are asked less than 1.2 times per request', async () => {
    for (const name of names) up[name].answer(down);
    await using it = await realGateway(
      `${providers()}models: { m: { targets: ${targets('a', 'b', 'c')}, hedge: { after: 50ms } } }\n`,
    );
    const before = names.reduce((sum, name) => sum + up[name].requests.length, 0);
    let asked = 0;
    for (let wave = 0; wave < 25; wave++) {
      const responses = await Promise.all(Array.from({ length: 20 }, () => it.chat()));
      asked += responses.length;
      expect(responses.every(({ status }) => status === 502 || status === 503)).toBe(true);
    }
    const calls = names.reduce((sum, name) => sum + up[name].requests.length, 0) - before;
    expect(calls / asked).toBeLessThan(1.2);
  }, 40_000);

  test('half open, exactly one of many at once is let through; the others are told when to come back', async () => {
    up.a.answer(down);
    await using it = await realGateway(
      `${providers()}models: { m: { targets: ${targets('a')}, retry: { attempts: 0 } } }\n`,
    );
    for (let i = 0; i < 5; i++) expect((await it.chat()).status).toBe(502);
    const refused = await it.chat();
    const seconds = Number(refused.headers.get('retry-after'));
    expect([refused.status, seconds > 0 && seconds <= 5]).toEqual([503, true]);
    const before = up.a.requests.length;
    let answerProbe = () => {};
    const mayAnswer = new Promise<void>((resolve) => {
      answerProbe = resolve;
    });
    up.a.answer(async (request) => {
      await mayAnswer;
      return says('back')(request);
    });
    await new Promise((resolve) => setTimeout(resolve, 5100));
    const statuses: number[] = [];
    const many = Array.from({ length: 40 }, async () => statuses.push((await it.chat()).status));
    await expect.poll(() => statuses, { timeout: 15_000 }).toEqual(Array(39).fill(503));
    expect(up.a.requests.length - before).toBe(1);
    answerProbe();
    await Promise.all(many);
    expect(statuses.at(-1)).toBe(200);
    expect((await it.chat()).status).toBe(200);
  }, 40_000);

  test('a client’s own mistakes never open a circuit', async () => {
    up.a.answer(errorJson(400, 'no such parameter'));
    await using it = await realGateway(`${providers()}models: { m: { targets: ${targets('a', 'b')} } }\n`);
    const before = up.b.requests.length;
    for (let i = 0; i < 30; i++) expect((await it.chat()).status).toBe(400);
    up.a.answer(says('a'));
    expect(await answerOf(await it.chat())).toBe('a');
    expect(up.b.requests.length).toBe(before);
  });
});

test('a rate limit of an upstream is honoured: a short one is waited for, a long one sends the traffic on', async () => {
  up.a.answer(errorJson(429, 'slow down', {}, { 'retry-after': '1' }), says('a'));
  up.b.answer(says('b'));
  await using it = await realGateway(
    `${providers()}models:\n  m: { targets: ${targets('a')} }\n  both: { targets: ${targets('a', 'b')} }\n`,
  );
  const startedMs = performance.now();
  expect(await answerOf(await it.chat())).toBe('a');
  expect(performance.now() - startedMs).toBeGreaterThan(900);

  up.a.answer(errorJson(429, 'slow down', {}, { 'retry-after': '30' }));
  expect(await answerOf(await it.chat('x', { model: 'both' }))).toBe('b');
  const calls = up.a.requests.length;
  expect(await answerOf(await it.chat('x', { model: 'both' }))).toBe('b');
  expect(up.a.requests.length).toBe(calls); // it asked for silence
  const alone = await it.chat();
  expect([alone.status, Number(alone.headers.get('retry-after')) > 25]).toEqual([429, true]);
}, 30_000);
