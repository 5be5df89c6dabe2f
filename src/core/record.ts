import type { FinishReason, Usage } from './event.ts';
import type { Attempt, CacheStatus } from './run.ts';

/** One wide record per request, made when it has ended, whichever way. Holds no prompt, answer or key. */
export interface RequestRecord {
  readonly requestId: string;
  readonly endpoint: string;
  readonly callerId: string;
  readonly team?: string;
  /** The public model name asked for. */
  readonly model: string;
  /** `provider/model` that answered; absent when none did. */
  readonly target?: string;
  readonly attempts: readonly Attempt[];
  readonly cache: CacheStatus;
  readonly stream: boolean;
  /** Unix milliseconds at the request's first byte. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** Time to the first event that the client could see; absent when there was none. */
  readonly ttftMs?: number;
  /** (end − first token) ÷ (tokens − 1), where there were at least two tokens. */
  readonly tpotMs?: number;
  readonly usage?: Usage;
  readonly finishReasons: readonly FinishReason[];
  /** `ok`, or the error's kind; `cancelled` when the client left. */
  readonly outcome: string;
  readonly status: number;
  readonly errorMessage?: string;
  readonly user?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** What stages decided, by stage: filters, cache, routing, limits. Small and bounded. */
  readonly decisions: readonly Decision[];
}

export interface Decision {
  readonly stage: string;
  readonly name: string;
  readonly action: string;
  readonly detail?: string;
}

/** Takes records: log, metrics, ledger. Must not throw and must not wait. */
export type RecordSink = (record: RequestRecord) => void;
