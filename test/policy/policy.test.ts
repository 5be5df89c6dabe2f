import { describe, expect, test, vi } from 'vitest';
import { nodeDigest } from '../../src/core/digest.node.ts';
import type { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { noCapabilities, type Provider } from '../../src/core/provider.ts';
import type { RequestRecord } from '../../src/core/record.ts';
import { anonymous, type Caller } from '../../src/core/run.ts';
import type { BudgetRule } from '../../src/policy/budgets.ts';
import { memoryCounters } from '../../src/policy/counters-memory.ts';
import { createKeyring } from '../../src/policy/keyring.ts';
import { createPolicy, type PolicyOptions } from '../../src/policy/policy.ts';
import { createPrices } from '../../src/policy/price.ts';
import type { BudgetAlert } from '../../src/policy/reserve.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { answerOf, drain, gatewayWith, scripted, steppedClock } from '../observability/harness.ts';
import { ask, contextOf } from '../request.ts';

const keyring = createKeyring({ digest: nodeDigest() });
const ada: Caller = { id: 'key_ada', name: 'ada', role: 'caller', team: 'sea', tags: [], tenant: 'key_ada' };
const words = (n: number) => answerOf(...Array.from({ length: n }, () => 'tide'));

/** A gateway with a policy, on a clock that stands still; `dear/m` costs a dollar per thousand completion tokens. */
function limited(options: Partial<PolicyOptions>, steps = words(3)) {
  const clock = steppedClock();
  const records: RequestRecord[] = [];
  const prices = createPrices({
    overrides: { 'dear/*': { input: 0, output: 1000 }, 'cheap/*': { input: 0, output: 0 } },
  });
  const cheap = { name: 'cheap/m', provider: scripted('cheap', words(3)), model: 'm' };
  const dear = { name: 'dear/m', provider: scripted('dear', steps), model: 'm' };
  const routing = createRouting(
    [
      { name: 'demo', filters: [], targets: [dear] },
      { name: 'small', filters: [], targets: [cheap] },
    ],
    clock,
  );
  const policy = createPolicy({
    keyring,
    prices,
    clock,
    targetsOf: (model) => [model === 'small' ? 'cheap/m' : 'dear/m'],
    findRoute: (model) => routing.find(model),
    ...options,
  });
  const gateway = gatewayWith({
    providers: [],
    clock,
    sinks: [(record) => records.push(record)],
    deps: { policy, routing },
  });
  const send = (change = {}, caller: Caller = ada, signal = new AbortController().signal) =>
    gateway.stream(ask(change), contextOf({ caller, requestId: 'the-same', startedMs: clock.now(), signal }));
  return { send, clock, records, policy };
}

const budget = (change: Partial<BudgetRule> = {}): BudgetRule => ({
  name: 'b',
  per: 'key',
  period: 'day',
  usd: 1,
  warnAt: [],
  ...change,
});

describe('limits', () => {
  test('requests per minute, with the headers of OpenAI and a retry-after that is true', async () => {
    const { send, clock } = limited({ limits: { defaults: { requestsPerMinute: 2 } } });
    const first = await send();
    expect(first.headers).toMatchObject({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
      'x-ratelimit-reset-requests': '1m1s',
    });
    await drain(first.events);
    await send();
    const refusal = await send().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ status: 429, code: 'rate_limit_exceeded', type: 'requests' });
    clock.advance((refusal as { retryAfterMs: number }).retryAfterMs);
    await expect(send()).resolves.toBeDefined();
  });

  test('one key’s limit is not another’s, but a team shares its own', async () => {
    const { send } = limited({
      limits: { defaults: { requestsPerMinute: 1 }, teams: { sea: { requestsPerMinute: 2 } } },
    });
    const named = (id: string): Caller => ({ ...ada, id });
    await send({}, named('a'));
    await expect(send({}, named('a'))).rejects.toMatchObject({ status: 429 });
    await send({}, named('b'));
    await expect(send({}, named('c'))).rejects.toThrow(/team 'sea'/);
  });

  test('tokens are reserved before they are spent and settled from usage', async () => {
    const { send } = limited({ limits: { defaults: { tokensPerMinute: 100 } }, countTokens: async () => 10 });
    const run = await send({ maxTokens: 50 });
    expect(run.headers['x-ratelimit-remaining-tokens']).toBe('40');
    await expect(send({ maxTokens: 50 })).rejects.toMatchObject({ status: 429, type: 'tokens' });
    await drain(run.events); // used 7 + 3
    expect((await send({ maxTokens: 50 })).headers['x-ratelimit-remaining-tokens']).toBe('30');
  });

  test('a request that never fits says so instead of asking to wait', async () => {
    const { send } = limited({ limits: { defaults: { tokensPerMinute: 100 } } });
    await expect(send({ maxTokens: 500 })).rejects.toMatchObject({
      code: 'request_too_large',
      retryAfterMs: undefined,
    });
  });

  test.each([
    ['an upstream that breaks off', [...words(3).slice(0, 2), new Error('reset')]],
    ['an upstream that fails at once', [new Error('refused')]],
  ])('%s gives back what was not used', async (_name, steps) => {
    const { send } = limited(
      { limits: { defaults: { tokensPerMinute: 100, streams: 1 } }, countTokens: async () => 10 },
      steps,
    );
    for (let i = 0; i < 5; i++)
      await send({ maxTokens: 50 })
        .then((run) => drain(run.events))
        .catch(() => {});
    const sixth = await send({ maxTokens: 30 }).then(
      () => undefined,
      (error: GatewayError) => error.kind,
    );
    expect(sixth).not.toBe('rate_limited'); // 5 × (10 + at most 2) used, 10 + 30 asked
  });

  test('streams at once: a place is free again when an answer ends, breaks, or its client leaves unread', async () => {
    const { send } = limited({ limits: { defaults: { streams: 1 } } });
    await drain((await send()).events);
    const leaving = new AbortController();
    await send({}, ada, leaving.signal);
    await expect(send()).rejects.toThrow(/1 answer at once/);
    leaving.abort();
    await drain((await send()).events);
    for (let turns = 0; turns < 40; turns++) {
      const hasty = new AbortController();
      const sent = send({}, ada, hasty.signal).catch(() => {});
      for (let turn = 0; turn < turns; turn++) await undefined;
      hasty.abort();
      await sent;
      await drain((await send()).events); // whichever turn that was
    }
  });
});

