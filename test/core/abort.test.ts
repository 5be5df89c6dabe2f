import { expect, test } from 'vitest';
import { anySignal, createAborter, platformSignal } from '../../src/core/abort.ts';
import { createRoster } from '../../src/core/roster.ts';

test('a signal aborts once, tells each listener once with the reason at hand, and none that left', () => {
  const { signal, abort } = createAborter();
  const heard: string[] = [];
  const gone = () => heard.push('gone');
  signal.addEventListener('abort', () => heard.push(`first ${String(signal.reason)}`));
  signal.addEventListener('abort', gone);
  signal.addEventListener('abort', { handleEvent: () => heard.push('object') });
  signal.removeEventListener('abort', gone);
  abort('now');
  abort('again');
  expect(heard).toEqual(['first now', 'object']);
  expect([signal.aborted, signal.reason]).toEqual([true, 'now']);
  expect(() => signal.throwIfAborted()).toThrow('now');
});

test.each(['before', 'after'])('a platform’s signal and a joined one know of an abort %s they were made', (when) => {
  const { signal, abort } = createAborter();
  if (when === 'before') abort('over');
  const platform = AbortSignal.any([platformSignal(signal)]);
  const joined = anySignal([new AbortController().signal, signal]);
  if (when === 'after') abort('over');
  expect([platform.aborted, platform.reason, joined.aborted, joined.reason]).toEqual([true, 'over', true, 'over']);
});

test('a roster holds who is there, in whatever order they leave', () => {
  const roster = createRoster<string>();
  const [a, b, c] = ['a', 'b', 'c'].map((name) => roster.add(name));
  a?.();
  a?.();
  expect([...roster].sort()).toEqual(['b', 'c']);
  c?.();
  expect([[...roster], roster.size]).toEqual([['b'], 1]);
  b?.();
  expect(roster.size).toBe(0);
});
