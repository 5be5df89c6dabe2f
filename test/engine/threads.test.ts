import { expect, test } from 'vitest';
import { createThreadTuner } from '../../src/engine/threads.ts';

/** Runs steps for `ms` of pretended time; a step's length depends on the threads. Returns the share of steps per count. */
function simulate(most: number, ms: number, stepMs: (threads: number, at: number) => number): Map<number, number> {
  let clock = 0;
  const tuner = createThreadTuner(most, most, () => clock);
  const used: number[] = [];
  while (clock < ms) {
    const threads = tuner.next('8');
    const step = stepMs(threads, clock);
    clock += step;
    used.push(threads);
    tuner.observe('8', step);
  }
  const late = used.slice(Math.floor(used.length / 2));
  return new Map(
    [1, 2, 4, 8].map((count) => [count, late.filter((threads) => threads === count).length / late.length]),
  );
}

test('keeps all threads while the cores are free, and hardly probes', () => {
  expect(simulate(2, 120_000, (threads) => 60 / threads).get(2)).toBeGreaterThan(0.95);
});

test('gives up a probe whose first step is clearly slower', () => {
  let clock = 0;
  const tuner = createThreadTuner(2, 2, () => clock);
  const used = Array.from({ length: 400 }, () => {
    const threads = tuner.next('1');
    clock += 16 / threads;
    tuner.observe('1', 16 / threads);
    return threads;
  });
  const runs = used.filter((threads, i) => threads === 1 && used[i - 1] !== 1).length;
  expect(runs).toBeGreaterThan(1);
  expect(used.filter((threads) => threads === 1)).toHaveLength(runs);
});

test('soon takes all threads where it began with fewer, though one of the first steps with all is slow', () => {
  let clock = 0;
  let full = 0;
  const tuner = createThreadTuner(2, 1, () => clock);
  const used = Array.from({ length: 12 }, () => {
    const threads = tuner.next('1');
    const ms = threads === 2 && full++ === 0 ? 30 : 16 / threads;
    clock += ms;
    tuner.observe('1', ms);
    return threads;
  });
  expect(used.slice(6)).toEqual([2, 2, 2, 2, 2, 2]);
});

test('tries more threads in dear steps, but never fewer', () => {
  let clock = 0;
  const counts = (start: number) => {
    const tuner = createThreadTuner(2, start, () => clock);
    return Array.from({ length: 60 }, () => {
      const threads = tuner.next('512', false);
      clock += 600 / threads;
      tuner.observe('512', 600 / threads);
      return threads;
    });
  };
  expect(counts(2)).not.toContain(1);
  expect(counts(1).at(-1)).toBe(2);
});

test('goes down to one where another process holds a core', () => {
  expect(simulate(2, 60_000, (threads) => (threads === 2 ? 600 : 60)).get(1)).toBeGreaterThan(0.9);
});

test('comes back when the cores are free again', () => {
  const busyUntil = 20_000;
  const share = simulate(2, 120_000, (threads, at) => (threads === 2 ? (at < busyUntil ? 600 : 30) : 60));
  expect(share.get(2)).toBeGreaterThan(0.8);
});

test('finds the middle of many', () => {
  const share = simulate(8, 120_000, (threads) => ({ 8: 100, 4: 40, 1: 120 })[threads] ?? 500);
  expect(share.get(4)).toBeGreaterThan(0.8);
});

test('one thread is one thread', () => {
  expect(simulate(1, 1000, () => 10).get(1)).toBe(1);
});
