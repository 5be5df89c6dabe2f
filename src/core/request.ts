import type { Json, JsonObject } from './json.ts';

/** The wire formats a client may speak. An upstream speaks one of them too, or its own. */
export type Dialect =
  | 'openai-chat'
  | 'openai-completions'
  | 'openai-responses'
  | 'anthropic-messages'
  | 'ollama-chat'
  | 'ollama-generate';

export type Priority = 'interactive' | 'normal' | 'batch';

/**
 * One generation, whatever dialect asked for it. Immutable: a stage that changes something passes on a copy
 * (`{ ...request, … }`), and one that reads or changes text calls `readable` first.
 */
export interface ChatRequest {
  /** The public model name; the attempt replaces it by the target's own. */
  readonly model: string;
  /** Turns in order. Empty when `prompt` is set. */
  readonly messages: readonly Message[];
  /** Raw text completion (legacy completions, FIM) instead of a chat: no template is applied. */
  readonly prompt?: TextPrompt | undefined;
  readonly sampling: Sampling;
  /** Most tokens to generate per choice, reasoning included. Absent: to the end of the context. */
  readonly maxTokens?: number | undefined;
  /** Text that ends the answer and is not part of it. */
  readonly stop: readonly string[];
  /** `n`: how many choices, at least 1. */
  readonly choices: number;
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly parallelToolCalls: boolean;
  readonly responseFormat: ResponseFormat;
  /** Present when token log-probabilities are wanted; `top` alternatives per position, 0..20. */
  readonly logprobs?: { readonly top: number } | undefined;
  readonly reasoning?: ReasoningOptions | undefined;
  /** Expected output; may serve as the draft of speculative decoding. */
  readonly prediction?: string | undefined;
  /**
   * The last message is the beginning of the answer and is continued exactly (assistant prefill, takeover): only what
   * comes after it is given. Its tool calls count: where the arguments of the last one are no complete JSON, the answer
   * goes on inside them (`tool-call-delta` of that index, without a new `tool-call-start`), and new calls count on.
   */
  readonly continueFinalMessage: boolean;
  /** The client wants a stream. Only the encoder and a pass-through care; in between all is a stream. */
  readonly stream: boolean;
  readonly priority: Priority;
  /** `prompt_cache_key`: requests with the same one likely share a prefix; a hint for slot and replica affinity. */
  readonly promptCacheKey?: string | undefined;
  /** End user as told by the client (`safety_identifier` or `user`). */
  readonly user?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly serviceTier?: string | undefined;
  /** Keep the answer for later retrieval. */
  readonly store?: boolean | undefined;
  /** What earlier stages found in it (`personal-data`); routes may keep such requests at home by it. */
  readonly labels?: readonly string[] | undefined;
  /** Prompt from the library: `prompt: { id, version, variables }`. */
  readonly promptTemplate?: PromptReference | undefined;
  /** The client's dialect, and its fields that we do not model: they reach an upstream of the same dialect. */
  readonly dialect: Dialect;
  readonly extensions: JsonObject;
  /** Names of the newer parts of its API that those fields are of, where an upstream wants them in a header. */
  readonly betas?: string | undefined;
  /** What no other dialect has words for (hosted tools and their items), by name: only who gets the client's own body sees it. */
  readonly leftOut?: readonly string[] | undefined;
  /** The first thing in it that cannot be left out and that we have no words for either: it goes to an upstream as sent, or not at all. */
  readonly onlyAsSent?: Unsayable | undefined;
  /** How the client wants its answer written (usage chunk, echoed settings): read by its dialect's encoder and nobody else. */
  readonly answer?: JsonObject | undefined;
  /** The client's own body, present only while no stage needs to read or change the text. */
  readonly wire?: WireRequest | undefined;
}

/** What a client sent, kept so that an upstream of the same dialect can get it unchanged. */
export interface WireRequest {
  readonly dialect: Dialect;
  readonly body: JsonObject;
  /** The exact bytes of `body`, where still at hand. */
  readonly bytes?: Uint8Array | undefined;
  /** Client headers that belong to the dialect (`anthropic-beta`, …), lower-case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Filters read the answer: it comes as bytes only beside all that they say (`says` of the event). */
  readonly mustSay?: boolean;
}

