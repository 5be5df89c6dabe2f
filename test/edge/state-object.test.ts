import { afterEach, expect, test, vi } from 'vitest';
import { type StateMessage, TidegateState } from '../../src/edge/state-object.ts';
import type { ObjectStorage } from '../../src/edge/storage.ts';
import type { Reservation } from '../../src/policy/counters.ts';

afterEach(() => {
  vi.useRealTimers();
});

/** Storage of an object that was never written to and forgets. */
const storage: ObjectStorage = {
  sql: { exec: () => ({ toArray: () => [] }) },
  transactionSync: (work) => work(),
  setAlarm: async () => {},
  deleteAlarm: async () => {},
  deleteAll: async () => {},
};

test('a place that an isolate held when it died is free again after two minutes, one that is renewed is not', async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  const object = new TidegateState({ storage, waitUntil: () => {} });
  const tell = async <T>(message: StateMessage): Promise<T> =>
    (await object.fetch(new Request('https://object/', { method: 'POST', body: JSON.stringify(message) }))).json() as T; // answered as asked
  const claim = (holder: string) => ({ kind: 'slots' as const, key: 'streams:k', limit: 2, holder, leaseMs: 60_000 });
  const taken = async (holder: string) =>
    (await tell<Reservation>({ kind: 'reserve', claims: [claim(holder)] })).refused === undefined;
  expect([await taken('died'), await taken('lives'), await taken('late')]).toEqual([true, true, false]);
  vi.advanceTimersByTime(100_000);
  await tell({ kind: 'renew', claim: claim('lives') });
  expect(await taken('late')).toBe(false);
  vi.advanceTimersByTime(30_000);
  expect([await taken('late'), await taken('later')]).toEqual([true, false]);
});
