import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { joinPieces } from '../../src/core/pieces.ts';
import type { Step } from '../../src/core/through.ts';
import { type ChatDecoderOptions, createChatChunkDecoder } from '../../src/wire/openai/upstream-answer.ts';
import { createSseCutter, createSseDecoder, type SseEvent } from '../../src/wire/sse.ts';
import { parseEvent } from '../shared/pass-through.ts';
import { chatChunkOf } from './completions.ts';

const encoder = new TextEncoder();

/**
 * The bytes of a streamed chat answer or text completion, as events. Nearly every chunk is the one before it with another
 * text: such a chunk is recognised by what stands around its text, and only the text is read. All else goes through JSON.
 * Deltas that come in one read are one event, with its `pieces`.
 */
export function readChatStream(options?: ChatDecoderOptions): Step<Uint8Array, CompletionEvent> {
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const cutter = createSseCutter();
  const sse = createSseDecoder();
  const decoder = createChatChunkDecoder(options);
  let shapes: readonly Shape[] = []; // one for each choice
  let doubt = 0;
  const run = new Run();

  /** One event; true at the answer's end: what follows is not read. */
  const take = (event: SseEvent, out: CompletionEvent[]): boolean => {
    if (event.data === '[DONE]') {
      out.push(...decoder.end());
      return true;
    }
    const events = decoder.push(chatChunkOf(parseEvent(event)));
    for (const told of events) {
      out.push(told);
      if (told.type === 'finish') shapes = shapes.filter(({ choice }) => choice !== told.choice);
    }
    if (event.event === 'error') throw new GatewayError('upstream_failed', 'The upstream failed to answer.');
    const [only] = events;
    if (only?.type === 'text-delta' && events.length === 1 && doubt < maxDoubt) {
      const shape = shapeOf(event.data, only);
      if (shape) shapes = [shape, ...shapes.filter(({ choice }) => choice !== shape.choice)].slice(0, maxShapes);
    }
    return false;
  };
  const takeAll = (bytes: Uint8Array, out: CompletionEvent[]) => sse.push(bytes).some((event) => take(event, out));

  return {
    push(bytes, out) {
      const whole = cutter.push(bytes);
      if (!whole) return false;
      const text = doubt < maxDoubt ? decode(utf8, whole) : undefined;
      if (text === undefined || text.includes('\r')) return takeAll(whole, out);
      for (let start = 0; start < text.length; ) {
        const found = text.indexOf('\n\n', start);
        const end = found < 0 ? text.length : found;
        if (takeDelta(shapes, text, start, end, run, out)) doubt -= doubt > 0 ? 1 : 0;
        else {
          run.end(out);
          doubt += 2;
          if (takeAll(encoder.encode(text.slice(start, end + 2)), out)) return true;
        }
        start = end + 2;
      }
      run.end(out);
      return false;
    },
    end(out) {
      if (takeAll(cutter.rest(), out)) return;
      const last = sse.end(); // what the end leaves without a blank line still counts
      if (!last || !take(last, out)) out.push(...decoder.end());
    },
  };
}

/** What stands around the text in the chunks of one choice. */
interface Shape {
  readonly choice: number;
  readonly head: string;
  readonly tail: string;
}

const maxShapes = 4;
/** A stream where more than every third chunk is no such one is read through JSON from then on. */
const maxDoubt = 24;
const probe = 'any other text';
/** What a JSON string writes in another way than it is. */
const written = /["\\\p{Cc}]/u;

/** Undefined where another text in the place of this one would change more than the text. */
function shapeOf(data: string, { choice, text, logprobs }: TextDelta): Shape | undefined {
  if (logprobs || text === '' || written.test(text)) return undefined;
  const at = data.indexOf(`"${text}"`) + 1;
  if (at === 0) return undefined;
  const shape = { choice, head: `data: ${data.slice(0, at)}`, tail: data.slice(at + text.length) };
  try {
    const other = JSON.parse(data.slice(0, at) + probe + shape.tail) as Readonly<Record<string, unknown>>; // as it was
    const events = createChatChunkDecoder().push(chatChunkOf(other));
    const [first] = events.filter(({ type }) => type !== 'start');
    return first?.type === 'text-delta' && first.text === probe && first.choice === choice && !first.logprobs
      ? shape
      : undefined;
  } catch {
    return undefined;
  }
}

type TextDelta = Extract<CompletionEvent, { type: 'text-delta' }>;

/** So much text becomes one event. */
const maxJoined = 1024;

/** Deltas of one choice behind each other. */
class Run {
  #choice = 0;
  #pieces: string[] = [];
  #length = 0;

  add(choice: number, text: string, out: CompletionEvent[]): void {
    if (choice !== this.#choice || this.#length + text.length > maxJoined) this.end(out);
    this.#choice = choice;
    this.#pieces.push(text);
    this.#length += text.length;
  }

  end(out: CompletionEvent[]): void {
    if (this.#pieces.length === 0) return;
    out.push(joinPieces(this.#choice, this.#pieces));
    this.#pieces = [];
    this.#length = 0;
  }
}

/** Adds the delta that one event is, if it is of a known shape. */
function takeDelta(
  shapes: readonly Shape[],
  text: string,
  start: number,
  end: number,
  run: Run,
  out: CompletionEvent[],
): boolean {
  for (const { choice, head, tail } of shapes) {
    const from = start + head.length;
    const to = end - tail.length;
    if (to < from || !text.startsWith(tail, to) || !text.startsWith(head, start)) continue;
    const raw = text.slice(from, to);
    const delta = written.test(raw) ? jsonString(raw) : raw;
    if (delta === undefined) continue;
    if (delta !== '') run.add(choice, delta, out);
    return true;
  }
  return false;
}

/** Undefined where it is no inside of a JSON string, and so more than a text. */
function jsonString(raw: string): string | undefined {
  try {
    const value: unknown = JSON.parse(`"${raw}"`);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined for bytes that are not UTF-8. */
function decode(utf8: TextDecoder, bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}
