import { GatewayError } from './errors.ts';
import type { CompletionEvent, FinishReason, TokenLogprob, Usage } from './event.ts';
import type { ReasoningBlock, ToolCall } from './request.ts';

/** An iterator that gives what is there already without a promise: one event often brings several. */
export interface ReadyIterator<T> extends AsyncIterator<T> {
  /** The next item, or the end, if nobody has to wait for it; undefined: ask `next`, which also tells of a failure. */
  ready?(): IteratorResult<T, undefined> | undefined;
  /**
   * When `ready` gave nothing: resolves when it is worth asking again; undefined: ask `next`, which alone tells of a
   * failure. It never rejects, and resolves too when the source breaks, is closed or its signal aborts. A stage hands on
   * its source's own promise, where `next` makes several in each stage for each item.
   */
  wait?(): Promise<void> | undefined;
  /** What is there, at once: for one who wants no more and only looks whether it says what the answer cost. */
  rest?(): Generator<T, void>;
}

/** The items that are there already, from one who is about to be closed: up to where it broke. */
export function* itemsThere<T>(source: ReadyIterator<T>): Generator<T, void> {
  if (source.rest) return yield* source.rest();
  try {
    for (let there = source.ready?.(); there && !there.done; there = source.ready?.()) yield there.value;
  } catch {
    // nobody wanted more of it
  }
}

/**
 * `for await` that waits only where it has to. `take` says what to wait for before the next item, or false to stop;
 * the source is closed when it stops or throws.
 */
export const forEachOf = <T>(
  source: AsyncIterable<T>,
  take: (item: T) => Promise<void> | undefined | false,
): Promise<void> => takeAll(source[Symbol.asyncIterator](), take);

async function takeAll<T>(
  iterator: ReadyIterator<T>,
  take: (item: T) => Promise<void> | undefined | false,
): Promise<void> {
  for (;;) {
    let result: IteratorResult<T> | undefined = iterator.ready?.();
    if (!result) {
      const waiting = iterator.wait?.();
      if (waiting) {
        await waiting;
        continue;
      }
      result = await iterator.next();
    }
    if (result.done) return;
    let goesOn = false;
    try {
      const wait = take(result.value);
      if (wait) await wait;
      goesOn = wait !== false;
    } finally {
      if (!goesOn) await iterator.return?.();
    }
    if (!goesOn) return;
  }
}

/** No model says so much at once; an upstream that never stops must not fill the memory of who gathers its answer. */
const maxGatheredCharacters = 16 * 1024 * 1024;

/** Counts the text of an answer that is gathered; throws `upstream_failed` where it goes on for ever. */
export function createTextBound(): (text: string) => void {
  let characters = 0;
  return (text) => {
    characters += text.length;
    if (characters > maxGatheredCharacters)
      throw new GatewayError('upstream_failed', `The answer is longer than ${maxGatheredCharacters} characters.`);
  };
}

/** One whole choice, as the events told it. */
export interface CollectedChoice {
  readonly text: string;
  readonly reasoning: readonly ReasoningBlock[];
  readonly refusal: string | undefined;
  readonly toolCalls: readonly ToolCall[];
  readonly annotations: readonly unknown[];
  readonly logprobs: readonly TokenLogprob[] | undefined;
  readonly finishReason: FinishReason | undefined;
  readonly stopSequence: string | undefined;
  readonly detail: string | undefined;
}

export interface Collected {
  readonly choices: readonly CollectedChoice[];
  readonly usage: Usage | undefined;
  readonly upstream: {
    readonly id?: string | undefined;
    readonly model?: string | undefined;
    readonly fingerprint?: string | undefined;
  };
  /** The body, where the answer passed through as bytes. */
  readonly wire: Uint8Array | undefined;
}

interface OpenChoice {
  text: string;
  reasoning: ReasoningBlock[];
  reasoningOpen: boolean;
  refusal: string | undefined;
  toolCalls: { id: string; kind: 'function' | 'custom'; name: string; arguments: string }[];
  annotations: unknown[];
  logprobs: TokenLogprob[] | undefined;
  finishReason: FinishReason | undefined;
  stopSequence: string | undefined;
  detail: string | undefined;
}

/**
 * Builds the whole answer from its events: push each, then `result`. The only way from a stream to a body. `push` throws
 * `upstream_failed` when there is no end to it.
 */
