import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import type { Json } from '../core/json.ts';
import { cutAgain, joinPieces } from '../core/pieces.ts';
import type { Dialect } from '../core/request.ts';
import { type Step, through } from '../core/through.ts';
import { paced } from './pace.ts';
import type { Rule, RuleSet } from './rules.ts';
import { createScanner, type Ending } from './scanner.ts';
import { enqueue, type Field, withLogprobs } from './token-logprobs.ts';
import { rewriteJson, rewriteText } from './whole.ts';

export interface OutputOptions {
  /** Choices that the answer will have. When filters have ended all of them, the upstream is let go. */
  readonly choices: number;
  /** Text is JSON too (`response_format`), so that escapes in it are decoded. */
  readonly jsonText: boolean;
  readonly dialect: Dialect;
  readonly onMatch?: (rule: Rule) => void;
  /** Another answer to the same request, from another target where there is one. */
  readonly again?: (() => Promise<AsyncIterable<CompletionEvent> | undefined>) | undefined;
}

interface Choice {
  text?: Field;
  reasoning?: Field;
  refusal?: Field;
  readonly calls: Map<number, Field>;
  done: boolean;
}

type Wire = Extract<CompletionEvent, { type: 'wire' }>;

/** Dialects whose answers are blocks in order: there, text does not go on after a tool call. */
const ordered = (dialect: Dialect) => dialect === 'anthropic-messages' || dialect === 'openai-responses';

/**
 * An answer's events with the rules applied to every field that carries text, each field of each choice on its own.
 * A delta that is clean passes as the same object. Holds back only live prefixes of matches; bounded by the longest.
 */
export function filterEvents(
  source: AsyncIterable<CompletionEvent>,
  rules: RuleSet,
  options: OutputOptions,
): AsyncIterable<CompletionEvent> {
  const { again } = options;
  const retries = again && rules.rules.some(({ action }) => action === 'retry');
  return retries ? askedAgain(source, rules, options, again) : filtered(source, rules, options, () => false);
}

const filtered = (
  source: AsyncIterable<CompletionEvent>,
  rules: RuleSet,
  options: OutputOptions,
  mayRetry: () => boolean,
): AsyncIterable<CompletionEvent> => through(paced(source), () => filterStep(rules, options, mayRetry));

/** The same where a rule may ask for another answer, once. */
async function* askedAgain(
  source: AsyncIterable<CompletionEvent>,
  rules: RuleSet,
  options: OutputOptions,
  again: NonNullable<OutputOptions['again']>,
): AsyncGenerator<CompletionEvent> {
  let asked = false;
  for (let events: AsyncIterable<CompletionEvent> | undefined = source; events; ) {
    let next: AsyncIterable<CompletionEvent> | undefined;
    let sent = false;
    for await (const event of filtered(events, rules, options, () => !sent && !asked)) {
      if (event === retryWanted) {
        asked = true;
        next = await again();
        if (next) break;
        throw new GatewayError(
          'upstream_failed',
          'No other target could answer after a filter asked for another answer.',
        );
      }
      sent ||= event.type !== 'start' && event.type !== 'progress';
      yield event;
    }
    events = next;
  }
}

const retryWanted: CompletionEvent = { type: 'start' };

