import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorJson, type FaultyUpstream, faultyUpstream } from '../faulty-upstream.ts';
import { answerOf, hangs, realGateway, says } from './real-gateway.ts';

let quick: FaultyUpstream;
let slow: FaultyUpstream;
let failing: FaultyUpstream;
beforeAll(async () => {
  quick = await faultyUpstream(says('quick', 5));
  slow = await faultyUpstream(says('slow', 200));
  failing = await faultyUpstream(errorJson(500, 'down'));
});
afterAll(() => Promise.all([quick.close(), slow.close(), failing.close()]));

const replicas = (balance: string, ...of: FaultyUpstream[]) =>
  `providers: { r: { type: vllm, replicas: [${of.map(({ baseUrl }) => `"${baseUrl}"`).join(', ')}], balance: ${balance} } }
models: { m: { targets: [{ provider: r, model: x }], retry: { attempts: 0 } } }\n`;

/** Who answered how many of so many requests, a few at once. */
async function tally(ask: (i: number) => Promise<string>, requests: number, atOnce = 4) {
  const counts: Record<string, number> = {};
  for (let i = 0; i < requests; i += atOnce) {
    for (const name of await Promise.all(Array.from({ length: atOnce }, (_, j) => ask(i + j)))) {
      counts[name] = (counts[name] ?? 0) + 1;
    }
  }
  return counts;
}

describe('over real replicas, one slow and one failing', () => {
  test.each([
    { balance: 'ordered' },
    { balance: 'weighted' },
    { balance: 'random' },
    { balance: 'round-robin' },
    { balance: 'least-latency', quickShare: 0.6 },
    { balance: 'least-busy' },
    { balance: 'cheapest' },
    { balance: 'prefix-affinity' },
  ])(
    '$balance answers every request, and leaves the failing one alone once its circuit is open',
    async ({ balance, quickShare }) => {
      await using it = await realGateway(replicas(balance, failing, slow, quick));
      const before = failing.requests.length;
      const counts = await tally(async (i) => answerOf(await it.chat(`question ${i}`)), 60);
      expect((counts['quick'] ?? 0) + (counts['slow'] ?? 0)).toBe(60);
      expect(failing.requests.length - before).toBeLessThanOrEqual(12); // five in a row open it; some are under way
      if (quickShare) expect((counts['quick'] ?? 0) / 60).toBeGreaterThan(quickShare);
    },
    30_000,
  );

  test('prefix-affinity brings each conversation back to its replica', async () => {
    await using it = await realGateway(replicas('prefix-affinity', slow, quick));
    for (let conversation = 0; conversation < 6; conversation++) {
      const messages = [{ role: 'user', content: `conversation ${conversation}` }];
      const said = new Set<string>();
      for (let turn = 0; turn < 3; turn++) {
        const answer = await answerOf(await it.post('/v1/chat/completions', { messages }));
        said.add(answer);
        messages.push({ role: 'assistant', content: answer }, { role: 'user', content: 'and then?' });
      }
      expect(said.size).toBe(1);
    }
  });
});

test('a hedge frees the connection of who loses', async () => {
  await using stuck = await faultyUpstream(hangs, { beforeHead: ['stall'] });
  stuck.answer({ beforeHead: [{ wait: 20_000 }] });
  await using it = await realGateway(
    `providers:
  stuck: { type: openai-compatible, baseUrl: "${stuck.baseUrl}" }
  quick: { type: openai-compatible, baseUrl: "${quick.baseUrl}" }
models: { m: { targets: [{ provider: stuck }, { provider: quick }], hedge: { after: 100ms } } }\n`,
  );
  const response = await it.chat('hi', { stream: true });
  expect(response.headers.get('x-tidegate-target')).toBe('quick/m');
  expect(await response.text()).toContain('quick');
  await stuck.requests[0]?.closed;
});

test('active health checks take a dead replica out before anybody asks it, and bring it back', async () => {
  let alive = true;
  await using sick = await faultyUpstream(({ path }) =>
    path.endsWith('/models') && !alive ? errorJson(503, 'no') : says('sick')({ json: {} } as never),
  );
  await using it = await realGateway(
    `providers:
  sick: { type: vllm, baseUrl: "${sick.baseUrl}" }
  quick: { type: vllm, baseUrl: "${quick.baseUrl}" }
models: { m: { targets: [{ provider: sick }, { provider: quick }], health: { interval: 50ms, timeout: 2s } } }\n`,
  );
  const target = async () => (await it.chat()).headers.get('x-tidegate-target');
  expect(await target()).toBe('sick/m');
  alive = false;
  await expect.poll(target, { timeout: 10_000 }).toBe('quick/m');
  alive = true;
  await expect.poll(target, { timeout: 10_000 }).toBe('sick/m');
}, 30_000);

describe('an objective for the first token, over upstreams that are only remembered', () => {
  test('the late one is passed over for one in time; when all are late the least urgent are refused, and one may always try', async () => {
    let ms = 600;
    await using only = await faultyUpstream(says('only', () => ms));
    await using it = await realGateway(
      `providers: { only: { type: vllm, baseUrl: "${only.baseUrl}" } }
models: { m: { targets: [{ provider: only }], objective: { ttft: 200ms, shed: true } } }\n`,
    );
    const ask = (priority: string) => it.chat('hi', {}, { 'x-tidegate-priority': priority });
    expect((await ask('batch')).status).toBe(200); // nothing is known yet
    // Nobody is there: what is remembered must not keep everybody out for ever.
    const running = ask('batch');
    await only.received(2);
    const refused = await ask('batch');
    expect([refused.status, Number(refused.headers.get('retry-after')) >= 1]).toEqual([429, true]);
    expect((await refused.json()) as object).toMatchObject({ error: { code: 'overloaded' } });
    expect((await running).status).toBe(200);
    ms = 0;
    await expect.poll(async () => (await ask('batch')).status, { timeout: 10_000 }).toBe(200);
  }, 30_000);
});
