import { detectLanguage } from '../core/language.ts';
import { type ChatRequest, textOf } from '../core/request.ts';
import type { RequestContext } from '../core/run.ts';

/** What decisions look at: cheap figures of a request, worked out once and only when asked for. */
export interface Facts {
  readonly request: ChatRequest;
  readonly context: RequestContext;
  /** Estimate: four characters a token. */
  readonly promptTokens: number;
  /** What the answer may cost at most, or a usual answer where no limit is given. */
  readonly outputTokens: number;
  /** Whom a sticky choice sticks to. */
  sticky(by: StickyBy): string;
  /** The beginning that later turns of the same conversation share: all up to the first user message. */
  readonly prefix: string;
  /** ISO 639-1 of the last user message, `und` where unsure. */
  readonly language: string;
  /** What a classifier said, where the route has one. */
  readonly label: string;
}

export type StickyBy = 'caller' | 'session' | 'user';

const usualAnswerTokens = 256;
const prefixCharacters = 8192;

/** What conditions, strategies and places are told of a request. `label`: the classifier’s word, if there is one. */
export const factsOf = (request: ChatRequest, context: RequestContext, label = ''): Facts =>
  new RequestFacts(request, context, label);

/**
 * A class for its getters: in an object literal they give every single object a hidden class of its own, which lives in
 * the old generation and keeps the whole request alive until the next full collection.
 */
class RequestFacts implements Facts {
  readonly request: ChatRequest;
  readonly context: RequestContext;
  readonly label: string;
  readonly outputTokens: number;
  #characters: number | undefined;
  #prefix: string | undefined;
  #language: string | undefined;

  constructor(request: ChatRequest, context: RequestContext, label: string) {
    this.request = request;
    this.context = context;
    this.label = label;
    this.outputTokens = (request.maxTokens ?? usualAnswerTokens) * request.choices;
  }

  get promptTokens(): number {
    this.#characters ??= countCharacters(this.request);
    return Math.ceil(this.#characters / 4);
  }

  get prefix(): string {
    this.#prefix ??= leadingText(this.request);
    return this.#prefix;
  }

  get language(): string {
    this.#language ??= detectLanguage(lastUserText(this.request));
    return this.#language;
  }

  sticky(by: StickyBy): string {
    const { request, context } = this;
    if (by === 'session') {
      return request.promptCacheKey ?? request.metadata?.['session_id'] ?? request.user ?? context.caller.id;
    }
    return by === 'user' ? (request.user ?? context.caller.id) : context.caller.id;
  }
}

/** The text of the last user turn, or of a raw prompt; empty where there is none. */
export function lastUserText(request: ChatRequest): string {
  if (request.prompt) return typeof request.prompt.text === 'string' ? request.prompt.text : '';
  for (let i = request.messages.length - 1; i >= 0; i--) {
    const message = request.messages[i];
    if (message?.role === 'user') return textOf(message.content);
  }
  return '';
}

function leadingText(request: ChatRequest): string {
  if (request.promptCacheKey !== undefined) return request.promptCacheKey;
  if (request.prompt) {
    const { text } = request.prompt;
    return typeof text === 'string' ? text.slice(0, prefixCharacters) : text.slice(0, 1024).join(' ');
  }
  let text = '';
  for (const message of request.messages) {
    text += `${message.role}:${textOf(message.content)}\n`;
    if (message.role === 'user' || text.length > prefixCharacters) break;
  }
  return text.slice(0, prefixCharacters);
}

function countCharacters(request: ChatRequest): number {
  if (request.prompt) {
    const { text, suffix = '' } = request.prompt;
    return (typeof text === 'string' ? text.length : text.length * 4) + suffix.length;
  }
  let count = 0;
  for (const message of request.messages) {
    for (const part of message.content) count += part.type === 'text' ? part.text.length : 1024;
    if (message.role === 'assistant') for (const call of message.toolCalls) count += call.arguments.length;
    count += 16; // what the template puts around a turn
  }
  for (const tool of request.tools) count += (tool.description?.length ?? 0) + sizeOf(tool.parameters);
  return count;
}

/** Length of a value as JSON; not walked here, because a client's nesting must not become our recursion. */
const sizeOf = (value: unknown): number => (value === undefined ? 0 : JSON.stringify(value).length);
