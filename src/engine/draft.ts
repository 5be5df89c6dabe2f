/** Longest piece that is looked up, and the shortest that counts. */
const longestMatch = 4;
const shortestMatch = 2;

/**
 * Guesses the next tokens without a second model: where the last few tokens occurred before (latest first, the longest
 * match wins), what followed then is likely to follow again. True of answers that quote, edit or repeat their prompt.
 * `sources` are searched in order; the first is the sequence itself. Empty when nothing matches.
 */
export function lookUpDraft(sources: readonly (readonly number[])[], most: number): readonly number[] {
  const own = sources[0] ?? [];
  for (let length = Math.min(longestMatch, own.length - 1); length >= shortestMatch; length--) {
    const tail = own.slice(own.length - length);
    for (const source of sources) {
      const end = source === own ? own.length - length - 1 : source.length - length;
      for (let at = end; at >= 0; at--) {
        if (!tail.every((token, i) => source[at + i] === token)) continue;
        const draft = source.slice(at + length, at + length + most);
        if (draft.length > 0) return draft;
      }
    }
  }
  return [];
}
