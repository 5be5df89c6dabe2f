import { expect, test } from 'vitest';
import { memoryNonces } from '../../src/policy/nonces.ts';

test('a nonce is used up for as long as it was said, whenever that begins, and what is kept is bounded', () => {
  let now = 0;
  const nonces = memoryNonces({ clock: { now: () => now, wall: () => now }, max: 2 });
  const fresh = (nonce: string, atMs: number) => {
    now = atMs;
    return nonces.fresh(nonce, 100);
  };
  expect(fresh('first', 0)).toBe(true);
  expect(fresh('late', 90)).toBe(true);
  expect([fresh('late', 99), fresh('late', 110), fresh('late', 189)]).toEqual([false, false, false]);
  expect([fresh('late', 400), fresh('b', 401)]).toEqual([true, true]); // both generations are over
  expect(() => fresh('c', 402)).toThrow('Too many signed requests');
});
