import type { Priority } from '../core/request.ts';

/**
 * Who runs, who waits, who makes room. Pure: the runner holds the state, asks here, and applies the answer.
 * Words: a job is one choice of one request; it waits in the queue, runs in a slot, or is parked (its KV kept aside).
 */
export interface QueuedJob {
  readonly key: number;
  readonly tenant: string;
  readonly priority: Priority;
  /** Arrival order. A parked job keeps its own, so it goes on before later ones. */
  readonly order: number;
}

export interface RunningJob {
  readonly key: number;
  readonly tenant: string;
  readonly priority: Priority;
  readonly order: number;
  /** Can be put aside now and resume to the same text. */
  readonly parkable: boolean;
}

export interface SchedulerState {
  readonly queue: readonly QueuedJob[];
  readonly running: readonly RunningJob[];
  readonly slots: number;
  /** Tokens served per tenant, as virtual time: the smaller goes first. */
  readonly served: ReadonlyMap<string, number>;
}

export interface Decisions {
  /** Jobs to put aside, to make room for as many of `start`. */
  readonly park: readonly number[];
  /** Queued jobs in the order in which they get slots; may be more than there are slots. */
  readonly start: readonly number[];
}

const rank: Readonly<Record<Priority, number>> = { interactive: 0, normal: 1, batch: 2 };

/**
 * Orders the queue (priority, then the tenant served least so far, then arrival; a tenant's later jobs count as served
 * one each, so that tenants alternate) and parks batch jobs for waiting interactive ones when no slot is free.
 */
export function schedule({ queue, running, slots, served }: SchedulerState): Decisions {
  const turns = new Map<string, number>();
  for (const job of running) turns.set(job.tenant, (turns.get(job.tenant) ?? 0) + 1);
  const start: number[] = [];
  const rest = [...queue].sort((a, b) => a.order - b.order);
  while (rest.length > 0) {
    let best = 0;
    for (let i = 1; i < rest.length; i++) if (before(rest[i], rest[best], turns, served)) best = i;
    const [job] = rest.splice(best, 1);
    if (!job) break;
    start.push(job.key);
    turns.set(job.tenant, (turns.get(job.tenant) ?? 0) + 1);
  }
  const free = slots - running.length;
  const urgent = queue.filter((job) => job.priority === 'interactive').length;
  const park = running
    .filter((job) => job.priority === 'batch' && job.parkable)
    .sort((a, b) => b.order - a.order)
    .slice(0, Math.max(0, urgent - free))
    .map((job) => job.key);
  return { park, start };
}

function before(
  a: QueuedJob | undefined,
  b: QueuedJob | undefined,
  turns: ReadonlyMap<string, number>,
  served: ReadonlyMap<string, number>,
): boolean {
  if (!a || !b) return false;
  return (
    (rank[a.priority] - rank[b.priority] ||
      (turns.get(a.tenant) ?? 0) - (turns.get(b.tenant) ?? 0) ||
      (served.get(a.tenant) ?? 0) - (served.get(b.tenant) ?? 0) ||
      a.order - b.order) < 0
  );
}

/** Charges `tokens` to a tenant. One that was away starts level with the least served, so that absence earns no credit. */
export function charge(served: Map<string, number>, tenant: string, tokens: number, active: Iterable<string>): void {
  let least = Number.POSITIVE_INFINITY;
  for (const other of active) if (other !== tenant) least = Math.min(least, served.get(other) ?? 0);
  const own = served.get(tenant);
  const from = own ?? (Number.isFinite(least) ? least : 0);
  served.set(tenant, from + tokens);
}

/** What a wait is computed from: times from now, in milliseconds. */
export interface Load {
  readonly slots: number;
  readonly slotFreeInMs: readonly number[];
  readonly waitingMs: readonly number[];
}

/** When a slot comes free for one more request behind all that wait: each waiting one takes the first slot that frees. */
export function queueDelayMs({ slots, slotFreeInMs, waitingMs }: Load): number {
  const free = [...slotFreeInMs];
  while (free.length < slots) free.push(0);
  for (const work of waitingMs) {
    free.sort((a, b) => a - b);
    free[0] = (free[0] ?? 0) + work;
  }
  return Math.min(...free);
}
