import { expect, test } from 'vitest';
import { createStreamLogs } from '../../src/http/stream-log.ts';

const owner = 'ada';

test('all logs together have a bound: those that have ended leave first, then the one that grows is ended', async () => {
  const logs = createStreamLogs({ maxTotalLength: 100 });
  const first = logs.open('first', owner);
  first.append(['a'.repeat(40)]);
  await first.close();
  const second = logs.open('second', owner);
  second.append(['b'.repeat(40)]);
  expect([await logs.find('first', owner), await logs.find('second', owner)]).toEqual([first, second]);
  const third = logs.open('third', owner);
  third.append(['c'.repeat(40)]);
  expect(await logs.find('first', owner)).toBeUndefined();
  expect([second.signal.aborted, third.signal.aborted]).toEqual([false, false]);
  third.append(['c'.repeat(40)]);
  expect([second.signal.aborted, third.signal.aborted]).toEqual([false, true]);
  await third.close();
  await logs.forget('third', owner);
  second.append(['b'.repeat(40)]); // there is room again
  expect(second.signal.aborted).toBe(false);
});
