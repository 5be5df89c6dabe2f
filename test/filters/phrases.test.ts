import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createPhrases } from '../../src/filters/phrases.ts';

test('the table and its memory-bounded form with failure links walk the same way and find what indexOf finds', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  const phrases = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 5 }), {
    minLength: 1,
    maxLength: 8,
  });
  fc.assert(
    fc.property(phrases, text, (texts, input) => {
      const list = texts.map((phrase, pattern) => ({
        text: phrase,
        wholeWords: false,
        pattern,
        holds: pattern % 2 === 0,
      }));
      const table = createPhrases(list);
      const links = createPhrases(list, 0);
      let [a, b] = [0, 0];
      for (const [at, char] of [...input].entries()) {
        const symbol = table.symbolOf(char.charCodeAt(0));
        a = table.step(a, symbol);
        b = links.step(b, symbol);
        expect(b).toBe(a);
        const seen = input.slice(0, at + 1);
        const found = (table.matches(a) ?? []).map(({ pattern }) => pattern).sort();
        expect(found).toEqual(texts.flatMap((phrase, pattern) => (seen.endsWith(phrase) ? [pattern] : [])));
        expect(links.matches(b)).toEqual(table.matches(a));
        const live = (which: readonly string[]) =>
          Math.max(
            0,
            ...seen
              .split('')
              .map((_, from) => seen.slice(from))
              .filter((tail) => which.some((phrase) => phrase.length > tail.length && phrase.startsWith(tail)))
              .map((tail) => tail.length),
          );
        expect(table.liveDepth[a]).toBe(live(texts));
        expect(table.holdDepth[a]).toBe(live(texts.filter((_, pattern) => pattern % 2 === 0)));
      }
    }),
    { numRuns: 500 },
  );
});
