import type { TokenLogprob } from '../core/event.ts';
import type { ContextFile, Priority } from '../core/request.ts';
import type { LoadOptions } from './load-options.ts';

/** Messages between the gateway and an engine child. Plain data: they cross a process boundary as JSON. */
export type ToChild =
  | { readonly type: 'load'; readonly options: LoadOptions }
  | { readonly type: 'generate'; readonly id: number; readonly request: GenerateRequest }
  | { readonly type: 'call'; readonly id: number; readonly call: EngineCall }
  | { readonly type: 'cancel'; readonly id: number }
  /** Keep what is warm and end. */
  | { readonly type: 'shutdown' };

export type FromChild =
  | { readonly type: 'load-progress'; readonly fraction: number }
  | {
      readonly type: 'loaded';
      readonly model: EngineModelInfo;
      readonly stats: EngineStats;
      readonly slots: readonly SlotState[];
    }
  | { readonly type: 'load-failed'; readonly error: EngineError }
  /** All that one step brought, for all requests, in order; with a report now and then, and when others run or wait. */
  | ({ readonly type: 'outputs'; readonly outputs: readonly EngineOutput[] } & Partial<EngineReport>)
  | { readonly type: 'result'; readonly id: number; readonly value: unknown }
  | { readonly type: 'error'; readonly id: number; readonly error: EngineError }
  /** Sent every second from the child's event loop. `busyMs`: how long the native call under way has lasted. */
  | {
      readonly type: 'heartbeat';
      readonly busyMs: number;
      readonly stats: EngineStats;
      readonly slots: readonly SlotState[];
    };

/** What the gateway knows of the engine's doings. */
export interface EngineReport {
  readonly stats: EngineStats;
  readonly slots: readonly SlotState[];
}

export interface EngineError {
  readonly kind:
    | 'invalid_request'
    | 'unsupported'
    | 'context_length_exceeded'
    | 'overloaded'
    | 'engine_failed'
    | 'model_unavailable';
  readonly message: string;
  readonly param?: string;
  readonly retryAfterMs?: number;
}

export interface EngineModelInfo {
  readonly architecture: string;
  readonly description: string;
  readonly parameters: number;
  readonly sizeBytes: number;
  readonly trainContextTokens: number;
  /** Context of one slot. */
  readonly contextTokens: number;
  readonly slots: number;
  readonly threads: number;
  readonly vocabularySize: number;
  readonly embeddingLength: number;
  /** The GGUF's chat template in Jinja, where it has one; `toolTemplate` its variant for tools. */
  readonly chatTemplate: string | undefined;
  readonly toolTemplate: string | undefined;
  readonly bosText: string;
  readonly eosText: string;
  readonly fillInMiddle: boolean;
  /** A reranker: gives scores instead of vectors. */
  readonly ranking: boolean;
  readonly kvBytesPerToken: number;
  readonly gpu: string | false;
  readonly gpuLayers: number;
  readonly loadMs: number;
}