/** The request without its wire form: whoever must see or change text calls this, and the general path is taken. */
export function readable(request: ChatRequest): ChatRequest {
  if (!request.wire) return request;
  const { wire: _, ...rest } = request;
  return rest;
}

/** The request for an answer that filters read, and give on as the bytes that it came in where they leave it as it is. */
export function legible(request: ChatRequest): ChatRequest {
  const { wire } = request;
  if (!wire || request.stream) return readable(request);
  const { dialect, body, bytes, headers } = wire; // by name: a copy that then gets a field more takes a microsecond
  return { ...request, wire: { dialect, body, bytes, headers, mustSay: true } };
}

/** `x-tidegate-warning`: tells a client what of its request was left out. */
export const leftOutWarning = (leftOut: readonly string[]): string =>
  `ignored: ${leftOut.join(', ')}`.replace(/[^\x20-\x7e]/g, '?').slice(0, 500);

/** A field of a request, and what stands there, as in "a part of type 'video_url'". */
export interface Unsayable {
  readonly param: string;
  readonly what: string;
  /** It is the answer that only who gets the client's own body can give; the request is all in our words. */
  readonly inAnswer?: boolean;
}

/** Fields that have the server work beside the model, or bind where it does: who does not know them would answer another question. */
const serverWork: Readonly<Partial<Record<Dialect, readonly string[]>>> = {
  'openai-chat': ['web_search_options', 'moderation'],
  'anthropic-messages': ['mcp_servers', 'container', 'inference_geo'],
};

/** The first of those that a request asks for. */
export const serverWorkOf = ({ dialect, extensions }: Pick<ChatRequest, 'dialect' | 'extensions'>) =>
  serverWork[dialect]?.find((name) => {
    const value = extensions[name];
    return value !== undefined && value !== 'global' && !(Array.isArray(value) && value.length === 0);
  });

/** Fields beside `response_format` by which vLLM, SGLang and llama-server bind an answer to a form. */
export const answerForms: readonly string[] = [
  ...['guided_json', 'guided_regex', 'guided_choice', 'guided_grammar', 'structured_outputs'],
  ...['json_schema', 'grammar', 'regex', 'ebnf'],
];

export interface TextPrompt {
  /** Text, or token ids of the model itself. */
  readonly text: string | readonly number[];
  /** Text after the gap (fill in the middle). */
  readonly suffix?: string;
  /** Other pieces of the repository around the gap; with them whatever does not fit the context is left out, farthest first. */
  readonly files?: readonly ContextFile[];
  /** Give the prompt back in front of the answer, with its log-probabilities where asked for. */
  readonly echo: boolean;
}

export interface ContextFile {
  readonly filename: string;
  readonly text: string;
}

export type Message =
  | { readonly role: 'system' | 'developer'; readonly content: readonly Part[]; readonly name?: string }
  | { readonly role: 'user'; readonly content: readonly Part[]; readonly name?: string }
  | AssistantMessage
  | {
      readonly role: 'tool';
      readonly toolCallId: string;
      readonly content: readonly Part[];
      readonly isError?: boolean;
      readonly name?: string;
      readonly cacheControl?: Json;
    };

export interface AssistantMessage {
  readonly role: 'assistant';
  readonly content: readonly Part[];
  readonly toolCalls: readonly ToolCall[];
  /** Thinking of earlier turns; upstreams that sign it want it back unchanged. */
  readonly reasoning?: readonly ReasoningBlock[];
  readonly refusal?: string;
  readonly name?: string;
}

export type Part =
  | { readonly type: 'text'; readonly text: string; readonly cacheControl?: Json }
  /** `url` is http(s) or a data: URL. */
  | { readonly type: 'image'; readonly url: string; readonly detail?: string; readonly cacheControl?: Json }
  | { readonly type: 'audio'; readonly data: string; readonly format: string }
  | { readonly type: 'file'; readonly data?: string; readonly fileId?: string; readonly filename?: string };

