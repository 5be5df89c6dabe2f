import type { CompletionEvent } from './event.ts';
import { through } from './through.ts';

type TextDelta = Extract<CompletionEvent, { type: 'text-delta' }>;

/** One delta of texts that came together; what stands between reading and sending an answer sees one event, not a hundred. */
export const joinPieces = (choice: number, pieces: readonly string[]): TextDelta =>
  pieces.length === 1 && pieces[0] !== undefined
    ? { type: 'text-delta', choice, text: pieces[0] }
    : { type: 'text-delta', choice, text: pieces.join(''), pieces };

/** The deltas that came together, each for itself again. */
export const separated = (events: AsyncIterable<CompletionEvent>): AsyncIterable<CompletionEvent> =>
  through(events, () => ({
    push(event, out) {
      if (event.type !== 'text-delta' || !event.pieces) out.push(event);
      else for (const text of event.pieces) out.push({ type: 'text-delta', choice: event.choice, text });
      return false;
    },
  }));

/**
 * The cuts of a delta for what became of it: `text` is what was `held` back before, and then as much of the delta's own
 * text as may go out.
 */
export function cutAgain(pieces: readonly string[], held: number, text: string): readonly string[] {
  const cut: string[] = [];
  let from = 0;
  let to = held;
  for (const piece of pieces) {
    to += piece.length;
    const end = Math.min(to, text.length);
    if (end > from) cut.push(text.slice(from, end));
    from = end;
  }
  return cut;
}
