import type { CompletionEvent, TokenLogprob, Usage } from '../core/event.ts';
import { isJson, parseObject } from '../core/json.ts';
import { type AssistantMessage, type ChatRequest, readable, type ToolCall } from '../core/request.ts';
import type { Target } from '../core/route.ts';

/** What the client already has of an answer: as much as is needed to go on from exactly there. Bounded. */
export interface Delivered {
  push(event: CompletionEvent): void;
  /** Anything that a client could have seen. */
  readonly any: boolean;
  /** More came than is kept: nobody can take over any more. */
  readonly overflowed: boolean;
  readonly choices: ReadonlyMap<number, DeliveredChoice>;
  /** Tokens delivered, one a delta where nothing says more. */
  readonly tokens: number;
}

export interface DeliveredChoice {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly finished: boolean;
  readonly tokens: number;
  /** The text that came last is a refusal. */
  readonly refusing: boolean;
}

interface OpenChoice {
  text: string;
  toolCalls: { id: string; kind: 'function' | 'custom'; name: string; arguments: string }[];
  finished: boolean;
  tokens: number;
  refusing: boolean;
}

export function createDelivered(maxCharacters: number): Delivered {
  const choices = new Map<number, OpenChoice>();
  let characters = 0;
  const open = (index: number): OpenChoice => {
    let choice = choices.get(index);
    if (!choice) {
      choice = { text: '', toolCalls: [], finished: false, tokens: 0, refusing: false };
      choices.set(index, choice);
      state.any = true;
    }
    return choice;
  };
  /** True while there is room to keep it. */
  const count = (choice: OpenChoice, text: string, tokenCount = 1): boolean => {
    choice.tokens += tokenCount;
    state.tokens += tokenCount;
    characters += text.length;
    if (characters > maxCharacters && !state.overflowed) {
      state.overflowed = true;
      for (const each of choices.values()) {
        each.text = '';
        each.toolCalls = [];
      }
    }
    return !state.overflowed;
  };

  // Plain fields: getters in a literal would give every one of these objects a hidden class of its own.
  const state = { push, any: false, overflowed: false, tokens: 0, choices };
  return state;

  function push(event: CompletionEvent): void {
    switch (event.type) {
      case 'text-delta':
      case 'refusal-delta': {
        const choice = open(event.choice);
        const refusing = event.type === 'refusal-delta';
        if (event.text !== '') choice.refusing = refusing;
        const tokenCount = refusing ? 1 : (event.logprobs?.length ?? event.pieces?.length ?? 1);
        if (count(choice, event.text, tokenCount)) choice.text += event.text;
        return;
      }
      case 'tool-call-start': {
        const choice = open(event.choice);
        if (!state.overflowed) {
          choice.toolCalls[event.index] = { id: event.id, kind: event.kind, name: event.name, arguments: '' };
        }
        return;
      }
      case 'tool-call-delta': {
        const choice = open(event.choice);
        if (!count(choice, event.arguments)) return;
        const call = choice.toolCalls[event.index];
        if (call) call.arguments += event.arguments;
        return;
      }
      case 'reasoning-delta': // another model's own: counted, but nobody goes on from it
        count(open(event.choice), event.text);
        return;
      case 'reasoning-end':
        open(event.choice);
        return;
      case 'finish':
        open(event.choice).finished = true;
        return;
      case 'start':
      case 'progress':
      case 'annotation':
      case 'usage':
      case 'takeover':
      case 'wire':
        return;
      default:
        event satisfies never;
    }
  }
}

/** What is left to do for one choice. */
export type Rest =
  | Continuation
  /** All tokens that were allowed are delivered: only the finish is missing. */
  | { readonly choice: number; readonly request: undefined };

export interface Continuation {
  readonly choice: number;
  readonly request: ChatRequest;
  /** Nothing but thoughts was delivered, so the answer begins with whoever takes over. */
  readonly fresh: boolean;
  /** The index of the last tool call where it is not whole: only who knows tools may go on. */
  readonly cutCall: number | undefined;
}

