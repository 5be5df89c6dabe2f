import type { Turn } from './load.ts';

/** What is simulated of one replica: continuous batching with a prefill queue and a prefix cache of bounded size. */
export interface ReplicaOptions {
  readonly prefillTokensPerSecond: number;
  /** Of one sequence alone; every further one in the batch adds a little to the step. */
  readonly decodeMsPerToken: number;
  readonly slots: number;
  readonly cacheTokens: number;
}

export const usualReplica: ReplicaOptions = {
  prefillTokensPerSecond: 6000,
  decodeMsPerToken: 15,
  slots: 16,
  cacheTokens: 120_000,
};

/** A stretch of time in which a replica is not itself. */
export interface Trouble {
  readonly replica: number;
  readonly fromMs: number;
  readonly untilMs: number;
  /** `refuses`: connections fail at once. `hangs`: no first token ever. `slow`: three times as slow. */
  readonly kind: 'refuses' | 'hangs' | 'slow';
}

export interface Job {
  readonly turn: Turn;
  readonly begun: (atMs: number, cachedTokens: number) => void;
  readonly ended: (atMs: number) => void;
}

export interface Replica {
  submit(job: Job, atMs: number): void;
  /** Drops a job that waits: its caller gave up. */
  cancel(job: Job): void;
  /** A restart: whatever it had cached is gone. */
  forget(): void;
}

export type Schedule = (atMs: number, run: (now: number) => void) => void;

export function createReplica(options: ReplicaOptions, slowness: (atMs: number) => number, at: Schedule): Replica {
  const waiting: Job[] = [];
  let running = 0;
  let prefilling = false;
  /** Longest cached beginning of each conversation or app, least recently used first. */
  const cached = new Map<string, number>();
  let cachedTotal = 0;

  const touch = (key: string, tokens: number) => {
    cachedTotal += tokens - (cached.get(key) ?? 0);
    cached.delete(key);
    cached.set(key, tokens);
    for (const [oldest, size] of cached) {
      if (cachedTotal <= options.cacheTokens) break;
      cached.delete(oldest);
      cachedTotal -= size;
    }
  };
  const known = ({ conversation, app, sharedTokens, promptTokens }: Turn) =>
    Math.min(promptTokens - 1, Math.max(cached.get(`c${conversation}`) ?? 0, cached.has(`a${app}`) ? sharedTokens : 0));

  const next = (now: number) => {
    if (prefilling || running >= options.slots) return;
    const job = waiting.shift();
    if (!job) return;
    prefilling = true;
    running += 1;
    const { turn } = job;
    const cachedTokens = known(turn);
    const prefillMs =
      (((turn.promptTokens - cachedTokens) * 1000) / options.prefillTokensPerSecond + options.decodeMsPerToken) *
      slowness(now);
    at(now + prefillMs, (firstToken) => {
      prefilling = false;
      touch(`a${turn.app}`, turn.sharedTokens);
      touch(`c${turn.conversation}`, turn.promptTokens + turn.answerTokens);
      job.begun(firstToken, cachedTokens);
      const step = options.decodeMsPerToken * (1 + 0.04 * (running - 1)) * slowness(firstToken);
      at(firstToken + turn.answerTokens * step, (end) => {
        running -= 1;
        job.ended(end);
        next(end);
      });
      next(firstToken);
    });
  };

  return {
    submit(job, now) {
      waiting.push(job);
      next(now);
    },
    cancel(job) {
      const index = waiting.indexOf(job);
      if (index >= 0) waiting.splice(index, 1);
    },
    forget() {
      cached.clear();
      cachedTotal = 0;
    },
  };
}
