import { expect, test } from 'vitest';
import { periodOf } from '../../src/policy/budgets.ts';
import { memoryCounters } from '../../src/policy/counters-memory.ts';
import type { LimitRules } from '../../src/policy/limits.ts';
import { createPrices } from '../../src/policy/price.ts';
import { BudgetRefusal, createReserve } from '../../src/policy/reserve.ts';

const caller = { id: 'key', role: 'caller', tags: [], tenant: 'key' } as const;
const [dear, cheap] = ['dear/m', 'cheap/m']; // a dollar for a thousand tokens, and for a million

/** Takes from a budget of so many dollars. */
function reserving({ usd = 1, limits = {} as LimitRules, spent = async () => 0 } = {}) {
  const prices = createPrices({
    overrides: { 'dear/*': { input: 1000, output: 1000 }, 'cheap/*': { input: 1, output: 1 } },
  });
  let usedUsd = 0;
  const reserve = createReserve({
    ...{ limits, prices, spent, counters: memoryCounters(), alert: () => {}, wall: () => 1_700_000_000_000 },
    budgets: [{ name: 'b', per: 'all', period: 'day', usd, warnAt: [] }],
    standing: {
      set: (_key, status) => {
        usedUsd = status.usedUsd;
      },
    },
  });
  const take = async (completionTokens: number, more: object = {}) =>
    reserve({
      ...{ caller, model: 'demo', targets: [dear], promptTokens: 0, completionTokens },
      ...{ bounded: true, holder: 'h', ...more },
    });
  const used = async () => {
    await new Promise((resolve) => setTimeout(resolve, 0)); // what is settled is counted behind the answer
    return usedUsd;
  };
  return { take, used };
}
const answered = (completionTokens: number, target = dear) => ({
  target,
  usage: { promptTokens: 0, completionTokens },
});

test('what was paid for on the way is settled with the rest, and only once', async () => {
  const { take, used } = reserving();
  const reserved = await take(100);
  expect(await reserved.extend(100)).toBe(true);
  reserved.settle(answered(150));
  expect(await used()).toBeCloseTo(0.15);
  reserved.settle(answered(150));
  reserved.cancel();
  expect(await used()).toBeCloseTo(0.15);
});

test('what is paid for while the client leaves is given back', async () => {
  const { take, used } = reserving();
  const reserved = await take(100);
  const extending = reserved.extend(100); // the store has not answered yet
  reserved.settle(answered(100));
  expect(await extending).toBe(false);
  const next = await take(0);
  expect(await used()).toBeCloseTo(0.1);
  next.cancel();
});

test.each([[[dear, cheap]], [[cheap, dear]]])('of %j the dearest is reckoned with', async (targets) => {
  const { take, used } = reserving();
  const reserved = await take(100, { targets });
  expect(await used()).toBeCloseTo(0.1);
  reserved.settle(answered(100, cheap));
  expect(await used()).toBeCloseTo(0.0001);
});

test('a bound that only we assumed is cut to what is left, and is refused where that is not one token', async () => {
  const { take } = reserving({ usd: 0.0505 });
  const reserved = await take(100, { bounded: false });
  expect(reserved.paidTokens()).toBe(50);
  await expect(take(100, { bounded: false })).rejects.toBeInstanceOf(BudgetRefusal);
});

test('a bound that only we assumed fits any limit; one that was asked for is told to be too large', async () => {
  const { take } = reserving({ limits: { defaults: { tokensPerMinute: 50 } } });
  await expect(take(100)).rejects.toMatchObject({ code: 'request_too_large' });
  await expect(take(100, { bounded: false })).resolves.toBeDefined();
});

test('books that could not be read once are read again with the next request', async () => {
  let asked = 0;
  const spent = async () => {
    if (asked++ === 0) throw new Error('gone');
    return 0.5;
  };
  const { take, used } = reserving({ spent });
  await expect(take(1)).rejects.toThrow('gone');
  await take(100);
  expect(await used()).toBeCloseTo(0.6);
});

test.each([
  ['2026-11-22', '2026-11-16'], // a Sunday
  ['2026-11-23', '2026-11-23'],
  ['2026-01-01', '2025-12-29'],
])('the week of %s begins on Monday, %s', (day, monday) => {
  const { fromMs, toMs } = periodOf('week', Date.parse(`${day}T12:00:00Z`));
  expect([fromMs, toMs - fromMs]).toEqual([Date.parse(monday), 7 * 86_400_000]);
});
