import type { CompletionEvent } from '../core/event.ts';

/** Ends each choice after so many code points of text, as `max_tokens` does after tokens. */
export async function* limitLength(
  events: AsyncIterable<CompletionEvent>,
  characters: number,
  expected: number,
  onCut: () => void,
  shadow = false,
): AsyncGenerator<CompletionEvent> {
  const left = new Map<number, number>();
  const done = new Set<number>();
  for await (const event of events) {
    if ('choice' in event && done.has(event.choice)) continue;
    if (event.type !== 'text-delta') {
      yield event;
      continue;
    }
    const room = left.get(event.choice) ?? characters;
    const points = [...event.text];
    left.set(event.choice, room - points.length);
    if (points.length <= room) {
      yield event;
      continue;
    }
    if (shadow) {
      if (room >= 0) onCut();
      yield event;
      continue;
    }
    const { logprobs: _, ...rest } = event;
    if (room > 0) yield { ...rest, text: points.slice(0, room).join('') };
    yield {
      type: 'finish',
      choice: event.choice,
      reason: 'length',
      detail: `The answer was cut after ${characters} characters.`,
    };
    done.add(event.choice);
    onCut();
    if (done.size >= expected) return;
  }
}