/** `text` as the model thought it; `signature` proves it to the upstream; `redacted` is opaque data instead of text. */
export interface ReasoningBlock {
  readonly text: string;
  readonly signature?: string;
  readonly redacted?: string;
  readonly id?: string;
}

export interface ToolCall {
  readonly id: string;
  readonly kind: 'function' | 'custom';
  readonly name: string;
  /** JSON text for functions (not parsed: models err), free text for custom tools. */
  readonly arguments: string;
}

export interface Tool {
  readonly kind: 'function' | 'custom';
  readonly name: string;
  readonly description?: string;
  /** JSON Schema of the arguments; absent means no arguments are described. */
  readonly parameters?: JsonObject;
  readonly strict?: boolean;
  /** Custom tools: the grammar or text format of the input. */
  readonly format?: JsonObject;
  readonly cacheControl?: Json;
}

export type ToolChoice =
  | 'auto'
  | 'none'
  | 'required'
  | { readonly type: 'named'; readonly name: string }
  | { readonly type: 'allowed'; readonly mode: 'auto' | 'required'; readonly names: readonly string[] };

export type ResponseFormat =
  | { readonly type: 'text' }
  | { readonly type: 'json-object' }
  | {
      readonly type: 'json-schema';
      readonly name: string;
      readonly schema: JsonObject;
      readonly strict?: boolean;
      readonly description?: string;
    }
  /** GBNF, llama.cpp's own notation. */
  | { readonly type: 'grammar'; readonly grammar: string };

export interface ReasoningOptions {
  readonly effort?: string;
  /** Most tokens to think; 0 switches thinking off. */
  readonly budgetTokens?: number;
  readonly enabled?: boolean;
  readonly summary?: string;
}

/** Absent means the model's or upstream's own default. Further samplers travel in `extensions` under llama.cpp's names. */
export interface Sampling {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly seed?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly repeatPenalty?: number;
  /** Token id (of the model's vocabulary, decimal) → bias -100..100. */
  readonly logitBias?: Readonly<Record<string, number>>;
}

export interface PromptReference {
  readonly id: string;
  readonly version?: string;
  readonly variables: Readonly<Record<string, Json>>;
}

/** A chat with nothing but its messages: what the gateway itself asks, and what has no body of its own. */
export const plainRequest = (model: string, messages: readonly Message[] = []): ChatRequest => ({
  model,
  messages,
  sampling: {},
  stop: [],
  choices: 1,
  tools: [],
  toolChoice: 'auto',
  parallelToolCalls: true,
  responseFormat: { type: 'text' },
  continueFinalMessage: false,
  stream: true,
  priority: 'normal',
  dialect: 'openai-chat',
  extensions: {},
});

/** The texts of a call that is no chat, a part each, as filters read them; token ids, which none can read, as a prompt. */
export function holding(model: string, inputs: Inputs, more: Partial<ChatRequest> = {}): ChatRequest {
  const texts = inputs.filter((input) => typeof input === 'string');
  const ids = inputs.find((input) => typeof input !== 'string');
  const content = texts.map((text) => ({ type: 'text' as const, text }));
  return {
    ...plainRequest(model, [{ role: 'user', content }]),
    ...(ids && { prompt: { text: ids, echo: false } }),
    ...more,
  };
}

/** The inputs that `holding` was made of, with the texts that filters left. */
export function heldIn<T extends Inputs>(held: ChatRequest, inputs: T): T {
  const texts = held.messages.flatMap(({ content }) =>
    content.flatMap((part) => (part.type === 'text' ? part.text : [])),
  );
  let at = 0;
  return inputs.map((input) => (typeof input === 'string' ? (texts[at++] ?? '') : input)) as readonly unknown[] as T; // the same kinds
}

type Inputs = readonly (string | readonly number[])[];

/** The text of a content list, parts joined without separator; other parts count as nothing. */
export function textOf(content: readonly Part[]): string {
  let text = '';
  for (const part of content) if (part.type === 'text') text += part.text;
  return text;
}
