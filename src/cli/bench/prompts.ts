const words =
  'river stone paper window garden market signal engine winter bridge letter candle forest mirror harbor planet silver kitchen thunder compass'.split(
    ' ',
  );

/**
 * A text of about `tokens` tokens. `index` makes it unique from its first word on, so that no cache of prompts answers
 * for the model; without an index all prompts are the same.
 */
export function syntheticPrompt(tokens: number, index: number | undefined): string {
  let state = (index ?? 0) * 2_654_435_761 + 1;
  const text: string[] = index === undefined ? [] : [`Request ${index}.`];
  while (text.length < tokens) {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    text.push(words[(state >> 16) % words.length] ?? '');
  }
  return `${text.join(' ')}\nTell a story with these words.`;
}
