import type { CompletionEvent } from '../core/event.ts';
import { itemsThere, type ReadyIterator } from '../core/streams.ts';
import { Opened } from '../core/through.ts';

/** So much text is read at once; at the slowest that patterns can be it takes some ten milliseconds. */
export const sliceUnits = 2_048;
/** Others get their turn after so long: streams beside this one must not wait for a huge text. */
const turnMs = 8;

/** Gives the event loop a turn when this work has had its time; undefined (nothing to wait for) before that. */
export function createPace(now: () => number = () => performance.now()): () => Promise<void> | undefined {
  let since = now();
  return () => {
    if (now() - since < turnMs) return undefined;
    return new Promise<void>((resolve) => setTimeout(resolve, 0)).then(() => {
      since = now();
    });
  };
}

/** The text in pieces of at most `sliceUnits`, none of which cuts a surrogate pair. */
export function slicesOf(text: string): readonly string[] {
  if (text.length <= sliceUnits) return [text];
  const slices: string[] = [];
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + sliceUnits);
    if (end < text.length && (text.charCodeAt(end - 1) & 0xfc00) === 0xd800) end--;
    slices.push(text.slice(at, end));
    at = end;
  }
  return slices;
}

/** The events with long deltas in slices, given out at a pace. By hand: a generator would cost every token a turn. */
export const paced = (source: AsyncIterable<CompletionEvent>): AsyncIterable<CompletionEvent> =>
  new Opened(source, (iterator) => new Paced(iterator));

class Paced implements ReadyIterator<CompletionEvent> {
  readonly #source: ReadyIterator<CompletionEvent>;
  #pace: (() => Promise<void> | undefined) | undefined;
  #waiting: CompletionEvent[] | undefined;

  constructor(source: ReadyIterator<CompletionEvent>) {
    this.#source = source;
  }

  ready(): IteratorResult<CompletionEvent, undefined> | undefined {
    const result = this.#waiting ? undefined : this.#source.ready?.();
    return result && this.#sliced(result);
  }

  wait(): Promise<void> | undefined {
    return this.#waiting ? undefined : this.#source.wait?.();
  }

  async next(): Promise<IteratorResult<CompletionEvent>> {
    const value = this.#waiting?.shift();
    if (!value) return this.#sliced(await this.#source.next());
    if (this.#waiting?.length === 0) this.#waiting = undefined;
    await this.#pace?.();
    return { done: false, value };
  }

  *rest(): Generator<CompletionEvent, void> {
    yield* this.#waiting ?? [];
    yield* itemsThere(this.#source);
  }

  async return(value?: unknown): Promise<IteratorResult<CompletionEvent>> {
    await this.#source.return?.(value);
    return { done: true, value: undefined };
  }

  #sliced<R extends IteratorResult<CompletionEvent>>(result: R) {
    if (result.done) return result;
    const pieces = piecesOf(result.value);
    const first = pieces?.shift();
    if (!pieces || !first) return result;
    if (pieces.length > 0) this.#waiting = pieces;
    this.#pace = createPace(); // the time between two deltas is not ours
    return { done: false as const, value: first };
  }
}

const noBytes = new Uint8Array();

/** Undefined for what is short enough, and where log-probabilities belong to the delta as a whole. */
function piecesOf(event: CompletionEvent): CompletionEvent[] | undefined {
  switch (event.type) {
    case 'text-delta':
      if (event.text.length <= sliceUnits || event.logprobs) return undefined;
      return slicesOf(event.text).map((text) => ({ type: event.type, choice: event.choice, text }));
    case 'reasoning-delta':
    case 'refusal-delta':
      return event.text.length <= sliceUnits ? undefined : slicesOf(event.text).map((text) => ({ ...event, text }));
    case 'tool-call-delta':
      if (event.arguments.length <= sliceUnits) return undefined;
      return slicesOf(event.arguments).map((part) => ({ ...event, arguments: part }));
    case 'wire': {
      const { bytes, says } = event;
      if (!says?.some((said) => piecesOf(said))) return undefined;
      const pieces = says.flatMap((said) => piecesOf(said) ?? [said]);
      const last = pieces.length - 1;
      // Only the last of them has the bytes, which so wait until all of what they say is read.
      return pieces.map((said, index) => ({ type: 'wire', bytes: index === last ? bytes : noBytes, says: [said] }));
    }
    default:
      return undefined;
  }
}
