import type { CompletionEvent, FinishReason, Usage } from './event.ts';
import type { ChatRequest, PromptReference } from './request.ts';
import type { Attempt, CacheStatus, Decision, Holdback, RequestContext, Run } from './run.ts';

/**
 * One wide record per request, made when it has ended, whichever way. Holds no prompt, answer or key. All have the same
 * fields in the same order, undefined where there is nothing to say: sinks read them faster so.
 */
export interface RequestRecord {
  readonly requestId: string;
  /** What the answer's id ends with, and the upstream's own id of it; feedback names an answer by either. */
  readonly answerId?: string | undefined;
  readonly upstreamId?: string | undefined;
  readonly traceId?: string | undefined;
  readonly endpoint: string;
  readonly callerId: string;
  readonly team?: string | undefined;
  /** The public model name asked for. */
  readonly model: string;
  /** `provider/model` that answered; absent when none did. */
  readonly target?: string | undefined;
  readonly attempts: readonly Attempt[];
  readonly cache: CacheStatus;
  readonly stream: boolean;
  /** Unix milliseconds at the request's first byte. */
  readonly startedAt: number;
  /** The same moment on the clock of `attempts` and `stages`. */
  readonly startedMs: number;
  readonly durationMs: number;
  /** Time to the first event that the client could see; absent when there was none. */
  readonly ttftMs?: number | undefined;
  /** (end − first token) ÷ (tokens − 1), where there were at least two tokens. */
  readonly tpotMs?: number | undefined;
  /** Of the time after the first event: how much the encoder and the reader took, not the model. */
  readonly readerMs?: number | undefined;
  /** Of the same time: how long filters withheld text that had come. */
  readonly holdback?: Holdback | undefined;
  /** Time until the answer began, less the attempts: what the gateway itself added. */
  readonly overheadMs?: number | undefined;
  readonly usage?: Usage | undefined;
  /** US dollars, where the target's price is known. */
  readonly costUsd?: number | undefined;
  readonly finishReasons: readonly FinishReason[];
  /** `ok`, or the error's kind; `cancelled` when the client left. */
  readonly outcome: string;
  readonly status: number;
  readonly errorMessage?: string | undefined;
  readonly user?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** What stages decided, by stage: filters, cache, routing, limits. Small and bounded. */
  readonly decisions: readonly Decision[];
  /** What took how long before the answer began, in order. */
  readonly stages: readonly Stage[];
  /** The library prompt that was rendered, without its variables. */
  readonly prompt?: Pick<PromptReference, 'id' | 'version'> | undefined;
}

/** One timed step of a request; monotonic milliseconds as in `RequestContext.startedMs`. */
export interface Stage {
  readonly name: string;
  readonly startedMs: number;
  readonly durationMs: number;
}

/** Takes records: log, metrics, ledger. Must not throw and must not wait. */
export type RecordSink = (record: RequestRecord) => void;

/** Follows one request while it is under way. Must not throw and must not wait; `event` runs for every delta. */
export interface RequestWatch {
  /** How prompts and filters left the request; never told of one that failed before. */
  revised?(request: ChatRequest): void;
  answered?(run: Run, nowMs: number): void;
  event?(event: CompletionEvent, nowMs: number): void;
  /** Exactly once, with the record that the sinks get. */
  ended(record: RequestRecord): void;
}

/** Asked once per request: the live board, traces, quality. Undefined: not interested in this one. */
export type Watcher = (request: ChatRequest, context: RequestContext) => RequestWatch | undefined;

/** What a person or a judge thought of one answer, tied to what made it. */
export interface Feedback {
  readonly id: string;
  readonly requestId: string;
  readonly answerId?: string;
  /** 0 bad to 1 good. */
  readonly score: number;
  readonly label?: string;
  readonly comment?: string;
  readonly callerId: string;
  readonly model: string;
  /** The version that answered: `provider/model`. */
  readonly target: string;
  readonly prompt?: { readonly id: string; readonly version?: string };
  /** Unix milliseconds. */
  readonly at: number;
}
