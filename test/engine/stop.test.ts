import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createStopMatcher } from '../../src/engine/stop.ts';

function run(stops: readonly string[], deltas: readonly string[]): { text: string; stopped: string | undefined } {
  const matcher = createStopMatcher(stops);
  let text = '';
  for (const delta of deltas) {
    const result = matcher.push(delta);
    text += result.text;
    if (result.stopped !== undefined) return { text, stopped: result.stopped };
  }
  return { text: text + matcher.flush(), stopped: undefined };
}

test.each([
  { name: 'passes text through without stops', stops: [], deltas: ['a', 'b'], text: 'ab', stopped: undefined },
  {
    name: 'cuts at a stop split over deltas',
    stops: ['END'],
    deltas: ['one E', 'N', 'D two'],
    text: 'one ',
    stopped: 'END',
  },
  { name: 'gives held text back at the end', stops: ['END'], deltas: ['one EN'], text: 'one EN', stopped: undefined },
  { name: 'takes the earliest of several', stops: ['bb', 'a'], deltas: ['xxabb'], text: 'xx', stopped: 'a' },
  {
    name: 'survives a false start inside a true one',
    stops: ['aab'],
    deltas: ['a', 'a', 'a', 'b'],
    text: 'a',
    stopped: 'aab',
  },
  { name: 'ignores an empty stop', stops: [''], deltas: ['abc'], text: 'abc', stopped: undefined },
])('$name', ({ stops, deltas, text, stopped }) => {
  expect(run(stops, deltas)).toEqual({ text, stopped });
});

test('splitting the text anyhow gives what the whole text gives', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 3 }), fc.array(letters, { maxLength: 8 }), (stops, deltas) => {
      const split = run(stops, deltas);
      const whole = deltas.join('');
      const at = Math.min(
        ...stops.filter(Boolean).map((stop) => (whole.includes(stop) ? whole.indexOf(stop) : Infinity)),
      );
      // A stop that ends earlier may come first although another begins earlier.
      if (!Number.isFinite(at)) expect(split).toEqual({ text: whole, stopped: undefined });
      else {
        expect(split.stopped).toBeDefined();
        expect(whole.startsWith(split.text + split.stopped)).toBe(true);
      }
    }),
  );
});

test('nothing is left to give back once a stop text was found', () => {
  const matcher = createStopMatcher(['abc']);
  matcher.push('xab');
  expect(matcher.push('c')).toEqual({ text: '', stopped: 'abc' });
  expect(matcher.flush()).toBe('');
});
