import { afterEach, expect, test, vi } from 'vitest';
import { edgeAnswers } from '../../src/edge/answers.ts';
import { createOutbox } from '../../src/edge/bindings.ts';
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

test('the lock of an answer that takes minutes stays with who makes it, and is free when it is given back', async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  const object = new TidegateState({ storage, waitUntil: () => {} });
  const objects = {
    idFromName: (name: string) => name,
    get: () => ({ fetch: (to: string | Request, init?: RequestInit) => object.fetch(new Request(to, init)) }),
  };
  const outbox = createOutbox(objects);
  const [maker, other] = [edgeAnswers({ objects, outbox }), edgeAnswers({ objects, outbox })];
  const release = await maker.lock?.('k', 15_000);
  for (let seconds = 0; seconds < 120; seconds += 10) {
    expect(await other.lock?.('k', 15_000)).toBeUndefined();
    await vi.advanceTimersByTimeAsync(10_000);
  }
  release?.();
  await outbox.flush();
  expect(vi.getTimerCount()).toBe(0);
  expect(await other.lock?.('k', 15_000)).toBeTypeOf('function');
});

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