/** The requests that finish an answer from exactly what is delivered; one per open choice. A text says why there are none. */
export function restOf(asked: ChatRequest, delivered: Delivered): readonly Rest[] | string {
  if (delivered.overflowed) return 'more was delivered than is kept';
  const rests: Rest[] = [];
  for (let choice = 0; choice < asked.choices; choice++) {
    const done = delivered.choices.get(choice);
    if (done?.finished) continue;
    const maxTokens = asked.maxTokens === undefined ? undefined : asked.maxTokens - (done?.tokens ?? 0);
    if (maxTokens !== undefined && maxTokens <= 0) {
      rests.push({ choice, request: undefined });
      continue;
    }
    const one: ChatRequest = {
      ...readable(asked),
      choices: 1,
      ...(maxTokens !== undefined && { maxTokens }),
      // Other choices of the same seed would say the same.
      ...(asked.sampling.seed !== undefined &&
        choice > 0 && { sampling: { ...asked.sampling, seed: asked.sampling.seed + choice } }),
    };
    const empty = !done || (done.text === '' && done.toolCalls.length === 0);
    if (empty) {
      rests.push({ choice, request: one, fresh: true, cutCall: undefined });
      continue;
    }
    const request = continued(one, done);
    if (typeof request === 'string') return request;
    const last = done.toolCalls.at(-1);
    const cutCall = last && !isWholeCall(last) ? done.toolCalls.length - 1 : undefined;
    rests.push({ choice, request, fresh: false, cutCall });
  }
  return rests;
}

function continued(asked: ChatRequest, { text, toolCalls }: DeliveredChoice): ChatRequest | string {
  if (asked.prompt) {
    if (typeof asked.prompt.text !== 'string') return 'a prompt of token ids is of one model only';
    // The echo is part of what was delivered, and is there once.
    const whole = asked.prompt.echo ? text : asked.prompt.text + text;
    return { ...asked, prompt: { ...asked.prompt, text: whole, echo: false } };
  }
  const last = asked.messages.at(-1);
  const begun = asked.continueFinalMessage && last?.role === 'assistant' ? last : undefined;
  const before = begun ? asked.messages.slice(0, -1) : asked.messages;
  const message: AssistantMessage = {
    role: 'assistant',
    content: [...(begun?.content ?? []), ...(text === '' ? [] : [{ type: 'text' as const, text }])],
    // Copied: what is delivered grows on while the request is being served.
    toolCalls: [...(begun?.toolCalls ?? []), ...toolCalls.filter(Boolean).map((call) => ({ ...call }))],
  };
  return { ...asked, messages: [...before, message], continueFinalMessage: true };
}

/**
 * Puts a continuation's events where the broken answer stopped: its choice, its tool calls' indices, and nothing that
 * would begin the answer anew. Tool calls that it opens count on from those delivered; arguments without a start belong
 * to the call that was open, as does that call named again; what goes on with a refusal is refusal.
 */
export function rejoin(rest: Omit<Continuation, 'request'>, delivered: Delivered) {
  const { choice } = rest;
  const begun = delivered.choices.get(choice);
  const before = begun?.toolCalls.length ?? 0;
  const moved = new Map<number, number>();
  /** The call that the break cut, until somebody goes on with it. */
  let cut = rest.cutCall === undefined ? undefined : begun?.toolCalls[rest.cutCall];
  let callEcho = createEchoFilter('');
  const echo = createEchoFilter(rest.fresh ? '' : (begun?.text ?? ''));
  const textEvent = (text: string, logprobs?: readonly TokenLogprob[]): readonly CompletionEvent[] => {
    if (text === '' && !logprobs) return [];
    if (begun?.refusing && !rest.fresh) return [{ type: 'refusal-delta', choice, text }];
    return [{ type: 'text-delta', choice, text, ...(logprobs && { logprobs }) }];
  };
  let next = before;
  return (event: CompletionEvent): readonly CompletionEvent[] => {
    switch (event.type) {
      case 'text-delta': {
        const text = echo.take(event.text);
        return text === '' ? [] : textEvent(text, event.logprobs);
      }
      case 'start':
        return [];
      case 'progress':
        return [event];
      case 'tool-call-start':
        if (cut?.name === event.name) {
          moved.set(event.index, before - 1);
          if (cut.kind === 'function') callEcho = createEchoFilter(cut.arguments, 1);
          cut = undefined;
          return textEvent(echo.rest());
        }
        moved.set(event.index, next);
        return [...textEvent(echo.rest()), { ...event, choice, index: next++ }];
      case 'tool-call-delta': {
        cut = undefined;
        const index = moved.get(event.index) ?? Math.max(0, before - 1);
        const text = index === before - 1 ? callEcho.take(event.arguments) : event.arguments;
        return text === '' ? [] : [{ ...event, choice, index, arguments: text }];
      }
      case 'reasoning-delta':
      case 'reasoning-end':
      case 'refusal-delta':
      case 'annotation':
      case 'finish':
        return [...textEvent(echo.rest()), { ...event, choice }];
      default:
        return [...textEvent(echo.rest()), event];
    }
  };
}

