import type { CompletionEvent, Usage } from './event.ts';
import type { JsonObject } from './json.ts';
import type { ChatRequest, Dialect } from './request.ts';

/** An upstream API or the local engine. One small interface; all but `stream` is optional. */
export interface Provider {
  /** The name under `providers:` in the configuration; `local` for the engine. */
  readonly name: string;
  readonly capabilities: Capabilities;
  /**
   * Makes the answer. `request.model` is the target's own name. The first pull sends the request; a failure is thrown
   * as GatewayError. Aborting `signal` frees the socket or slot at once, also when nobody pulls any more.
   * With `request.wire` of its own dialect the provider may answer in `wire` events, and where `mustSay` is set in that,
   * only in ones that say it.
   */
  stream(request: ChatRequest, options: CallOptions): AsyncIterable<CompletionEvent>;
  /** What of a request's wishes it does without when it does not pass it on as it was sent, in words for the client. */
  ignores?(request: ChatRequest): readonly string[];
  embed?(request: EmbeddingRequest, options: CallOptions): Promise<EmbeddingResult>;
  rerank?(request: RerankRequest, options: CallOptions): Promise<RerankResult>;
  moderate?(request: ModerationRequest, options: CallOptions): Promise<ModerationResult>;
  /** Exact prompt tokens of a request, where the provider can count without spending. */
  countTokens?(request: ChatRequest, options: CallOptions): Promise<number>;
  tokenize?(request: TokenizeRequest, options: CallOptions): Promise<readonly number[]>;
  detokenize?(
    request: { readonly model: string; readonly tokens: readonly number[] },
    options: CallOptions,
  ): Promise<string>;
  /** The prompt text that the model's chat template makes of a request. */
  applyTemplate?(request: ChatRequest, options: CallOptions): Promise<string>;
  /** Loads the model where it has to. */
  promptFacts?(request: { readonly model: string }, options: CallOptions): Promise<PromptFacts>;
  /** Forwards a body of an endpoint we do not translate (audio, images), unchanged both ways. */
  forward?(request: ForwardRequest, options: CallOptions): Promise<ForwardResponse>;
  /** Models it serves now, for listings; may ask the upstream. */
  models?(options: CallOptions): Promise<readonly ModelInfo[]>;
  /** Expected milliseconds to the first token if `request` of `tenant` came now. Only who owns a queue can tell. */
  predict?(request: ChatRequest, tenant?: string): Prediction | undefined;
  /** Cheap liveness check for active health checks; throws when unhealthy. */
  ping?(options: CallOptions): Promise<void>;
  close?(): Promise<void>;
}

