import { getEventListeners } from 'node:events';
import { afterEach, expect, test, vi } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { plainRequest } from '../../src/core/request.ts';
import { openCall, totalTimeout } from '../../src/routing/call.ts';
import { createTargetStates } from '../../src/routing/state.ts';
import { type Step, scripted } from '../scripted.ts';

/** A target whose breaker opens with its first failure, and a call of it. */
function targetSaying(steps: readonly Step[]) {
  const breaker = { consecutive: 1, failureShare: 1, minCalls: 100, windowMs: 10_000, openMs: 1000 };
  const state = createTargetStates({ breaker }).of('scripted/m');
  const client = new AbortController();
  const time = { nowMs: 0 };
  const open = () =>
    openCall({
      target: { name: 'scripted/m', provider: scripted(steps), model: 'm' },
      state,
      request: plainRequest('m', [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }]),
      options: { signal: client.signal, tenant: 't' },
      timeouts: { firstTokenMs: 50_000, idleMs: 50_000, totalMs: 0 },
      clock: { now: () => time.nowMs, wall: () => 0 },
      tokens: 7,
    });
  return { state, client, time, open };
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
