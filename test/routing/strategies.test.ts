import { describe, expect, test } from 'vitest';
import { createStrategy, type StrategyName, strategyNames } from '../../src/routing/strategies/index.ts';
import { nearest } from '../../src/routing/strategies/nearest.ts';
import { prefixAffinity } from '../../src/routing/strategies/prefix-affinity.ts';
import type { Child, Situation } from '../../src/routing/strategies/strategy.ts';
import { weighted } from '../../src/routing/strategies/weighted.ts';

const child = (key: string, more: Partial<Child> = {}): Child => ({
  key,
  weight: 1,
  inFlight: 0,
  inFlightTokens: 0,
  latencyMs: 0,
  expectedTtftMs: 0,
  ...more,
});

/** A small seeded generator (mulberry32): the same dice every time. */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const situation = (more: Partial<Situation> & { prefix?: string; who?: string } = {}): Situation => ({
  facts: { prefix: more.prefix ?? 'p', promptTokens: 1000, outputTokens: 100, sticky: () => more.who ?? 'me' },
  random: seeded(1),
  ...more,
});

const keys = (children: readonly Child[]) => children.map(({ key }) => key);
const shares = (times: number, pick: (i: number) => readonly Child[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const first = pick(i)[0]?.key ?? '';
    counts[first] = (counts[first] ?? 0) + 1 / times;
  }
  return counts;
};

test.each(strategyNames)('%s orders every child exactly once, whatever their state', (name: StrategyName) => {
  const random = seeded(7);
  const strategy = createStrategy(name);
  for (const count of [0, 1, 2, 3, 10]) {
    const children = Array.from({ length: count }, (_, i) =>
      child(`c${i}`, {
        weight: i % 3,
        inFlight: i,
        inFlightTokens: i * 100,
        latencyMs: random() * 1000,
        expectedTtftMs: random() * 1000,
      }),
    );
    expect([...keys(strategy.rank(children, situation({ random, objectiveMs: 500 })))].sort()).toEqual(
      keys(children).sort(),
    );
  }
});

describe('weighted', () => {
  test('gives each child its share, and never the first place to weight 0', () => {
    const children = [child('a', { weight: 95 }), child('b', { weight: 5 }), child('c', { weight: 0 })];
    const at = situation();
    const counts = shares(20_000, () => weighted().rank(children, at));
    expect(counts['a']).toBeCloseTo(0.95, 1.8);
    expect(counts['b']).toBeCloseTo(0.05, 1.8);
    expect(counts['c']).toBeUndefined();
  });

  test('sticky: the same caller always the same way, shares kept, and a changed weight moves few', () => {
    const children = (b: number) => [child('a', { weight: 100 - b }), child('b', { weight: b })];
    const pick = (who: number, b: number) =>
      weighted('caller').rank(children(b), situation({ who: `key_${who}` }))[0]?.key;
    const callers = Array.from({ length: 5000 }, (_, i) => i);
    expect(callers.map((who) => pick(who, 20))).toEqual(callers.map((who) => pick(who, 20)));
    expect(callers.filter((who) => pick(who, 20) === 'b').length / 5000).toBeCloseTo(0.2, 1.5);
    const moved = callers.filter((who) => pick(who, 20) !== pick(who, 30)).length / 5000;
    expect(moved).toBeGreaterThan(0.07);
    expect(moved).toBeLessThan(0.13);
  });
});

test('least-latency tries what it does not know, and else takes the quicker of two drawn', () => {
  const strategy = createStrategy('least-latency');
  expect(keys(strategy.rank([child('slow', { latencyMs: 900 }), child('new')], situation()))).toEqual(['new', 'slow']);
  const busy = [child('quick but busy', { latencyMs: 100, inFlight: 20 }), child('slower', { latencyMs: 300 })];
  expect(keys(strategy.rank(busy, situation()))[0]).toBe('slower');
  const ten = Array.from({ length: 10 }, (_, i) => child(`c${i}`, { latencyMs: 100 + i * 100 }));
  const at = situation();
  const counts = shares(20_000, () => strategy.rank(ten, at));
  expect(counts['c9']).toBeUndefined(); // the slowest never wins a draw of two
  expect(counts['c0']).toBeCloseTo(0.2, 1.5);
});