export interface CallOptions {
  readonly signal: AbortSignal;
  /** Whose KV may be shared: slots and prefixes never cross tenants. Absent: the shared tenant of an open gateway. */
  readonly tenant?: string | undefined;
  /** W3C trace context and request id for the upstream. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** What a client that writes prompts itself has to know of a model. */
export interface PromptFacts {
  /** Of one slot. */
  readonly contextTokens: number;
  readonly slots: number;
  /** In Jinja. */
  readonly chatTemplate?: string | undefined;
  readonly bosText: string;
  readonly eosText: string;
}

/** What a target is able to do. What it can't is refused with a clear 400 or emulated openly, never dropped. */
export interface Capabilities {
  /** The wire format it speaks where it is one of the clients' own: the same dialect passes through. */
  readonly dialects: readonly Dialect[];
  readonly tools: boolean;
  readonly toolChoice: boolean;
  readonly parallelToolCalls: boolean;
  /** Tools whose input is free text. */
  readonly customTools: boolean;
  readonly jsonObject: boolean;
  readonly jsonSchema: boolean;
  readonly grammar: boolean;
  readonly logprobs: boolean;
  readonly images: boolean;
  readonly audio: boolean;
  /** More than one choice per request. */
  readonly choices: boolean;
  readonly seed: boolean;
  readonly penalties: boolean;
  readonly logitBias: boolean;
  readonly stop: boolean;
  readonly reasoning: boolean;
  /** Continues a given beginning of the answer exactly (assistant prefix): able to take over. */
  readonly prefill: boolean;
  /** And inside JSON or a call's arguments: the schema's state is advanced over the beginning, not begun anew. */
  readonly constrainedPrefill: boolean;
  /** Legacy raw text completion. */
  readonly completions: boolean;
  readonly embeddings: boolean;
  /** Runs on this machine: nothing leaves it. */
  readonly local: boolean;
}

export const noCapabilities: Capabilities = {
  dialects: [],
  tools: false,
  toolChoice: false,
  parallelToolCalls: false,
  customTools: false,
  jsonObject: false,
  jsonSchema: false,
  grammar: false,
  logprobs: false,
  images: false,
  audio: false,
  choices: false,
  seed: false,
  penalties: false,
  logitBias: false,
  stop: false,
  reasoning: false,
  prefill: false,
  constrainedPrefill: false,
  completions: false,
  embeddings: false,
  local: false,
};

export interface Prediction {
  readonly ttftMs: number;
  readonly queueMs: number;
  readonly uncachedTokens: number;
}

export interface EmbeddingRequest {
  readonly model: string;
  /** Texts, or token ids of the model. */
  readonly inputs: readonly (string | readonly number[])[];
  readonly dimensions?: number;
  readonly user?: string;
  readonly extensions: JsonObject;
}

export interface EmbeddingResult {
  readonly model?: string;
  readonly vectors: readonly (readonly number[] | Float32Array)[];
  readonly usage: Usage;
  /** What of the request it was made without, in words for the client. */
  readonly ignored?: readonly string[];
}

export interface RerankRequest {
  readonly model: string;
  readonly query: string;
  readonly documents: readonly string[];
  readonly topN?: number;
  /** The client's fields that we do not model. */
  readonly extensions?: JsonObject;
}

export interface RerankResult {
  /** Sorted by falling score, 0..1. */
  readonly results: readonly { readonly index: number; readonly score: number }[];
  readonly usage: Usage;
  readonly ignored?: readonly string[];
}

export interface ModerationRequest {
  readonly model?: string;
  readonly inputs: readonly string[];
  /** All parts of the one input, where there are pictures among them, in OpenAI's form. */
  readonly parts?: readonly JsonObject[];
}

/** OpenAI's, as its models score them. */
export const moderationCategories = [
  'harassment',
  'harassment/threatening',
  'hate',
  'hate/threatening',
  'illicit',
  'illicit/violent',
  'self-harm',
  'self-harm/instructions',
  'self-harm/intent',
  'sexual',
  'sexual/minors',
  'violence',
  'violence/graphic',
] as const;

export interface ModerationResult {
  readonly model: string;
  /** OpenAI's category names → score 0..1 and verdict, one entry per input. */
  readonly results: readonly {
    readonly flagged: boolean;
    readonly categories: Readonly<Record<string, boolean>>;
    readonly scores: Readonly<Record<string, number>>;
    /** What of the input each category was looked for in; text if absent. */
    readonly inputTypes?: Readonly<Record<string, readonly string[]>>;
  }[];
}

export interface TokenizeRequest {
  readonly model: string;
  readonly text: string;
  readonly addSpecial?: boolean;
  readonly parseSpecial?: boolean;
}

export interface ForwardRequest {
  /** Path below the base URL, with its query: `/audio/speech`. */
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
}

export interface ForwardResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface ModelInfo {
  /** The provider's own model name. */
  readonly id: string;
  readonly contextTokens?: number;
  readonly quantization?: string;
  readonly sizeBytes?: number;
  readonly parameters?: string;
  readonly family?: string;
  readonly state?: 'unloaded' | 'loading' | 'ready' | 'failed';
  readonly capabilities?: readonly string[];
}
