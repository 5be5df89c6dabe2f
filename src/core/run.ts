import type { CompletionEvent, Usage } from './event.ts';
import type { Priority } from './request.ts';
import type { TraceContext } from './trace.ts';

/** Who asks: the holder of a key, or the anonymous caller of an open gateway. */
export interface Caller {
  /** Stable id of the key (never the key itself); `anonymous` without keys. */
  readonly id: string;
  readonly role: 'admin' | 'caller';
  readonly name?: string;
  readonly team?: string;
  readonly tags: readonly string[];
  /** Allowed model names and endpoints; absent means all. */
  readonly models?: readonly string[];
  readonly endpoints?: readonly string[];
  /** The key's own limits, instead of the configured defaults. */
  readonly limits?: CallerLimits;
  /** The most urgent class this caller may ask for. */
  readonly priority?: Priority;
  /** Isolation of KV and response cache: equal tenants may share, others never. */
  readonly tenant: string;
}

/** What one caller, team or model may use; absent means unlimited. */
export interface CallerLimits {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  /** Answers under way at once. */
  readonly streams?: number;
}

/** Everybody, while a gateway has no keys: it then serves its own machine only, so nothing is held back. */
export const anonymous: Caller = { id: 'anonymous', role: 'admin', tags: [], tenant: 'anonymous' };

/** Everything about one request that is not its content. Made by http, only read afterwards. */
export interface RequestContext {
  readonly requestId: string;
  readonly caller: Caller;
  /** Aborts when the client leaves or its total time is over. */
  readonly signal: AbortSignal;
  /** The path as routed: `/v1/chat/completions`. */
  readonly endpoint: string;
  /** Monotonic milliseconds when the request's first byte was handled. */
  readonly startedMs: number;
  /** Request headers that stages read (`x-tidegate-*`, `traceparent`, `idempotency-key`, `cache-control`), lower-case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Targets whose answer a filter refused: they are asked last. */
  readonly avoid?: readonly string[];
  /** The part after the prefix of the answer's id (`chatcmpl-…`, `resp_…`, `msg_…`); feedback names an answer by it. */
  readonly answerId?: string;
  readonly trace?: TraceContext;
  /** Lets work outlive the answer, where the platform ends what a request began with it (Workers). */
  readonly after?: ((work: Promise<unknown>) => void) | undefined;
}

/** How the response cache took part: `bypass` where it was not asked, `coalesced` with an equal request under way. */
export type CacheStatus = 'hit' | 'miss' | 'bypass' | 'coalesced' | 'stale';

/** One call of one target, as it ended up to the first event. */
export interface Attempt {
  /** `provider/model`. */
  readonly target: string;
  readonly startedMs: number;
  readonly durationMs: number;
  /** Absent when it answered. */
  readonly error?: { readonly kind: string; readonly message: string; readonly status: number };
}

/** What a stage decided about a request, for its record: small and bounded, and never text of a prompt or an answer. */
export interface Decision {
  readonly stage: string;
  readonly name: string;
  readonly action: string;
  readonly detail?: string;
}

/** By what an answer is known to its clients. */
export interface GivenAnswer {
  readonly id: string;
  readonly createdAt: number;
}

/** How long filters withheld text that had come. */
export interface Holdback {
  /** Monotonic milliseconds when the first of it came. */
  readonly startedMs: number;
  /** All of it together, and the longest at once. */
  readonly durationMs: number;
  readonly longestMs: number;
}

/** An answer under way: its first event is there, the rest is pulled. */
export interface Run {
  /** `provider/model` that answers. */
  readonly target: string;
  readonly attempts: readonly Attempt[];
  readonly cache: CacheStatus;
  /** Further response headers that stages ask for (`x-ratelimit-…`, `x-tidegate-predicted-ttft-ms`), lower-case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly events: AsyncIterable<CompletionEvent>;
  /** The answer's own id (as `RequestContext.answerId`) and time in unix seconds, where it is given again. */
  readonly given?: GivenAnswer | undefined;
  /** What the stages decided so far; read again when the stream has ended. */
  readonly decisions?: (() => readonly Decision[]) | undefined;
  readonly holdback?: (() => Holdback | undefined) | undefined;
  /** The library prompt that was rendered, with the version that was chosen. */
  readonly prompt?: { readonly id: string; readonly version?: string } | undefined;
  /** What was used as far as counted on the way: for the record of a stream that broke before its usage. */
  readonly spent?: (() => Usage | undefined) | undefined;
}
