import { getEventListeners } from 'node:events';
import { afterEach, expect, test, vi } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { plainRequest } from '../../src/core/request.ts';
import { blame, openCall, totalTimeout } from '../../src/routing/call.ts';
import { createTargetStates } from '../../src/routing/state.ts';
import { type Step, scripted } from '../scripted.ts';

/** A target whose breaker opens with its first failure, and a call of it. */
function targetSaying(steps: readonly Step[]) {
  const breaker = { consecutive: 1, failureShare: 1, minCalls: 100, windowMs: 10_000, openMs: 1000 };
  const state = createTargetStates({ breaker }).of('scripted/m');
  const client = new AbortController();
  const time = { nowMs: 0 };
  const provider = scripted(steps);
  const open = () =>
    openCall({
      target: { name: 'scripted/m', provider, model: 'm' },
      state,
      request: plainRequest('m', [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }]),
      options: { signal: client.signal, tenant: 't' },
      timeouts: { firstTokenMs: 50_000, idleMs: 50_000, totalMs: 0 },
      clock: { now: () => time.nowMs, wall: () => 0 },
      tokens: 7,
    });
  return { state, client, provider, time, open };
}

const tooLate = new GatewayError('timeout', 'The answer took too long.', { code: totalTimeout });

afterEach(() => {
  vi.useRealTimers();
});

test('a client that leaves while its call tries an open circuit lets the next one try', async () => {
  const { state, client, time, open } = targetSaying([60_000]);
  state.breaker.failure(0);
  time.nowMs = 1000;
  expect([state.breaker.take(1000), state.breaker.take(1000)]).toEqual([true, false]);
  const opening = open();
  client.abort();
  await expect(opening).rejects.toMatchObject({ kind: 'cancelled' });
  expect(state.breaker.take(1000)).toBe(true);
});

test('a total deadline that passes before the first token counts against the target', async () => {
  const { state, client, open } = targetSaying([60_000]);
  const opening = open();
  client.abort(tooLate);
  await expect(opening).rejects.toMatchObject({ kind: 'timeout' });
  expect(state.breaker.state(0)).toBe('open');
});

test('one that passes in the middle of an answer does not', async () => {
  const { state, client, open } = targetSaying(['Hello', 60_000]);
  const call = await open();
  client.abort(tooLate);
  expect(call.ttftMs).toBe(0);
  expect(state.breaker.state(0)).toBe('closed');
});

test('a call that ended leaves no work on the books, no timer and no listener behind', async () => {
  vi.useFakeTimers();
  const { state, client, open } = targetSaying(['Hello']);
  const call = await open();
  expect([state.inFlight, state.inFlightTokens]).toEqual([1, 7]);
  while (!(await call.next()).done);
  call.succeed();
  expect([state.inFlight, state.inFlightTokens]).toEqual([0, 0]);
  expect([vi.getTimerCount(), getEventListeners(client.signal, 'abort').length]).toEqual([0, 0]);
});

test('a call that somebody cancels ends its stream at the upstream and is off the books', async () => {
  const { state, provider, open } = targetSaying(['Hello', 60_000]);
  const call = await open();
  call.cancel(new GatewayError('cancelled', 'Another target was quicker.'));
  call.cancel(new GatewayError('cancelled', 'Twice.'));
  expect([provider.aborted, state.inFlight, state.inFlightTokens]).toEqual([1, 0, 0]);
});

test('the first token closes the circuit that the call tried, and tells how long it took', async () => {
  const { state, time, open } = targetSaying(['Hello']);
  state.breaker.failure(0);
  time.nowMs = 1000;
  state.breaker.take(1000);
  await open();
  expect([state.breaker.state(1000), state.breaker.take(1000), state.breaker.take(1000)]).toEqual([
    'closed',
    true,
    true,
  ]);
});

test.each([
  ['asks for a pause', new GatewayError('upstream_rate_limited', 'Slow down.')],
  ['says that the request is wrong', new GatewayError('invalid_request', 'No such field.')],
])('a target that %s has told nothing of an open circuit: the next call may try', (_name, failure) => {
  const { state } = targetSaying([]);
  state.breaker.failure(0);
  expect(state.breaker.take(1000)).toBe(true);
  blame(state, failure, false, 1000);
  expect(state.breaker.take(1000)).toBe(true);
});

test('a target rests as long as the longest of its answers asks, at most a minute', () => {
  const { state } = targetSaying([]);
  const asking = (retryAfterMs: number) => new GatewayError('upstream_rate_limited', 'Slow down.', { retryAfterMs });
  blame(state, asking(20_000), false, 0);
  blame(state, asking(1000), false, 0);
  expect(state.coolUntilMs).toBe(20_000);
  blame(state, asking(3_600_000), false, 0);
  expect(state.coolUntilMs).toBe(60_000);
});