test('the place of an answer is renewed while nothing comes, and no longer when it has ended', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    const renewed: string[] = [];
    const counters = { ...memoryCounters(), renew: ({ key }: { key: string }) => void renewed.push(key) };
    const { send } = limited({ counters, limits: { defaults: { streams: 1 } } });
    const run = await send();
    await vi.advanceTimersByTimeAsync(61_000);
    expect(renewed).toEqual(Array(3).fill('streams:key:key_ada'));
    await drain(run.events);
    await vi.advanceTimersByTimeAsync(300_000);
    expect(renewed).toHaveLength(3);
  } finally {
    vi.useRealTimers();
  }
});

describe('budgets', () => {
  test('fifty requests at once on a budget for ten: ten are admitted', async () => {
    const { send } = limited({ budgets: [budget({ usd: 0.1 })] }, words(10));
    const runs = await Promise.allSettled(Array.from({ length: 50 }, () => send({ maxTokens: 10 })));
    const admitted = runs.filter(({ status }) => status === 'fulfilled');
    expect(admitted).toHaveLength(10);
    for (const run of admitted) if (run.status === 'fulfilled') await drain(run.value.events);
    await expect(send({ maxTokens: 10 })).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' });
  });

  test.each([
    { period: 'day' as const, wait: '2 hours' },
    { period: 'month' as const, wait: '17 days' },
  ])('a spent budget of a $period says how long that is in words for people', async ({ period, wait }) => {
    const { send } = limited({ budgets: [budget({ usd: 0.001, period })] }, words(10)); // it is the 14th, 22:13
    await expect(send({ maxTokens: 10 })).rejects.toThrow(new RegExp(`It begins anew in ${wait}\\.`));
  });

  test('an answer without a bound is ended where the money ends, with a reason and its usage', async () => {
    const { send } = limited({ budgets: [budget({ usd: 0.02 })], assumedTokens: 8 }, words(100));
    const events = await drain((await send()).events);
    expect(events.filter(({ type }) => type === 'text-delta')).toHaveLength(20);
    expect(events.at(-2)).toMatchObject({
      type: 'finish',
      reason: 'length',
      detail: expect.stringContaining('budget'),
    });
    expect(events.at(-1)).toMatchObject({ type: 'usage', usage: { completionTokens: 20, estimated: true } });
  });

  test('what was not used is given back, so a budget pays for exactly what it names', async () => {
    const { send } = limited({ budgets: [budget({ usd: 0.03 })] });
    for (let i = 0; i < 8; i++) await drain((await send({ maxTokens: 6 })).events); // 3 tokens each
    await drain((await send({ maxTokens: 6 })).events);
    await expect(send({ maxTokens: 6 })).rejects.toMatchObject({ code: 'insufficient_quota' });
  });

  test('a spent budget leads to the cheaper model where its rule says so', async () => {
    const { send } = limited({ budgets: [budget({ usd: 0.005, reroute: 'small' })] });
    const run = await send({ maxTokens: 6 });
    expect(run.target).toBe('cheap/m');
  });

  test('a spent budget does not lead to a model that the key may not use', async () => {
    const { send } = limited({ budgets: [budget({ usd: 0.001, reroute: 'small' })] });
    const held = { ...ada, models: ['demo'] };
    await expect(send({ maxTokens: 100 }, held)).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' });
    expect((await send({ maxTokens: 100 })).target).toBe('cheap/m');
  });

  test('where the cheaper model has no budget either, that is what the client is told', async () => {
    const { send } = limited({ budgets: [budget({ usd: 0.001, reroute: 'small' })], targetsOf: () => ['dear/m'] });
    await expect(send({ maxTokens: 100 })).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' });
  });

  test('a new period has its own budget, and what the ledger knows counts', async () => {
    const { send, clock } = limited({
      budgets: [budget({ usd: 1 })],
      spent: async ({ fromMs }) => (fromMs < 1_700_006_400_000 ? 0.999 : 0),
    });
    await expect(send({ maxTokens: 6 })).rejects.toMatchObject({ code: 'insufficient_quota' });
    clock.advance(86_400_000);
    await expect(send({ maxTokens: 6 })).resolves.toBeDefined();
  });

  test('each threshold is told once', async () => {
    const alerts: BudgetAlert[] = [];
    const { send } = limited({ budgets: [budget({ usd: 0.012, warnAt: [0.5, 0.75] })], alert: (a) => alerts.push(a) });
    for (let i = 0; i < 4; i++) await drain((await send({ maxTokens: 3 })).events);
    expect(alerts.map(({ reached }) => reached)).toEqual([0.5, 0.75]);
    expect(alerts[0]).toMatchObject({ owner: 'key_ada', limitUsd: 0.012 });
  });

  test('a stream that breaks is charged for what came', async () => {
    const { send, records } = limited({ budgets: [budget({ usd: 0.005 })] }, [
      ...words(3).slice(0, 3),
      new Error('reset'),
    ]);
    const run = await send({ maxTokens: 4 });
    await expect(drain(run.events)).rejects.toThrow();
    expect(records[0]?.usage).toMatchObject({ completionTokens: 3, estimated: true });
    await expect(send({ maxTokens: 4 })).rejects.toMatchObject({ code: 'insufficient_quota' }); // 3 + 4 > 5
  });
});