export function createCollector(): { push(event: CompletionEvent): undefined; result(): Collected } {
  const choices: OpenChoice[] = [];
  const wire: Uint8Array[] = [];
  const count = createTextBound();
  let usage: Usage | undefined;
  let upstream: Collected['upstream'] = {};

  const open = (index: number): OpenChoice => {
    for (let i = choices.length; i <= index; i++) {
      choices.push({
        text: '',
        reasoning: [],
        reasoningOpen: false,
        refusal: undefined,
        toolCalls: [],
        annotations: [],
        logprobs: undefined,
        finishReason: undefined,
        stopSequence: undefined,
        detail: undefined,
      });
    }
    return choices[index] as OpenChoice; // just made
  };

  return {
    push(event) {
      switch (event.type) {
        case 'start':
          upstream = { id: event.id, model: event.model, fingerprint: event.fingerprint };
          return;
        case 'text-delta': {
          const choice = open(event.choice);
          count(event.text);
          choice.text += event.text;
          if (event.logprobs) {
            choice.logprobs ??= [];
            choice.logprobs.push(...event.logprobs);
          }
          return;
        }
        case 'reasoning-delta': {
          const choice = open(event.choice);
          const last = choice.reasoning.at(-1);
          count(event.text);
          if (choice.reasoningOpen && last) {
            choice.reasoning[choice.reasoning.length - 1] = { ...last, text: last.text + event.text };
          } else {
            choice.reasoning.push({ text: event.text });
            choice.reasoningOpen = true;
          }
          return;
        }
        case 'reasoning-end': {
          const choice = open(event.choice);
          const { type: _, choice: __, ...rest } = event;
          const last = choice.reasoningOpen ? choice.reasoning.pop() : undefined;
          choice.reasoning.push({ text: last?.text ?? '', ...rest });
          choice.reasoningOpen = false;
          return;
        }
        case 'refusal-delta': {
          const choice = open(event.choice);
          count(event.text);
          choice.refusal = (choice.refusal ?? '') + event.text;
          return;
        }
        case 'tool-call-start':
          open(event.choice).toolCalls[event.index] = {
            id: event.id,
            kind: event.kind,
            name: event.name,
            arguments: '',
          };
          return;
        case 'tool-call-delta': {
          const call = open(event.choice).toolCalls[event.index];
          count(event.arguments);
          if (call) call.arguments += event.arguments;
          return;
        }
        case 'annotation':
          open(event.choice).annotations.push(event.annotation);
          return;
        case 'finish': {
          const choice = open(event.choice);
          choice.finishReason = event.reason;
          choice.stopSequence = event.stopSequence;
          choice.detail = event.detail;
          return;
        }
        case 'usage':
          usage = event.usage;
          return;
        case 'wire':
          wire.push(event.bytes);
          return;
        case 'takeover': // thoughts of one model are not another's
          for (const choice of choices) choice.reasoningOpen = false;
          return;
        case 'progress':
          return;
        default:
          event satisfies never;
      }
    },
    result: () => ({
      choices: choices.map((choice) => ({
        text: choice.text,
        reasoning: choice.reasoning,
        refusal: choice.refusal,
        toolCalls: choice.toolCalls.filter(Boolean),
        annotations: choice.annotations,
        logprobs: choice.logprobs,
        finishReason: choice.finishReason,
        stopSequence: choice.stopSequence,
        detail: choice.detail,
      })),
      usage,
      upstream,
      wire: wire.length > 0 ? concatBytes(wire) : undefined,
    }),
  };
}

/** Drains the events into one whole answer; throws what the stream throws. No promise where all of them are there. */
export function collect(events: AsyncIterable<CompletionEvent>): Collected | Promise<Collected> {
  const { push, result } = createCollector();
  const iterator: ReadyIterator<CompletionEvent> = events[Symbol.asyncIterator]();
  try {
    for (let there = iterator.ready?.(); there; there = iterator.ready?.()) {
      if (there.done) return result();
      push(there.value);
    }
  } catch (error) {
    void iterator.return?.();
    throw error;
  }
  return takeAll(iterator, push).then(result);
}

/** All of them as one; a single piece is given as it is, not copied. */
export function concatBytes(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1 && pieces[0]) return pieces[0];
  let length = 0;
  for (const piece of pieces) length += piece.length;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const piece of pieces) {
    whole.set(piece, offset);
    offset += piece.length;
  }
  return whole;
}
