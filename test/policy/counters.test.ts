import { describe, expect, test } from 'vitest';
import type { Claim } from '../../src/policy/counters.ts';
import { memoryCounters } from '../../src/policy/counters-memory.ts';

const at = (ms: number) => ({ now: () => ms, wall: () => ms });
const rate = (amount: number, limit = 10, key = 'r'): Claim => ({
  kind: 'rate',
  key,
  amount,
  limit,
  windowMs: 60_000,
});

describe('counters in memory', () => {
  test('no span of a minute holds more than the limit, whatever the rhythm of the requests', async () => {
    let now = 0;
    const counters = memoryCounters({ clock: { now: () => now, wall: () => now } });
    const admitted: number[] = [];
    let random = 1;
    while (now < 600_000) {
      random = (random * 48271) % 2147483647;
      now += (random % 1000) * ((random >> 8) % 10 === 0 ? 20 : 1);
      if (!(await counters.reserve([rate(1)])).refused) admitted.push(now);
    }
    const worst = Math.max(...admitted.map((from) => admitted.filter((t) => t >= from && t < from + 60_000).length));
    expect(worst).toBe(10);
    expect(admitted.length).toBeGreaterThanOrEqual(85); // next to nothing is lost to never going over
  });

  test('a refused request that waits for its retry-after is admitted, and one millisecond earlier it is not', async () => {
    let now = 12_345;
    const counters = memoryCounters({ clock: { now: () => now, wall: () => now } });
    await counters.reserve([rate(4)]);
    now += 5_000;
    await counters.reserve([rate(6)]);
    now += 1_000;
    const refusal = (await counters.reserve([rate(3)])).refused;
    now += (refusal?.retryAfterMs ?? 0) - 1;
    expect((await counters.reserve([rate(3)])).refused).toBeDefined();
    now += 1;
    expect((await counters.reserve([rate(3)])).refused).toBeUndefined();
  });

  test('claims are taken all together or not at all', async () => {
    const counters = memoryCounters({ clock: at(0) });
    const second = await counters.reserve([rate(1), rate(20, 10, 'tokens')]);
    expect(second.refused?.index).toBe(1);
    expect((await counters.reserve([rate(10)])).refused).toBeUndefined();
  });

  test('what was reserved too much comes back to the time it was taken at', async () => {
    let now = 0;
    const counters = memoryCounters({ clock: { now: () => now, wall: () => now } });
    const { at } = await counters.reserve([rate(10)]);
    now = 70_000;
    await counters.reserve([rate(10)]);
    await counters.settle(at, [{ kind: 'rate', key: 'r', amount: -9, windowMs: 60_000 }]);
    expect((await counters.reserve([rate(1)])).refused).toBeDefined(); // the old window's credit does not widen this one
  });

  test('a budget keeps what is over its edge and stands until its period ends', async () => {
    let now = 0;
    const counters = memoryCounters({ clock: { now: () => now, wall: () => now } });
    const claim = (amount: number): Claim => ({
      kind: 'budget',
      key: 'b',
      amount,
      limit: 100,
      endsInMs: 5_000,
      initial: 30,
    });
    expect((await counters.reserve([claim(70)])).states[0]).toMatchObject({ remaining: 0 });
    const [state] = await counters.settle(0, [{ kind: 'budget', key: 'b', amount: 5, limit: 100 }]);
    expect(state?.remaining).toBe(-5);
    now = 1_000;
    expect((await counters.reserve([claim(1)])).refused?.retryAfterMs).toBe(4_000);
  });

  test('slots are free again when their holders let go', async () => {
    const counters = memoryCounters({ clock: at(0) });
    const claim = (holder: string): Claim => ({ kind: 'slots', key: 's', limit: 2, holder, leaseMs: 1000 });
    await counters.reserve([claim('a')]);
    await counters.reserve([claim('b')]);
    expect((await counters.reserve([claim('c')])).refused).toBeDefined();
    await counters.settle(0, [{ kind: 'slots', key: 's', holder: 'a' }]);
    expect((await counters.reserve([claim('c')])).refused).toBeUndefined();
  });
});
