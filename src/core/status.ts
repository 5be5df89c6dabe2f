/** What the parts say of themselves right now. Read at each scrape and by the live board, so: no waiting, little work. */
export interface Status {
  readonly engines?: () => readonly EngineStatus[];
  readonly targets?: () => readonly TargetStatus[];
  readonly budgets?: () => readonly BudgetStatus[];
  /** Parts that are not well, as `/health` names them: `{ ledger: 'spooling' }`. */
  readonly unwell?: () => Readonly<Record<string, string>>;
  readonly responseCache?: () => ResponseCacheStatus;
}

/** One local model and the child that runs it. Counters only rise; they begin anew with the gateway, not the child. */
export interface EngineStatus {
  readonly model: string;
  readonly state: 'unloaded' | 'loading' | 'ready' | 'failed';
  readonly slots: readonly SlotStatus[];
  readonly waiting: number;
  readonly running: number;
  /** Sequences in the last batch. */
  readonly batchWidth: number;
  readonly kv: readonly KvTierStatus[];
  /** Over the last seconds. */
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
  readonly counters: EngineCounters;
}

export interface SlotStatus {
  readonly id: number;
  readonly state: 'idle' | 'prefill' | 'decode' | 'parked';
  /** Tokens in the slot's KV cache, of at most `contextTokens`. */
  readonly usedTokens: number;
  readonly contextTokens: number;
  /** Prompt tokens of the current request that were already there. */
  readonly prefixTokens: number;
}

export interface KvTierStatus {
  readonly tier: 'slots' | 'memory' | 'disk';
  readonly used: number;
  readonly capacity: number;
  readonly unit: 'tokens' | 'bytes';
}

export interface EngineCounters {
  readonly promptTokens: number;
  readonly prefixHitTokens: number;
  readonly prefillTokens: number;
  readonly decodeTokens: number;
  readonly draftedTokens: number;
  readonly acceptedTokens: number;
  readonly restarts: number;
  readonly preemptions: number;
  /** Absent where neither RAPL nor NVML tells. */
  readonly energyJoules?: number;
}

export interface TargetStatus {
  /** `provider/model`. */
  readonly target: string;
  readonly breaker: 'closed' | 'half-open' | 'open';
  readonly inFlight: number;
  readonly healthy: boolean;
}

export interface BudgetStatus {
  /** The key's or team's id, never the key. */
  readonly owner: string;
  readonly usedUsd: number;
  readonly limitUsd: number;
  /** The budget's name, and the highest of its thresholds (0..1) that is reached. */
  readonly budget?: string;
  readonly reached?: number;
}

export interface ResponseCacheStatus {
  readonly entries: number;
  readonly bytes: number;
  readonly maxBytes: number;
}