describe('scopes', () => {
  test.each([
    [{ models: ['small'] }, 403],
    [{ models: ['de*'] }, 200],
    [{ endpoints: ['/embeddings'] }, 403],
    [{ endpoints: ['/v1/chat/completions'] }, 200],
    [{ endpoints: ['/chat/*'] }, 200],
  ])('%j answers %i', async (scope, status) => {
    const { send } = limited({});
    const outcome = await send({}, { ...ada, ...scope }).then(
      () => 200,
      (error: { status: number }) => error.status,
    );
    expect(outcome).toBe(status);
  });

  test('a caller is no more urgent than its key allows', async () => {
    const seen: string[] = [];
    const provider: Provider = {
      name: 'p',
      capabilities: noCapabilities,
      async *stream({ priority }): AsyncGenerator<CompletionEvent> {
        seen.push(priority);
        yield { type: 'finish', choice: 0, reason: 'stop' };
      },
    };
    const gateway = gatewayWith({ providers: [provider], deps: { policy: createPolicy({ keyring }) } });
    const context = contextOf({ caller: { ...anonymous, priority: 'normal' } });
    for (const priority of ['interactive', 'normal', 'batch'] as const) {
      await drain((await gateway.stream(ask({ priority }), context)).events);
    }
    expect(seen).toEqual(['normal', 'normal', 'batch']);
  });
});
