import type { Usage } from '../core/event.ts';
import { isJson, parseObject } from '../core/json.ts';
import { type AssistantMessage, type ChatRequest, readable, type ToolCall } from '../core/request.ts';
import type { Target } from '../core/route.ts';
import { sumUsage } from '../core/usage.ts';
import type { Delivered, DeliveredChoice } from './delivered.ts';

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

/** What each target spent on one answer, added up. */
export function usageOfAll(parts: readonly { readonly target: string; readonly usage: Usage }[]): Usage | undefined {
  if (parts.length <= 1) return parts[0]?.usage;
  const shares = parts.map(({ target, usage: { promptTokens, completionTokens } }) => ({
    target,
    promptTokens,
    completionTokens,
  }));
  return { ...sumUsage(parts.map(({ usage }) => usage)), parts: shares };
}
