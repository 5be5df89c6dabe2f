import type { CompletionEvent } from '../core/event.ts';
import { through } from '../core/through.ts';

/** Ends each choice after so many code points of text, as `max_tokens` does after tokens. */
export function limitLength(
  events: AsyncIterable<CompletionEvent>,
  characters: number,
  expected: number,
  onCut: () => void,
  shadow = false,
): AsyncIterable<CompletionEvent> {
  return through(events, () => {
    const left = new Map<number, number>();
    const done = new Set<number>();
    return {
      push(event, out) {
        if ('choice' in event && done.has(event.choice)) return false;
        if (event.type !== 'text-delta') {
          out.push(event);
          return false;
        }
        const room = left.get(event.choice) ?? characters;
        const points = [...event.text];
        left.set(event.choice, room - points.length);
        if (points.length <= room) {
          out.push(event);
          return false;
        }
        if (shadow) {
          if (room >= 0) onCut();
          out.push(event);
          return false;
        }
        const { choice } = event;
        if (room > 0) out.push({ type: 'text-delta', choice, text: points.slice(0, room).join('') });
        const detail = `The answer was cut after ${characters} characters.`;
        out.push({ type: 'finish', choice: event.choice, reason: 'length', detail });
        done.add(event.choice);
        onCut();
        return done.size >= expected;
      },
      rest(event, out) {
        if (event.type === 'usage') out.push(event);
      },
    };
  });
}
