import type { Job } from './job.ts';
import type { KvStore } from './kv-store.ts';
import type { EngineStats } from './protocol.ts';
import type { SpeedMeter } from './speed.ts';

/** What the engine did since it started, and what its last step was. Counted where it happens. */
export interface Tally {
  steps: number;
  evaluatedTokens: number;
  prefillTokens: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  draftedTokens: number;
  acceptedTokens: number;
  parked: number;
  joules: number;
  /** Sequences in the last step. */
  batchWidth: number;
  /** How long answers are of late. */
  meanCompletionTokens: number;
}

export const createTally = (): Tally => ({
  steps: 0,
  evaluatedTokens: 0,
  prefillTokens: 0,
  promptTokens: 0,
  cachedTokens: 0,
  completionTokens: 0,
  draftedTokens: 0,
  acceptedTokens: 0,
  parked: 0,
  joules: 0,
  batchWidth: 0,
  meanCompletionTokens: 128,
});

export interface EngineNow {
  readonly running: readonly Job[];
  readonly queue: readonly Job[];
  readonly slots: number;
  readonly maxQueue: number;
  readonly speed: SpeedMeter;
  readonly store: KvStore;
  readonly metersEnergy: boolean;
}

/** The queue, the measured speed and the counters in one snapshot. */
export function statsOf(
  tally: Tally,
  { running, queue, slots, maxQueue, speed, store, metersEnergy }: EngineNow,
): EngineStats {
  const stepMs = speed.decodeMs(Math.max(1, running.length));
  const prefillMsPerToken = speed.prefillMsPerToken();
  const leftMs = (job: Job): number => {
    const toRead = Math.max(0, job.promptLength - job.processed);
    const expected = Math.min(job.maxTokens, Math.max(tally.meanCompletionTokens, job.generated + 16));
    return toRead * prefillMsPerToken + Math.max(1, expected - job.generated) * stepMs;
  };
  const waiting = waitingIn(queue);
  return {
    running: running.length,
    waiting,
    parked: queue.length - waiting,
    slots,
    maxQueue,
    slotFreeInMs: running.map(leftMs).sort((a, b) => a - b),
    waitingMs: queue.map(leftMs),
    stepMs,
    batchWidth: running.length > 0 ? tally.batchWidth : 0,
    prefillMsPerToken,
    meanCompletionTokens: tally.meanCompletionTokens,
    kvMemoryBytes: store.bytes('memory'),
    kvDiskBytes: store.bytes('disk'),
    totalSteps: tally.steps,
    totalEvaluatedTokens: tally.evaluatedTokens,
    totalPromptTokens: tally.promptTokens,
    totalCachedTokens: tally.cachedTokens,
    totalCompletionTokens: tally.completionTokens,
    totalPrefillTokens: tally.prefillTokens,
    totalDraftedTokens: tally.draftedTokens,
    totalAcceptedTokens: tally.acceptedTokens,
    totalParked: tally.parked,
    ...(metersEnergy ? { totalJoules: tally.joules } : {}),
  };
}

/** Jobs that never ran: the others in the queue are parked. */
export const waitingIn = (queue: readonly Job[]): number =>
  queue.filter((job) => job.generated === 0 && job.processed === 0).length;
