import { describe, expect, test } from 'vitest';
import type { Claim } from '../../src/policy/counters.ts';
import { memoryCounters } from '../../src/policy/counters-memory.ts';
import { untilSlotFree } from '../../src/policy/slot-wait.ts';

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

  test('who finds all places taken is told when one is going to be free, as the answers before it took', async () => {
    let now = 0;
    const counters = memoryCounters({ clock: { now: () => now, wall: () => now } });
    const claim = (holder: string): Claim => ({ kind: 'slots', key: 's', limit: 1, holder, leaseMs: 60_000 });
    const hold = async (holder: string, ms: number) => {
      const { at } = await counters.reserve([claim(holder)]);
      now += ms;
      await counters.settle(at, [{ kind: 'slots', key: 's', holder }]);
    };
    for (let i = 0; i < 5; i++) await hold(`h${i}`, 4000);
    await counters.reserve([claim('running')]);
    now += 1500;
    expect((await counters.reserve([claim('late')])).refused?.retryAfterMs).toBe(2500);
    now += 2499;
    expect((await counters.reserve([claim('late')])).refused?.retryAfterMs).toBe(1);
  });
});

describe('when a place is going to be free', () => {
  test.each<[string, number[], number[], number]>([
    ['nothing is known', [500], [], 1000],
    ['all took equally long', [300], [1000, 1000, 1000], 700],
    ['three in four had ended by then', [0], [100, 200, 300, 1000], 300],
    ['only the longer ones still count', [250], [100, 200, 300, 400, 500], 150],
    ['the one that is furthest counts', [100, 900], [1000, 1000], 100],
    ['it runs longer than any before it', [4000], [1000, 1000], 1000],
    ['it ends this very moment', [999.9], [1000], 1],
  ])('%s', (_name, ages, took, wait) => {
    expect(untilSlotFree(ages, took)).toBe(wait);
  });
});