function filterStep(
  rules: RuleSet,
  { choices: expected, jsonText, dialect, onMatch }: OutputOptions,
  mayRetry: () => boolean,
): Step<CompletionEvent, CompletionEvent> {
  const choices = new Map<number, Choice>();
  let finished = 0;
  /** Something is given out in another way than it came. */
  let touched = false;
  /** What stands for bytes while it is read what they say. */
  const aside: CompletionEvent[] = [];
  let passed = false;
  const open = (index: number): Choice => {
    let choice = choices.get(index);
    if (!choice) {
      choice = { calls: new Map(), done: false };
      choices.set(index, choice);
    }
    return choice;
  };
  const field = (json: boolean): Field => ({ scanner: createScanner(rules, { json, onMatch }), waiting: [] });
  const blocked = (index: number, { rule, text }: Ending): CompletionEvent[] => {
    const choice = open(index);
    choice.done = true;
    touched = true;
    finished++;
    if (rule.action === 'stop') return [{ type: 'finish', choice: index, reason: 'stop', stopSequence: text }];
    const detail = rule.message ?? `The answer was ended by the filter '${rule.filter}'.`;
    const refusal: CompletionEvent[] =
      rule.message === undefined ? [] : [{ type: 'refusal-delta', choice: index, text: rule.message }];
    return [...refusal, { type: 'finish', choice: index, reason: 'content-filter', detail }];
  };
  /** The fields of a choice in the order that readers expect, each with how its text is told. */
  const fieldsOf = (index: number, choice: Choice) => {
    const fields: [Field | undefined, (text: string) => CompletionEvent][] = [
      [choice.reasoning, (text) => ({ type: 'reasoning-delta', choice: index, text })],
      [choice.text, (text) => withLogprobs(rules, choice.text, { type: 'text-delta', choice: index, text })],
      [choice.refusal, (text) => ({ type: 'refusal-delta', choice: index, text })],
    ];
    for (const [call, found] of choice.calls) {
      fields.push([found, (text) => ({ type: 'tool-call-delta', choice: index, index: call, arguments: text })]);
    }
    return fields;
  };
  /** What is left in the fields of a choice; stops at the first that is ended. */
  const drain = (index: number, choice: Choice, out: CompletionEvent[]): void => {
    for (const [found, make] of fieldsOf(index, choice)) {
      if (!found || choice.done) continue;
      const text = found.scanner.end();
      if (text !== '' || found.waiting.length > 0) out.push(make(text));
      if (found.scanner.ended) out.push(...blocked(index, found.scanner.ended));
      touched ||= found.scanner.changed;
    }
  };

  /**
   * What other fields of a choice hold, before this one goes on: what is held there is over as far as this goes. Where
   * answers are blocks in order everything is; else only reasoning, which readers expect in front.
   */
  const release = (index: number, choice: Choice, current: Field | undefined, out: CompletionEvent[]): void => {
    const { text, reasoning, refusal, calls } = choice;
    const open = (text ? 1 : 0) + (reasoning ? 1 : 0) + (refusal ? 1 : 0) + calls.size;
    if (open === 0 || (open === 1 && current)) return; // nearly every delta
    for (const [found, make] of fieldsOf(index, choice)) {
      if (!found || found === current || choice.done) continue;
      if (found !== choice.reasoning && !ordered(dialect)) continue;
      const text = found.scanner.release();
      if (text !== '' || found.waiting.length > 0) out.push(make(text));
      if (found.scanner.ended) out.push(...blocked(index, found.scanner.ended));
    }
  };

  const push = (event: CompletionEvent, out: CompletionEvent[]): boolean => {
    if (event.type === 'wire') return pushBytes(event, out);
    if (passed && event.type === 'finish') {
      out.push(event); // for the record: it is in the bytes
      return false;
    }
    if (!('choice' in event)) {
      // Usage comes after everything else: a stream that forgot its finish still gives its text first.
      if (event.type === 'usage') drainAll(out);
      out.push(event);
      return false;
    }
    const index = event.choice;
    const choice = open(index);
    if (choice.done) return false;
    let ending: Ending | undefined;
    let ready: CompletionEvent | undefined;

    switch (event.type) {
      case 'text-delta': {
        choice.text ??= field(jsonText);
        const found = choice.text;
        release(index, choice, found, out);
        if (choice.done) break;
        if (event.logprobs) enqueue(found, event.text, event.logprobs);
        const { read, decided } = found.scanner;
        const text = found.scanner.push(event.text);
        if (text === event.text && !event.logprobs && found.waiting.length === 0) ready = event;
        else if (event.pieces && text.length === found.scanner.decided - decided) {
          ready = joinPieces(index, cutAgain(event.pieces, read - decided, text)); // only held back, or given out after that
        } else ready = withLogprobs(rules, found, { type: 'text-delta', choice: index, text });
        ending = found.scanner.ended;
        break;
      }
      case 'reasoning-delta': {
        choice.reasoning ??= field(false);
        release(index, choice, choice.reasoning, out);
        if (choice.done) break;
        const text = choice.reasoning.scanner.push(event.text);
        ready = text === event.text ? event : { ...event, text };
        ending = choice.reasoning.scanner.ended;
        break;
      }
      case 'reasoning-end': {
        const found = choice.reasoning;
        delete choice.reasoning;
        const text = found?.scanner.end() ?? '';
        if (text !== '') out.push({ type: 'reasoning-delta', choice: index, text });
        ending = found?.scanner.ended;
        if (ending) break;
        const { signature: _, ...unsigned } = event; // it signs the text as it was
        touched ||= found?.scanner.changed ?? false;
        ready = found?.scanner.changed ? unsigned : event;
        break;
      }
      case 'refusal-delta': {
        choice.refusal ??= field(false);
        release(index, choice, choice.refusal, out);
        if (choice.done) break;
        const text = choice.refusal.scanner.push(event.text);
        ready = text === event.text ? event : { ...event, text };
        ending = choice.refusal.scanner.ended;
        break;
      }
      case 'tool-call-start': {
        release(index, choice, undefined, out);
        if (choice.done) break;
        choice.calls.set(event.index, field(event.kind === 'function'));
        const name = rewriteText(rules, event.name, { onMatch });
        ending = name.ended;
        touched ||= name.text !== event.name;
        ready = name.text === event.name ? event : { ...event, name: name.text };
        if (ending) ready = undefined;
        break;
      }
      case 'tool-call-delta': {
        let found = choice.calls.get(event.index);
        if (!found) {
          found = field(true);
          choice.calls.set(event.index, found);
        }
        release(index, choice, found, out);
        if (choice.done) break;
        const text = found.scanner.push(event.arguments);
        ready = text === event.arguments ? event : { ...event, arguments: text };
        ending = found.scanner.ended;
        break;
      }
      case 'annotation': {
        const annotation = rewriteJson(rules, event.annotation, { onMatch });
        ending = annotation.ended;
        touched ||= annotation.value !== event.annotation;
        if (!ending)
          ready = annotation.value === event.annotation ? event : { ...event, annotation: annotation.value as Json };
        break;
      }
      case 'finish':
        drain(index, choice, out);
        if (!choice.done) {
          choice.done = true;
          finished++;
          ready = event;
        }
        break;
      default:
        event satisfies never;
    }

    if (ending?.rule.action === 'retry' && (out.length === 0 || out === aside) && mayRetry()) {
      out.length = 0;
      out.push(retryWanted);
      touched = true;
      return true;
    }
    if (ready && !isEmpty(ready)) out.push(ready);
    if (ending) out.push(...blocked(index, ending));
    return choice.done && event.type !== 'finish' && finished >= expected; // closing the source lets the upstream go
  };
  /** What bytes say goes through the rules; they go out themselves where that leaves all of it as it was. */
  const pushBytes = (event: Wire, out: CompletionEvent[]): boolean => {
    if (!event.says) {
      throw new GatewayError('internal', 'An answer that must be filtered came as bytes; it was not sent.');
    }
    let over = false;
    for (const said of event.says) over ||= push(said, aside);
    if (event.bytes.length === 0 && !over) return false; // more of it follows
    if (touched || finished < choices.size) for (const changed of aside) out.push(changed);
    else {
      passed = true;
      out.push(event);
    }
    aside.length = 0;
    return over;
  };
  const drainAll = (out: CompletionEvent[]): void => {
    for (const [index, choice] of choices) if (!choice.done) drain(index, choice, out);
  };
  return { push, end: drainAll };
}

const isEmpty = (event: CompletionEvent): boolean =>
  (event.type === 'text-delta' && event.text === '' && !event.logprobs?.length) ||
  ((event.type === 'reasoning-delta' || event.type === 'refusal-delta') && event.text === '') ||
  (event.type === 'tool-call-delta' && event.arguments === '');