/** A turn as chat templates know it. */
export interface TemplateMessage {
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

export type EnginePrompt =
  | {
      readonly kind: 'chat';
      readonly messages: readonly TemplateMessage[];
      readonly tools?: readonly unknown[];
      /** Beginning of the answer, continued exactly. */
      readonly continueText?: string;
      /** Further variables of the template (`enable_thinking`, …). */
      readonly variables?: Readonly<Record<string, unknown>>;
      /** A template instead of the model's own. */
      readonly template?: string;
    }
  | {
      readonly kind: 'text';
      readonly text: string;
      readonly suffix?: string;
      /** Pieces of the repository around the gap. */
      readonly files?: readonly ContextFile[];
    }
  | { readonly kind: 'tokens'; readonly tokens: readonly number[]; readonly suffix?: string };

export interface GenerateRequest {
  readonly prompt: EnginePrompt;
  readonly sampling: SamplingOptions;
  readonly maxTokens?: number;
  readonly minTokens?: number;
  readonly stop: readonly string[];
  readonly choices: number;
  readonly logprobs?: { readonly top: number };
  /** Give the prompt back first, with its log-probabilities where those are wanted. */
  readonly echo?: boolean;
  readonly grammar?: GrammarOptions;
  /** Text that is likely to come: drafts for speculative decoding. */
  readonly prediction?: string;
  /** Drafts are looked up in the prompt itself. */
  readonly promptLookup?: boolean;
  /** Most tokens that the draft model guesses for a step; 0 switches it off. */
  readonly maxDraft?: number;
  readonly priority: Priority;
  /** Whose KV may be shared. */
  readonly tenant: string;
  readonly cacheKey?: string;
  /** False: neither reuse nor keep the prompt's KV. */
  readonly cachePrompt?: boolean;
  /** Decode this request alone in its steps, so that its arithmetic does not depend on who else is there. */
  readonly deterministic?: boolean;
  /** What happens at the end of the context: finish as `length`, or forget the oldest half and go on. */
  readonly overflow?: 'stop' | 'shift';
  readonly loras?: readonly { readonly name: string; readonly scale: number }[];
  /** Render control tokens as text (`<|python_tag|>`), for output parsers that look for them. */
  readonly specialTokens?: boolean;
}

/** Grammar in GBNF. With triggers it applies from the first of these texts on (the text itself is not part of it). */
export interface GrammarOptions {
  readonly gbnf: string;
  readonly triggers?: readonly string[];
  /** Text of the grammar's language that the prompt ends with: the grammar goes on behind it. */
  readonly consumed?: string;
  /** The request's field that it was made from; `grammar` if absent. */
  readonly param?: string;
}

/** llama.cpp's samplers under its own names, in camel case. */
export interface SamplingOptions {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly typicalP?: number;
  readonly topNSigma?: number;
  readonly dynatempRange?: number;
  readonly dynatempExponent?: number;
  readonly mirostat?: number;
  readonly mirostatTau?: number;
  readonly mirostatEta?: number;
  readonly xtcProbability?: number;
  readonly xtcThreshold?: number;
  readonly seed?: number;
  readonly repeatPenalty?: number;
  readonly repeatLastN?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly dryMultiplier?: number;
  readonly dryBase?: number;
  readonly dryAllowedLength?: number;
  readonly dryPenaltyLastN?: number;
  readonly drySequenceBreakers?: readonly string[];
  /** Token id → bias; -100 and below bans. */
  readonly logitBias?: Readonly<Record<string, number>>;
  readonly ignoreEos?: boolean;
}

/** What happens to request `id`. */
export type EngineOutput = { readonly id: number } & (
  | { readonly type: 'prompt'; readonly promptTokens: number; readonly cachedTokens: number }
  | { readonly type: 'progress'; readonly processedTokens: number; readonly totalTokens: number }
  | {
      readonly type: 'text';
      readonly choice: number;
      readonly text: string;
      readonly logprobs?: readonly TokenLogprob[];
    }
  | {
      readonly type: 'finish';
      readonly choice: number;
      readonly reason: 'stop' | 'length';
      readonly stopSequence?: string;
    }
  | { readonly type: 'done'; readonly usage: EngineUsage }
  | { readonly type: 'failed'; readonly error: EngineError }
);

export interface EngineUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  readonly acceptedDraftTokens: number;
  readonly rejectedDraftTokens: number;
  /** Its share of what the processor took, where the machine tells. */
  readonly energyJoules?: number;
  readonly queueMs: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
}

/** A snapshot of the queue and the measured speed: what a prediction is made from. */
export interface SlotState {
  readonly state: 'idle' | 'prefill' | 'decode';
  /** Tokens in the slot's KV, and how many of them the last prompt found there. */
  readonly usedTokens: number;
  readonly prefixTokens: number;
}

export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  readonly parked: number;
  readonly slots: number;
  readonly maxQueue: number;
  /** When each running request is expected to leave its slot, from now, rising. */
  readonly slotFreeInMs: readonly number[];
  /** Expected milliseconds of work per waiting request, in queue order. */
  readonly waitingMs: readonly number[];
  readonly stepMs: number;
  /** Sequences in the last step. */
  readonly batchWidth: number;
  readonly prefillMsPerToken: number;
  readonly meanCompletionTokens: number;
  readonly kvMemoryBytes: number;
  readonly kvDiskBytes: number;
  readonly totalSteps: number;
  readonly totalEvaluatedTokens: number;
  readonly totalPromptTokens: number;
  readonly totalCachedTokens: number;
  readonly totalCompletionTokens: number;
  /** Prompt tokens evaluated; more than were asked for where a parked prompt had to be read again. */
  readonly totalPrefillTokens: number;
  readonly totalDraftedTokens: number;
  readonly totalAcceptedTokens: number;
  readonly totalParked: number;
  /** Absent where the machine does not tell. */
  readonly totalJoules?: number;
}

/** Everything else that a model can do, as one question and one answer. */
export type EngineCall =
  | { readonly method: 'tokenize'; readonly text: string; readonly addSpecial: boolean; readonly parseSpecial: boolean }
  | { readonly method: 'detokenize'; readonly tokens: readonly number[] }
  | { readonly method: 'render'; readonly prompt: EnginePrompt }
  | { readonly method: 'count'; readonly prompt: EnginePrompt }
  | { readonly method: 'embed'; readonly inputs: readonly (string | readonly number[])[] }
  | { readonly method: 'rerank'; readonly query: string; readonly documents: readonly string[] };

/** Answer of `embed`: vectors of unit length as base64 of little-endian 32-bit floats. */
export interface EmbedResult {
  readonly vectors: readonly string[];
  readonly promptTokens: number;
}

/** Answer of `rerank`: a score 0..1 per document, in their order. */
export interface RerankScores {
  readonly scores: readonly number[];
  readonly promptTokens: number;
}
