import { expect, test } from 'vitest';
import { charge, type QueuedJob, queueDelayMs, type RunningJob, schedule } from '../../src/engine/scheduler.ts';

const job = (key: number, tenant = 'a', priority: QueuedJob['priority'] = 'normal'): QueuedJob => ({
  key,
  tenant,
  priority,
  order: key,
});
const busy = (key: number, priority: QueuedJob['priority'] = 'normal', tenant = 'a'): RunningJob => ({
  ...job(key, tenant, priority),
  parkable: true,
});
const served = (entries: Record<string, number> = {}) => new Map(Object.entries(entries));

test.each([
  { name: 'starts in order of arrival', queue: [job(2), job(1)], start: [1, 2] },
  { name: 'puts urgency first', queue: [job(1, 'a', 'batch'), job(2), job(3, 'a', 'interactive')], start: [3, 2, 1] },
  { name: 'lets tenants take turns', queue: [job(1), job(2), job(3), job(4, 'b')], start: [1, 4, 2, 3] },
])('$name', ({ queue, start }) => {
  expect(schedule({ queue, running: [], slots: 8, served: served() }).start).toEqual(start);
});

test('prefers the tenant that got less so far', () => {
  const state = { queue: [job(1), job(2, 'b')], running: [], slots: 1, served: served({ a: 900, b: 10 }) };
  expect(schedule(state).start[0]).toBe(2);
});

test('a tenant that has a slot already waits for one that has none', () => {
  const state = { queue: [job(1), job(2, 'b')], running: [busy(9)], slots: 2, served: served() };
  expect(schedule(state).start).toEqual([2, 1]);
});

test.each([
  {
    name: 'parks the newest batch job for an interactive one',
    running: [busy(1, 'batch'), busy(2, 'batch')],
    queue: [job(3, 'a', 'interactive')],
    park: [2],
  },
  {
    name: 'parks nobody while a slot is free',
    running: [busy(1, 'batch')],
    queue: [job(3, 'a', 'interactive')],
    park: [],
  },
  { name: 'parks nobody for a normal request', running: [busy(1, 'batch'), busy(2)], queue: [job(3)], park: [] },
  {
    name: 'never parks what could not go on to the same text',
    running: [{ ...busy(1, 'batch'), parkable: false }, busy(2)],
    queue: [job(3, 'a', 'interactive')],
    park: [],
  },
  { name: 'never parks a normal request', running: [busy(1), busy(2)], queue: [job(3, 'a', 'interactive')], park: [] },
])('$name', ({ running, queue, park }) => {
  expect(schedule({ queue, running, slots: 2, served: served() }).park).toEqual(park);
});

test('a tenant that was away starts level with the others', () => {
  const totals = served({ a: 1000 });
  charge(totals, 'b', 5, ['a', 'b']);
  expect(totals.get('b')).toBe(1005);
});

test.each([
  { name: 'nothing waits: a slot is free now', slotFreeInMs: [], waitingMs: [], out: 0 },
  { name: 'all busy: the first to end', slotFreeInMs: [300, 500], waitingMs: [], out: 300 },
  { name: 'those before take the first slots', slotFreeInMs: [300, 500], waitingMs: [1000], out: 500 },
  { name: 'whichever slots those are', slotFreeInMs: [500, 300], waitingMs: [1000], out: 500 },
])('the queue delay: $name', ({ slotFreeInMs, waitingMs, out }) => {
  expect(queueDelayMs({ slots: 2, slotFreeInMs, waitingMs })).toBe(out);
});
