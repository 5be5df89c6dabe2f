import { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import type { Json } from '../core/json.ts';
import { cutAgain, joinPieces } from '../core/pieces.ts';
import type { Dialect } from '../core/request.ts';
import type { Step } from '../core/through.ts';
import { retryWanted } from './active.ts';
import type { Rule, RuleSet } from './rules.ts';
import { createScanner, type Ending } from './scanner.ts';
import { enqueue, type Field, withLogprobs } from './token-logprobs.ts';
import { rewriteError, rewriteJson, rewriteText } from './whole.ts';

export interface AnswerOptions {
  /** Choices that the answer will have. When filters have ended all of them, the upstream is let go. */
  readonly choices: number;
  /** Text is JSON too (`response_format`), so that escapes in it are decoded. */
  readonly jsonText: boolean;
  readonly dialect: Dialect;
  /** What comes in went through a filter of ours. */
  readonly filtered?: boolean;
  /** It went through these very rules: bytes that they let out hold nothing for them. */
  readonly readBefore?: boolean;
  readonly onMatch?: (rule: Rule) => void;
}

interface Choice {
  readonly index: number;
  text: Field | undefined;
  reasoning: Field | undefined;
  refusal: Field | undefined;
  /** By the call's index; made with the first. */
  calls: Map<number, Field> | undefined;
  done: boolean;
}

type Wire = Extract<CompletionEvent, { type: 'wire' }>;
type OfChoice = Extract<CompletionEvent, { choice: number }>;
type Start = Extract<CompletionEvent, { type: 'start' }>;
type Finish = Extract<CompletionEvent, { type: 'finish' }>;
type TextDelta = Extract<CompletionEvent, { type: 'text-delta' }>;

/** Dialects whose answers are blocks in order: there, text does not go on after a tool call. */
const ordered = (dialect: Dialect) => dialect === 'anthropic-messages' || dialect === 'openai-responses';

/**
 * One answer with the rules applied to every field that carries text, each field of each choice on its own. A class: each
 * request has one, and closures for all of this would be made anew and be slow until they are warm.
 */
export class AnswerFilter implements Step<CompletionEvent, CompletionEvent> {
  readonly #rules: RuleSet;
  readonly #options: AnswerOptions;
  readonly #mayRetry: (() => boolean) | undefined;
  readonly #choices = new Map<number, Choice>();
  #finished = 0;
  /** Something is given out in another way than it came. */
  #touched = false;
  /** What stands for bytes while it is read what they say. */
  #aside: CompletionEvent[] = [];
  #passed = false;

  constructor(rules: RuleSet, options: AnswerOptions, mayRetry?: () => boolean) {
    this.#rules = rules;
    this.#options = options;
    this.#mayRetry = mayRetry;
  }

  push(event: CompletionEvent, out: CompletionEvent[]): boolean {
    if (event.type === 'wire') return this.#pushBytes(event, out);
    if (this.#passed && event.type === 'finish') {
      out.push(event); // for the record: it is in the bytes
      return false;
    }
    if ('choice' in event) return this.#pushOfChoice(event, out);
    // Usage comes after everything else: a stream that forgot its finish still gives its text first.
    if (event.type === 'usage') this.end(out);
    out.push(event.type === 'start' && event.fingerprint !== undefined ? this.#startOf(event) : event);
    return false;
  }

  /** An answer that was there as a whole when it was ended has cost what it has cost. */
  rest(event: CompletionEvent, out: CompletionEvent[]): void {
    if (event.type === 'usage') out.push(event);
    else if (event.type === 'wire') for (const said of event.says ?? []) this.rest(said, out);
  }

  end(out: CompletionEvent[]): void {
    for (const choice of this.#choices.values()) if (!choice.done) this.#drain(choice, out);
  }

  failed(error: unknown): unknown {
    return rewriteError(this.#rules, error, this.#options);
  }

  /** What bytes say goes through the rules; they go out themselves where that leaves all of it as it was. */
  #pushBytes(event: Wire, out: CompletionEvent[]): boolean {
    if (this.#options.readBefore) {
      this.#passed = true;
      out.push(event);
      return false;
    }
    if (!event.says) {
      throw new GatewayError('internal', 'An answer that must be filtered came as bytes; it was not sent.');
    }
    const aside = this.#aside;
    let over = false;
    for (const said of event.says) {
      if (over) this.rest(said, aside);
      else over = this.push(said, aside);
    }
    if (event.bytes.length === 0 && !over) return false; // more of it follows
    if (this.#touched || this.#finished < this.#choices.size) for (const changed of aside) out.push(changed);
    else {
      this.#passed = true;
      out.push(event);
    }
    this.#aside = [];
    return over;
  }

  #pushOfChoice(event: OfChoice, out: CompletionEvent[]): boolean {
    const choice = this.#open(event.choice);
    if (choice.done) return false;
    let ending: Ending | undefined;
    let ready: CompletionEvent | undefined;
    switch (event.type) {
      case 'text-delta': {
        choice.text ??= this.#field('text-delta', this.#options.jsonText);
        this.#release(choice, choice.text, out);
        if (choice.done) break;
        ready = this.#pushText(choice.text, event);
        ending = choice.text.scanner.ended;
        break;
      }
      case 'reasoning-delta': {
        choice.reasoning ??= this.#field('reasoning-delta', false);
        this.#release(choice, choice.reasoning, out);
        if (choice.done) break;
        const text = choice.reasoning.scanner.push(event.text);
        ready = text === event.text ? event : { ...event, text };
        ending = choice.reasoning.scanner.ended;
        break;
      }
      case 'reasoning-end': {
        const found = choice.reasoning;
        choice.reasoning = undefined;
        const text = found?.scanner.end() ?? '';
        if (text !== '') out.push({ type: 'reasoning-delta', choice: choice.index, text });
        ending = found?.scanner.ended;
        if (ending) break;
        const { signature: _, ...unsigned } = event; // it signs the text as it was
        this.#touched ||= found?.scanner.changed ?? false;
        ready = found?.scanner.changed ? unsigned : event;
        break;
      }
      case 'refusal-delta': {
        choice.refusal ??= this.#field('refusal-delta', false);
        this.#release(choice, choice.refusal, out);
        if (choice.done) break;
        const text = choice.refusal.scanner.push(event.text);
        ready = text === event.text ? event : { ...event, text };
        ending = choice.refusal.scanner.ended;
        break;
      }
      case 'tool-call-start': {
        this.#release(choice, undefined, out);
        if (choice.done) break;
        this.#openCall(choice, event.index, event.kind === 'function');
        const name = rewriteText(this.#rules, event.name, this.#options);
        const id = rewriteText(this.#rules, event.id, this.#options);
        ending = name.ended ?? id.ended;
        const same = name.text === event.name && id.text === event.id;
        this.#touched ||= !same;
        if (!ending) ready = same ? event : { ...event, name: name.text, id: id.text };
        break;
      }
      case 'tool-call-delta': {
        const found = choice.calls?.get(event.index) ?? this.#openCall(choice, event.index, true);
        this.#release(choice, found, out);
        if (choice.done) break;
        const text = found.scanner.push(event.arguments);
        ready = text === event.arguments ? event : { ...event, arguments: text };
        ending = found.scanner.ended;
        break;
      }
      case 'annotation': {
        const annotation = rewriteJson(this.#rules, event.annotation, { onMatch: this.#options.onMatch });
        ending = annotation.ended;
        this.#touched ||= annotation.value !== event.annotation;
        if (!ending)
          ready = annotation.value === event.annotation ? event : { ...event, annotation: annotation.value as Json };
        break;
      }
      case 'finish':
        this.#drain(choice, out);
        if (!choice.done) {
          choice.done = true;
          this.#finished++;
          ready = event.stopSequence === undefined && event.detail === undefined ? event : this.#finishOf(event);
        }
        break;
      default:
        event satisfies never;
    }

    if (ending?.rule.action === 'retry' && (out.length === 0 || out === this.#aside) && this.#mayRetry?.()) {
      out.length = 0;
      out.push(retryWanted);
      this.#touched = true;
      return true;
    }
    if (ready && !isEmpty(ready)) out.push(ready);
    if (ending) this.#block(choice, ending, out);
    return choice.done && event.type !== 'finish' && this.#finished >= this.#options.choices; // closing the source lets the upstream go
  }

  #pushText(found: Field, event: TextDelta): TextDelta {
    const { scanner } = found;
    if (event.logprobs) enqueue(found, event.text, event.logprobs, this.#options.filtered);
    const { read, decided } = scanner;
    const text = scanner.push(event.text);
    if (text === event.text && !event.logprobs && found.waiting.length === 0) return event;
    if (event.pieces && text.length === scanner.decided - decided) {
      return joinPieces(event.choice, cutAgain(event.pieces, read - decided, text)); // only held back, or given out after that
    }
    return withLogprobs(this.#rules, found, { type: 'text-delta', choice: event.choice, text });
  }

  #startOf({ fingerprint: given, ...event }: Start): Start {
    const fingerprint = this.#word(given);
    return { ...event, ...(fingerprint !== undefined && { fingerprint }) };
  }

  #finishOf({ stopSequence: stop, detail: why, ...event }: Finish): Finish {
    const stopSequence = this.#word(stop);
    const detail = this.#word(why);
    return { ...event, ...(stopSequence !== undefined && { stopSequence }), ...(detail !== undefined && { detail }) };
  }

  /** What an upstream says beside its answer; nothing where it would end one. */
  #word(text = ''): string | undefined {
    const rewritten = rewriteText(this.#rules, text, this.#options);
    const word = rewritten.ended ? '' : rewritten.text;
    this.#touched ||= word !== text;
    return word || undefined;
  }

  #open(index: number): Choice {
    let choice = this.#choices.get(index);
    if (!choice) {
      choice = { index, text: undefined, reasoning: undefined, refusal: undefined, calls: undefined, done: false };
      this.#choices.set(index, choice);
    }
    return choice;
  }

  #field(type: Field['type'], json: boolean, call = 0): Field {
    return { type, call, scanner: createScanner(this.#rules, { json, onMatch: this.#options.onMatch }), waiting: [] };
  }

  #openCall(choice: Choice, index: number, json: boolean): Field {
    const found = this.#field('tool-call-delta', json, index);
    choice.calls ??= new Map();
    choice.calls.set(index, found);
    return found;
  }

  #block(choice: Choice, { rule, text }: Ending, out: CompletionEvent[]): void {
    const { index } = choice;
    choice.done = true;
    this.#touched = true;
    this.#finished++;
    if (rule.action === 'stop') {
      out.push({ type: 'finish', choice: index, reason: 'stop', stopSequence: text });
      return;
    }
    const detail = rule.message ?? `The answer was ended by the filter '${rule.filter}'.`;
    if (rule.message !== undefined) out.push({ type: 'refusal-delta', choice: index, text: rule.message });
    out.push({ type: 'finish', choice: index, reason: 'content-filter', detail });
  }

  /** What is left in the fields of a choice; stops at the first that is ended. */
  #drain(choice: Choice, out: CompletionEvent[]): void {
    for (const found of fieldsOf(choice)) {
      if (choice.done) return;
      this.#tell(choice, found, found.scanner.end(), out);
      this.#touched ||= found.scanner.changed;
    }
  }

  /**
   * What other fields of a choice hold, before this one goes on: what is held there is over as far as this goes. Where
   * answers are blocks in order everything is; else only reasoning, which readers expect in front.
   */
  #release(choice: Choice, current: Field | undefined, out: CompletionEvent[]): void {
    const { text, reasoning, refusal, calls } = choice;
    const open = (text ? 1 : 0) + (reasoning ? 1 : 0) + (refusal ? 1 : 0) + (calls?.size ?? 0);
    if (open === 0 || (open === 1 && current)) return; // nearly every delta
    for (const found of fieldsOf(choice)) {
      if (choice.done) return;
      if (found === current || (found !== reasoning && !ordered(this.#options.dialect))) continue;
      this.#tell(choice, found, found.scanner.release(), out);
    }
  }

  #tell(choice: Choice, found: Field, text: string, out: CompletionEvent[]): void {
    if (text !== '' || found.waiting.length > 0) out.push(deltaOf(this.#rules, choice.index, found, text));
    if (found.scanner.ended) this.#block(choice, found.scanner.ended, out);
  }
}

/** In the order that readers expect. */
function fieldsOf({ reasoning, text, refusal, calls }: Choice): readonly Field[] {
  const fields: Field[] = [];
  if (reasoning) fields.push(reasoning);
  if (text) fields.push(text);
  if (refusal) fields.push(refusal);
  if (calls) fields.push(...calls.values());
  return fields;
}

function deltaOf(rules: RuleSet, choice: number, field: Field, text: string): CompletionEvent {
  switch (field.type) {
    case 'text-delta':
      return withLogprobs(rules, field, { type: 'text-delta', choice, text });
    case 'tool-call-delta':
      return { type: 'tool-call-delta', choice, index: field.call, arguments: text };
    default:
      return { type: field.type, choice, text };
  }
}

const isEmpty = (event: CompletionEvent): boolean =>
  (event.type === 'text-delta' && event.text === '' && !event.logprobs?.length) ||
  ((event.type === 'reasoning-delta' || event.type === 'refusal-delta') && event.text === '') ||
  (event.type === 'tool-call-delta' && event.arguments === '');
