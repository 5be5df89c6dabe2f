import { type Clock, systemClock } from '../core/clock.ts';
import type { CompletionEvent } from '../core/event.ts';
import type { RequestRecord, RequestWatch, Watcher } from '../core/record.ts';
import { createRoster } from '../core/roster.ts';
import type { Run } from '../core/run.ts';
import type { BudgetStatus, EngineStatus, Status, TargetStatus } from '../core/status.ts';
import { createMovingQuantiles } from './quantiles.ts';

/** One second of the gateway's life: what the moving plots draw. */
export interface LivePoint {
  /** Unix seconds. */
  readonly at: number;
  readonly inFlight: number;
  readonly waiting: number;
  readonly requestsPerSecond: number;
  readonly errorsPerSecond: number;
  /** Deltas that left the gateway; the engine's own tokens are counted exactly. */
  readonly tokensPerSecond: number;
  readonly prefillPerSecond: number;
  readonly ttftP50: number | null;
  readonly ttftP95: number | null;
  readonly itlP50: number | null;
  readonly itlP95: number | null;
}

export interface LiveRequest {
  readonly requestId: string;
  readonly endpoint: string;
  readonly model: string;
  readonly target?: string | undefined;
  readonly callerId: string;
  readonly startedAt: number;
  readonly phase: 'waiting' | 'reading' | 'writing';
  /** Prompt tokens read so far, of all; engine only. */
  readonly promptRead?: number | undefined;
  readonly promptTokens?: number | undefined;
  readonly tokens: number;
  readonly ttftMs?: number | undefined;
}

export interface LiveSnapshot {
  readonly point: LivePoint;
  readonly requests: readonly LiveRequest[];
  readonly engines: readonly EngineStatus[];
  readonly targets: readonly TargetStatus[];
  readonly totals: {
    readonly requests: number;
    readonly failed: number;
    readonly tokens: number;
    readonly cacheHits: number;
  };
  readonly startedAt: number;
}

export interface Live {
  readonly watch: Watcher;
  /** Ends the current second; called once a second by whoever owns a timer. */
  tick(): void;
  snapshot(): LiveSnapshot;
  /** The last minutes, oldest first. */
  points(): readonly LivePoint[];
  /** Of each budget that a request has touched since the start. */
  budgets(): readonly BudgetStatus[];
  /** Called after each tick. Returns how to stop. */
  subscribe(listener: (snapshot: LiveSnapshot) => void): () => void;
}

type OpenRequest = { -readonly [K in keyof LiveRequest]: LiveRequest[K] };

/** Seconds of plot that are kept, and requests that are shown at once. */
const keptSeconds = 600;
const shownRequests = 200;
const windowSeconds = 15;

/** What is going on right now: requests under way, speeds and latencies of the last seconds. */
export function createLive({
  status = {},
  clock = systemClock,
}: {
  readonly status?: Status;
  readonly clock?: Clock;
} = {}): Live {
  const open = createRoster<OpenRequest>();
  const listeners = new Set<(snapshot: LiveSnapshot) => void>();
  const ttft = createMovingQuantiles(windowSeconds);
  const itl = createMovingQuantiles(windowSeconds);
  const points: LivePoint[] = [];
  const startedAt = clock.wall();
  const totals = { requests: 0, failed: 0, tokens: 0, cacheHits: 0 };
  let second = { requests: 0, errors: 0, tokens: 0 };
  let lastTickMs = clock.now();
  let current: LivePoint | undefined;

  function pointNow(elapsed: number): LivePoint {
    const nowMs = clock.now();
    const engines = status.engines?.() ?? [];
    const [ttftP50 = null, ttftP95 = null] = ttft.at([0.5, 0.95], nowMs);
    const [itlP50 = null, itlP95 = null] = itl.at([0.5, 0.95], nowMs);
    let waiting = 0;
    for (const { phase } of open) if (phase === 'waiting') waiting++;
    return {
      at: Math.round(clock.wall() / 1000),
      inFlight: open.size,
      waiting,
      requestsPerSecond: second.requests / elapsed,
      errorsPerSecond: second.errors / elapsed,
      tokensPerSecond: second.tokens / elapsed,
      prefillPerSecond: engines.reduce((sum, { prefillTokensPerSecond }) => sum + prefillTokensPerSecond, 0),
      ttftP50,
      ttftP95,
      itlP50,
      itlP95,
    };
  }

  const snapshot = (): LiveSnapshot => ({
    point: current ?? pointNow(1),
    requests: [...open].slice(0, shownRequests).map((request) => ({ ...request })),
    engines: status.engines?.() ?? [],
    targets: status.targets?.() ?? [],
    totals: { ...totals },
    startedAt,
  });

  /** One request on the board. A class: every request makes one, and it should be no handful of closures. */
  class OpenWatch implements RequestWatch {
    readonly #live: OpenRequest;
    readonly #startedMs: number;
    readonly #leave: () => void;
    #lastTokenMs: number | undefined;

    constructor(live: OpenRequest, startedMs: number) {
      this.#live = live;
      this.#startedMs = startedMs;
      this.#leave = open.add(live);
    }

    answered({ target }: Run): void {
      this.#live.target = target;
      if (this.#live.phase === 'waiting') this.#live.phase = 'reading';
    }

    event(event: CompletionEvent, nowMs: number): void {
      const live = this.#live;
      if (event.type === 'progress') {
        live.promptRead = event.processedTokens;
        live.promptTokens = event.totalTokens;
      } else if (event.type === 'takeover') live.target = event.target;
      else if (isToken(event.type)) {
        if (this.#lastTokenMs === undefined) {
          live.ttftMs = nowMs - this.#startedMs;
          live.phase = 'writing';
          ttft.add(live.ttftMs, nowMs);
        } else itl.add(nowMs - this.#lastTokenMs, nowMs);
        this.#lastTokenMs = nowMs;
        const tokens = event.type === 'text-delta' ? (event.pieces?.length ?? 1) : 1;
        live.tokens += tokens;
        second.tokens += tokens;
        totals.tokens += tokens;
      }
    }

    ended({ outcome, cache }: RequestRecord): void {
      this.#leave();
      second.requests++;
      totals.requests++;
      if (cache === 'hit' || cache === 'coalesced' || cache === 'stale') totals.cacheHits++;
      if (outcome !== 'ok' && outcome !== 'cancelled') {
        second.errors++;
        totals.failed++;
      }
    }
  }

  return {
    watch({ model }, { requestId, endpoint, caller, startedMs }): RequestWatch {
      const live: OpenRequest = {
        requestId,
        endpoint,
        model,
        target: undefined,
        callerId: caller.id,
        startedAt: clock.wall() - (clock.now() - startedMs),
        phase: 'waiting',
        promptRead: undefined,
        promptTokens: undefined,
        tokens: 0,
        ttftMs: undefined,
      };
      return new OpenWatch(live, startedMs);
    },
    tick() {
      const nowMs = clock.now();
      current = pointNow(Math.max(0.1, (nowMs - lastTickMs) / 1000));
      lastTickMs = nowMs;
      second = { requests: 0, errors: 0, tokens: 0 };
      points.push(current);
      if (points.length > keptSeconds) points.shift();
      if (listeners.size === 0) return;
      const now = snapshot();
      for (const listener of listeners) listener(now);
    },
    snapshot,
    points: () => points,
    budgets: () => status.budgets?.() ?? [],
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

const isToken = (type: string) =>
  type === 'text-delta' ||
  type === 'reasoning-delta' ||
  type === 'tool-call-delta' ||
  type === 'refusal-delta' ||
  type === 'wire';
