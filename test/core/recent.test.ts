import { LRUCache } from 'lru-cache';
import { expect, test } from 'vitest';
import { createRecent } from '../../src/core/recent.ts';

test('it holds and forgets what an LRU cache does, whatever is asked of it', () => {
  const [ours, theirs] = [createRecent<string, number>(4), new LRUCache<string, number>({ max: 4 })];
  let state = 7;
  const next = (below: number) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
  for (let step = 0; step < 2000; step++) {
    const key = `k${next(7)}`;
    const kind = next(10);
    if (kind < 4) {
      ours.set(key, step);
      theirs.set(key, step);
    } else if (kind < 8) {
      expect(ours.get(key)).toBe(theirs.get(key));
    } else if (kind === 8) {
      ours.delete(key);
      theirs.delete(key);
    } else if (next(40) === 0) {
      ours.clear();
      theirs.clear();
    }
    expect(ours.values()).toEqual([...theirs.values()]);
  }
});
