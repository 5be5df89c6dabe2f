import { expect, test } from 'vitest';
import { createDraftLength } from '../../src/engine/draft-length.ts';

/** What is guessed step by step when the first `right` tokens of each guess are right. */
function lengths(right: readonly number[]): number[] {
  const length = createDraftLength();
  return right.map((correct) => {
    const drafted = length.next();
    length.learn(drafted, Math.min(drafted, correct));
    return drafted;
  });
}

test.each([
  { name: 'text that repeats itself gets long guesses', right: [9, 9, 9, 9], guessed: [3, 7, 7, 7] },
  { name: 'half right keeps short ones', right: [2, 2, 2], guessed: [3, 3, 3] },
  { name: 'a long one that breaks off is followed by a short one', right: [9, 5, 5], guessed: [3, 7, 3] },
  {
    name: 'wrong ones are left out for longer and longer',
    right: Array.from({ length: 12 }, () => 0),
    guessed: [3, 0, 3, 0, 0, 3, 0, 0, 0, 0, 3, 0],
  },
  { name: 'a right one ends the waiting', right: [0, 0, 9, 9, 0, 0, 9], guessed: [3, 0, 3, 7, 7, 0, 3] },
])('$name', ({ right, guessed }) => {
  expect(lengths(right)).toEqual(guessed);
});
