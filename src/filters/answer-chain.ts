import type { CompletionEvent } from '../core/event.ts';
import type { JsonObject } from '../core/json.ts';
import { type ChatRequest, legible, type Message, type ResponseFormat, readable } from '../core/request.ts';
import { through } from '../core/through.ts';
import type { Active, Again } from './active.ts';
import { reads } from './compile.ts';
import type { Tally } from './decisions.ts';
import { holdAnswer } from './hold.ts';
import type { InputResult } from './input.ts';
import { limitLength } from './length.ts';
import { filterEvents, type OutputOptions } from './output.ts';
import { actionOf, changes, type Rule, type RuleSet } from './rules.ts';
import type { Reader } from './verdict.ts';

interface ChainTools {
  readonly tally: Tally;
  readonly signal: AbortSignal;
  readonly readerOf: (filter: Active) => Reader | undefined;
}

interface AnswerChain {
  /** Asks for what the filters need. */
  readonly request: ChatRequest;
  readonly output: Stage;
}

type Stage = (events: AsyncIterable<CompletionEvent>, again: Again | undefined) => AsyncIterable<CompletionEvent>;

/**
 * What an answer goes through: patterns, then filters that read it as a whole, then its length, and last the client's
 * own data put back. Undefined when nothing reads the answer.
 */
export function answerChain(
  active: readonly Active[],
  rules: RuleSet | undefined,
  { request, restoring }: InputResult,
  { tally, signal, readerOf }: ChainTools,
): AnswerChain | undefined {
  const options: OutputOptions = {
    choices: request.choices,
    jsonText: request.responseFormat.type === 'json-object' || request.responseFormat.type === 'json-schema',
    dialect: request.dialect,
  };
  const stages: Stage[] = [];
  if (rules) {
    const onMatch = (rule: Rule) => tally.note(rule.filter, actionOf(rule), 'output', rule.label);
    const { choices, jsonText, dialect } = options; // each by name: this is made for every request
    stages.push((events, again) => filterEvents(events, rules, { choices, jsonText, dialect, onMatch, again }));
    if (rules.rejoins) {
      const twin = { choices, jsonText, dialect, filtered: true, readBefore: true };
      stages.push((events) => filterEvents(events, blockingTwin(rules), twin));
    }
  }
  const patterns = stages.length;
  for (const filter of active) {
    const reader = reads(filter.config, 'output') ? readerOf(filter) : undefined;
    if (!reader?.readAnswer) continue;
    const { shadow } = filter.config;
    const change = repairOf(filter, request);
    stages.push((events, again) =>
      holdAnswer(events, reader, {
        ...{ choices: request.choices, signal, note: tally.note, shadow },
        again:
          again &&
          ((beginning) =>
            again({ ...change, ...(beginning !== undefined && continued(request, beginning)) }, beginning)),
      }),
    );
  }
  for (const { name, config } of active) {
    if (config.kind !== 'length') continue;
    const cut = () => tally.note(name, config.shadow ? 'would cut' : 'length', 'output');
    stages.push((events) => limitLength(events, config.characters, request.choices, cut, config.shadow));
  }
  const scored = active.some(({ config }) => config.kind === 'confidence') && request.logprobs === undefined;
  if (scored) stages.push(withoutLogprobs);
  if (restoring)
    stages.push((events) => filterEvents(events, restoring, { ...options, filtered: rules !== undefined }));
  if (stages.length === 0) return undefined;

  const asked = scored ? { ...request, logprobs: { top: 0 } } : request;
  return {
    request: stages.length > patterns ? readable(asked) : legible(asked), // patterns know what to do with bytes
    output(events, again) {
      // Another answer that a later stage asks for goes through the earlier ones as well.
      const through = (upTo: number, source: AsyncIterable<CompletionEvent>, more: Again | undefined) =>
        stages.slice(0, upTo).reduce((inner, stage, index) => stage(inner, more && nested(index, more)), source);
      const nested =
        (index: number, more: Again): Again =>
        async (change, beginning) => {
          const other = await more(change);
          // The beginning is read again with what follows, so that no match hides where they meet.
          const whole = other && (beginning === undefined ? other : withBeginning(beginning, other));
          return whole && through(index, whole, undefined);
        };
      return through(stages.length, events, again);
    },
  };
}

/** What to ask for when an answer's JSON was not right: the same, bound to the schema. */
function repairOf({ config }: Active, request: ChatRequest): Partial<ChatRequest> | undefined {
  if (config.kind !== 'json' || config.action !== 'repair') return undefined;
  const schema = config.schema as JsonObject | undefined; // YAML holds JSON values only
  const responseFormat: ResponseFormat = schema
    ? { type: 'json-schema', name: 'answer', schema, strict: true }
    : request.responseFormat.type === 'json-schema'
      ? { ...request.responseFormat, strict: true }
      : { type: 'json-object' };
  return { responseFormat };
}

/** The request that asks for the rest of an answer. */
function continued({ messages }: ChatRequest, beginning: string): Partial<ChatRequest> {
  const message: Message = { role: 'assistant', content: [{ type: 'text', text: beginning }], toolCalls: [] };
  return { messages: [...messages, message], continueFinalMessage: true };
}

async function* withBeginning(text: string, rest: AsyncIterable<CompletionEvent>): AsyncGenerator<CompletionEvent> {
  yield { type: 'text-delta', choice: 0, text };
  for await (const event of rest) if (event.type !== 'start') yield event;
}

const withoutLogprobs = (events: AsyncIterable<CompletionEvent>): AsyncIterable<CompletionEvent> =>
  through(events, () => ({
    push(event, out) {
      if (event.type !== 'text-delta' || !event.logprobs) out.push(event);
      else if (event.text !== '') out.push({ type: 'text-delta', choice: event.choice, text: event.text });
      return false;
    },
  }));

/** The same rules for text that they have replaced already: what joined to a new match ends the answer. */
const twins = new WeakMap<RuleSet, RuleSet>();
function blockingTwin(set: RuleSet): RuleSet {
  let twin = twins.get(set);
  if (!twin) {
    const blocking = (rule: Rule): Rule => (changes(rule) ? { ...rule, action: 'block' } : { ...rule, shadow: true });
    twin = { ...set, rules: set.rules.map(blocking) };
    twins.set(set, twin);
  }
  return twin;
}