test.each<[string, Record<string, number | undefined>, string]>([
  ['stays as written before anything is measured', { a: undefined, b: undefined }, 'ab'],
  ['puts the shortest round trip first', { a: 80, b: 20, c: 40 }, 'bca'],
  ['takes equally near ones as written, so that a probe changes nothing', { a: 23, b: 20, c: 29 }, 'abc'],
  ['puts what answers before what never did', { a: undefined, b: 500 }, 'ba'],
])('nearest %s', (_, distances, order) => {
  const children = Object.entries(distances).map(([key, distanceMs]) =>
    child(key, distanceMs === undefined ? {} : { distanceMs }),
  );
  expect(keys(nearest.rank(children, situation())).join('')).toBe(order);
});

test('least-busy goes by tokens, not by requests', () => {
  const children = [
    child('one long', { inFlight: 1, inFlightTokens: 30_000 }),
    child('many short', { inFlight: 20, inFlightTokens: 4000 }),
  ];
  expect(keys(createStrategy('least-busy').rank(children, situation()))[0]).toBe('many short');
});

test.each([
  {
    name: 'the own engine while it keeps up',
    localMs: 300,
    objectiveMs: 1000,
    order: ['local', 'cheap', 'dear', 'unknown'],
  },
  {
    name: 'the cheaper upstream when it does not',
    localMs: 3000,
    objectiveMs: 1000,
    order: ['cheap', 'dear', 'unknown', 'local'],
  },
  {
    name: 'the quickest when nobody does',
    localMs: 3000,
    objectiveMs: 100,
    order: ['unknown', 'dear', 'cheap', 'local'],
  },
])('cheapest takes $name', ({ localMs, objectiveMs, order }) => {
  const children = [
    child('dear', { price: { input: 10, output: 30 }, expectedTtftMs: 200 }),
    child('cheap', { price: { input: 0.1, output: 0.3 }, expectedTtftMs: 500 }),
    child('local', { price: { input: 0, output: 0 }, expectedTtftMs: localMs }),
    child('unknown', { expectedTtftMs: 10 }),
  ];
  expect(keys(createStrategy('cheapest').rank(children, situation({ objectiveMs })))).toEqual(order);
});

describe('prefix affinity', () => {
  const replicas = (count: number) => Array.from({ length: count }, (_, i) => child(`replica-${i}`));
  const home = (prefix: string, children: readonly Child[]) =>
    prefixAffinity().rank(children, situation({ prefix }))[0]?.key;

  test('sends a prefix to the same replica in every process, spreads prefixes evenly, and moves few when one leaves', () => {
    const prefixes = Array.from({ length: 4000 }, (_, i) => `system: you are ${i}`);
    const counts = shares(4000, (i) => prefixAffinity().rank(replicas(10), situation({ prefix: prefixes[i] ?? '' })));
    for (const share of Object.values(counts)) expect(share).toBeCloseTo(0.1, 1.4);
    const moved = prefixes.filter((prefix) => home(prefix, replicas(10)) !== home(prefix, replicas(9)));
    expect(moved.every((prefix) => home(prefix, replicas(10)) === 'replica-9')).toBe(true);
    expect(home('system: you are 7', replicas(10))).toBe('replica-4'); // pinned: other processes must agree
  });

  test('a hot prefix spreads when its home has more than twice the mean work', () => {
    const idle = replicas(4);
    const at = home('hot', idle);
    const busy = idle.map((each) =>
      each.key === at
        ? { ...each, inFlight: 3, inFlightTokens: 19_000 }
        : { ...each, inFlight: 1, inFlightTokens: 1000 },
    );
    expect(home('hot', busy)).not.toBe(at);
    const level = idle.map((each) => ({ ...each, inFlight: 10, inFlightTokens: each.key === at ? 10_500 : 10_000 }));
    expect(home('hot', level)).toBe(at);
  });
});
