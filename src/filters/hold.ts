import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent, FinishReason } from '../core/event.ts';
import { throwIfAborted } from '../core/signals.ts';
import { createTextBound, itemsThere, type ReadyIterator } from '../core/streams.ts';
import { type Again, retryWanted } from './active.ts';
import { type AnswerText, type Note, type Reader, shadowed, type Verdict } from './verdict.ts';

export interface HoldOptions {
  readonly choices: number;
  readonly signal: AbortSignal;
  readonly note: Note;
  readonly shadow: boolean;
  /** Another answer; with a beginning, one that goes on from there. */
  readonly again?: ((beginning?: string) => ReturnType<Again>) | undefined;
}

interface Choice {
  text: string;
  refusal: string;
  readonly calls: string[];
  logprobSum: number;
  logprobs: number;
  finishReason: FinishReason | undefined;
  held: CompletionEvent[];
  unread: number;
  settled: boolean;
  done: boolean;
}

/**
 * Gives a reader the answer, choice by choice, and passes on what it allows. A reader that holds gets to decide before
 * anything of its part is sent; the buffer is the part not yet decided, at most the whole answer. An answer without
 * an end fails.
 */
export async function* holdAnswer(
  source: AsyncIterable<CompletionEvent>,
  reader: Reader,
  options: HoldOptions,
): AsyncGenerator<CompletionEvent> {
  let { again } = options;
  let goesOn = true; // once, before all is asked anew
  for (let events: AsyncIterable<CompletionEvent> | undefined = source; events; ) {
    let wanted = false;
    let beginning: string | undefined;
    const want = (from: string | undefined) => {
      beginning = from;
    };
    for await (const event of readChoices(events, reader, options, () => again !== undefined, want)) {
      if (event === retryWanted) {
        wanted = true;
        break;
      }
      yield event;
    }
    if (!wanted) return;
    if (beginning !== undefined && goesOn && again) {
      goesOn = false;
      events = await again(beginning).catch((error: unknown) => {
        throwIfAborted(options.signal);
        if (error instanceof GatewayError) return undefined; // nobody can go on from there
        throw error;
      });
      if (events) continue;
    }
    events = await again?.();
    again = undefined;
    if (!events) throw new GatewayError('upstream_failed', 'No target gave an answer that passes the filters.');
  }
}

async function* readChoices(
  events: AsyncIterable<CompletionEvent>,
  reader: Reader,
  { choices: expected, signal, note, shadow }: HoldOptions,
  mayRetry: () => boolean,
  want: (beginning: string | undefined) => void,
): AsyncGenerator<CompletionEvent> {
  const choices = new Map<number, Choice>();
  const count = createTextBound();
  let sent = false;
  let finished = 0;
  const holds = reader.holds && !shadow;
  const open = (index: number): Choice => {
    let choice = choices.get(index);
    if (!choice) {
      choice = {
        ...{ text: '', refusal: '', calls: [], logprobSum: 0, logprobs: 0, finishReason: undefined },
        ...{ held: [], unread: 0, settled: false, done: false },
      };
      choices.set(index, choice);
    }
    return choice;
  };
  const judge = async (choice: Choice, complete: boolean): Promise<Verdict> => {
    choice.unread = 0;
    const verdict = await reader.readAnswer?.(answerOf(choice, complete), signal);
    const given = verdict && shadow ? shadowed(verdict) : (verdict ?? { action: 'pass' });
    if (given.action !== 'pass') note(reader.name, given.action, 'output', given.detail);
    else if (reader.once) choice.settled = true;
    return given;
  };
  const settle = function* (index: number, choice: Choice, verdict: Verdict): Generator<CompletionEvent> {
    if (verdict.action === 'retry' && !sent && mayRetry()) {
      want(verdict.beginning);
      yield retryWanted;
      return;
    }
    if (verdict.action === 'pass' || verdict.action === 'flag') {
      const { held } = choice;
      choice.held = [];
      sent ||= held.length > 0;
      yield* held;
      return;
    }
    choice.held = [];
    choice.done = true;
    finished++;
    sent = true;
    if (verdict.action === 'replace') {
      yield { type: 'text-delta', choice: index, text: verdict.texts.join('') };
      yield { type: 'finish', choice: index, reason: 'stop' };
      return;
    }
    const message = verdict.message;
    if (message !== undefined) yield { type: 'refusal-delta', choice: index, text: message };
    const detail = message ?? `The answer was ended by the filter '${reader.name}'.`;
    yield { type: 'finish', choice: index, reason: 'content-filter', detail };
  };

  const iterator: ReadyIterator<CompletionEvent> = events[Symbol.asyncIterator]();
  for await (const event of { [Symbol.asyncIterator]: () => iterator }) {
    if (!('choice' in event)) {
      yield event;
      continue;
    }
    const choice = open(event.choice);
    if (choice.done) continue;
    take(choice, event, count);
    const complete = event.type === 'finish';
    if (!holds || choice.settled) {
      sent = true;
      if (complete && !choice.settled) {
        choice.settled = true;
        await judge(choice, true);
      }
      yield event;
      continue;
    }
    choice.held.push(event);
    const due = reader.everyCharacters !== undefined && choice.unread >= reader.everyCharacters;
    if (!complete && !due) continue;
    const verdict = await judge(choice, complete);
    for (const out of settle(event.choice, choice, verdict)) {
      yield out;
      if (out === retryWanted) return;
    }
    if (choice.done && finished >= expected && !complete) {
      for (const rest of itemsThere(iterator)) if (rest.type === 'usage') yield rest;
      return;
    }
    if (complete) choice.done = true; // only what it cost is to come
  }
  for (const [index, choice] of choices) {
    if (choice.done || choice.held.length === 0) continue;
    for (const out of settle(index, choice, await judge(choice, true))) {
      yield out;
      if (out === retryWanted) return;
    }
  }
}

function take(choice: Choice, event: CompletionEvent, count: (text: string) => void): void {
  switch (event.type) {
    case 'text-delta':
      count(event.text);
      choice.text += event.text;
      choice.unread += event.text.length;
      for (const { logprob } of event.logprobs ?? []) {
        choice.logprobSum += logprob;
        choice.logprobs++;
      }
      return;
    case 'refusal-delta':
      count(event.text);
      choice.refusal += event.text;
      choice.unread += event.text.length;
      return;
    case 'tool-call-delta':
      count(event.arguments);
      choice.calls[event.index] = (choice.calls[event.index] ?? '') + event.arguments;
      choice.unread += event.arguments.length;
      return;
    case 'finish':
      choice.finishReason = event.reason;
      return;
    case 'reasoning-delta':
      count(event.text); // held with the rest
      return;
    default:
  }
}

const answerOf = (
  { text, refusal, calls, finishReason, logprobSum, logprobs }: Choice,
  complete: boolean,
): AnswerText => ({
  ...{ text, refusal, complete, finishReason },
  calls: calls.filter((call) => call !== undefined),
  meanLogprob: logprobs > 0 ? logprobSum / logprobs : undefined,
});
