import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { withDeadline } from '../../src/core/signals.ts';

test('a deadline that is cleared leaves nothing on a signal that lives on', async () => {
  const life = new AbortController();
  for (let i = 0; i < 100; i++) withDeadline(life.signal, 60_000, 'The check').clear();
  expect(getEventListeners(life.signal, 'abort')).toHaveLength(0);
});

test('a deadline aborts with the signal it bounds, or late', async () => {
  const life = new AbortController();
  const bounded = withDeadline(life.signal, 60_000, 'The check');
  const late = withDeadline(life.signal, 1, 'The check');
  await new Promise((resolve) => late.signal.addEventListener('abort', resolve));
  expect(late.signal.reason).toMatchObject({ kind: 'timeout', message: 'The check took longer than 1 ms.' });
  expect(bounded.signal.aborted).toBe(false);
  life.abort('over');
  expect([bounded.signal.aborted, bounded.signal.reason]).toEqual([true, 'over']);
  expect(withDeadline(life.signal, 60_000, 'The check').signal.reason).toBe('over');
  bounded.clear();
});
