/** What became of text that went into the matcher. `stopped` is the stop text found; nothing comes after it. */
export interface StopResult {
  readonly text: string;
  readonly stopped: string | undefined;
}

/**
 * Finds stop texts in a stream. Text is held back only while it is a live prefix of one (at most the longest stop text
 * less one character), and `flush` gives held text back when the answer ends another way.
 */
export function createStopMatcher(stops: readonly string[]): { push(text: string): StopResult; flush(): string } {
  const wanted = stops.filter((stop) => stop !== '');
  let held = '';
  return {
    push(text) {
      if (wanted.length === 0) return { text, stopped: undefined };
      const buffer = held + text;
      let at = -1;
      let found: string | undefined;
      for (const stop of wanted) {
        const index = buffer.indexOf(stop);
        if (index >= 0 && (at < 0 || index < at)) {
          at = index;
          found = stop;
        }
      }
      if (found !== undefined) {
        held = '';
        return { text: buffer.slice(0, at), stopped: found };
      }
      const keep = livePrefix(buffer, wanted);
      held = buffer.slice(buffer.length - keep);
      return { text: buffer.slice(0, buffer.length - keep), stopped: undefined };
    },
    flush() {
      const text = held;
      held = '';
      return text;
    },
  };
}

/** Length of the longest end of `text` that begins one of `stops`. */
function livePrefix(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