/** A shorter beginning may well be said twice. */
const leastEcho = 16;

/** An upstream that repeats the given beginning (Mistral does) is not heard twice; what may still be a repetition waits. */
function createEchoFilter(beginning: string, least = leastEcho) {
  let echo = beginning.length >= least ? beginning : '';
  let held = '';
  const rest = (): string => {
    const text = held;
    held = '';
    echo = '';
    return text;
  };
  return {
    rest,
    take(text: string): string {
      if (echo === '') return text;
      held += text;
      if (held.length < echo.length && echo.startsWith(held)) return '';
      if (held.startsWith(echo)) held = held.slice(echo.length);
      return rest();
    },
  };
}

/**
 * A continuation as one target can give it. Who can't advance a schema over a beginning would begin the JSON anew: it is
 * asked for plain text, and `isBrokenJson` tells whether the two fit.
 */
export function continuationFor({ provider: { capabilities } }: Target, request: ChatRequest): ChatRequest {
  const free = request.responseFormat.type === 'text' || capabilities.constrainedPrefill;
  return free || !request.continueFinalMessage ? request : { ...request, responseFormat: { type: 'text' } };
}

/** True where a choice was to be JSON, began as such, ended by itself, and is none; so for a tool call that was cut. */
export function isBrokenJson(
  { responseFormat, tools }: ChatRequest,
  choice: DeliveredChoice | undefined,
  cutCall: number | undefined,
): boolean {
  const call = cutCall === undefined ? undefined : choice?.toolCalls[cutCall];
  if (call?.kind === 'function' && !isWholeCall(call)) return true;
  if (!choice || !responseFormat.type.startsWith('json') || choice.refusing) return false;
  if ((tools.length > 0 && choice.toolCalls.length > 0) || !/^\s*[[{]/.test(choice.text)) return false;
  return !isJson(choice.text);
}

const isWholeCall = (call: ToolCall): boolean => parseObject(call.arguments) !== undefined;

type UsagePart = NonNullable<Usage['parts']>[number];

/** Adds up what each target spent on one answer. */
export function sumUsage(parts: readonly { readonly target: string; readonly usage: Usage }[]): Usage | undefined {
  if (parts.length <= 1) return parts[0]?.usage;
  const total: Record<string, unknown> = {};
  const shares: UsagePart[] = [];
  for (const { target, usage } of parts) {
    for (const [field, value] of Object.entries(usage)) {
      if (typeof value === 'number') total[field] = (typeof total[field] === 'number' ? total[field] : 0) + value;
      else if (value === true) total[field] = true;
    }
    const { promptTokens, completionTokens } = usage;
    shares.push({ target, promptTokens, completionTokens });
  }
  return { ...total, ...pickCounts(shares), parts: shares };
}

const pickCounts = (shares: readonly UsagePart[]) => ({
  promptTokens: shares.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
  completionTokens: shares.reduce((sum, { completionTokens }) => sum + completionTokens, 0),
});
