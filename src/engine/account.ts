import type { ActiveRequest, Job } from './job.ts';
import type { Outbox } from './outbox.ts';
import { charge } from './scheduler.ts';
import type { StepItem } from './step.ts';
import type { Tally } from './tally.ts';

/** Progress of a long prompt is told at most so often. */
const progressEveryMs = 500;
/** Tenants remembered for fairness; the absent ones go first. */
const maxTenants = 1000;

/** Books a step: tokens and energy to those who ran, prompts' progress to those who wait for it. */
export type Account = (items: readonly StepItem[], running: readonly Job[], joules: number) => void;

/** `served`: tokens per tenant, for the scheduler. */
export function createAccount(served: Map<string, number>, tally: Tally, outbox: Outbox): Account {
  const lastProgressMs = new WeakMap<ActiveRequest, number>();

  function reportProgress({ active, promptLength }: Job, processedTokens: number, now: number): void {
    if (processedTokens >= promptLength) return;
    if (now - (lastProgressMs.get(active) ?? active.startedMs ?? 0) < progressEveryMs) return;
    lastProgressMs.set(active, now);
    outbox.push({ id: active.id, type: 'progress', processedTokens, totalTokens: promptLength });
  }

  return (items, running, joules) => {
    const now = performance.now();
    const tenants = new Set(running.map((job) => job.active.tenant));
    const evaluated = items.reduce((sum, { tokens }) => sum + tokens.length, 0);
    tally.steps++;
    tally.batchWidth = items.length;
    tally.evaluatedTokens += evaluated;
    tally.joules += joules;
    for (const { job, tokens } of items) {
      const { active } = job;
      if (joules > 0) active.energyJoules = (active.energyJoules ?? 0) + (joules * tokens.length) / evaluated;
      job.lastStep = tally.steps;
      charge(served, active.tenant, tokens.length, tenants);
      if (!job.done && job.choice === 0 && job.generated === 0) reportProgress(job, job.processed + tokens.length, now);
      // Drafted tokens count only once they are accepted.
      job.processed = Math.min(job.processed + tokens.length, job.tokens.length);
    }
    if (served.size > maxTenants) for (const tenant of served.keys()) if (!tenants.has(tenant)) served.delete(tenant);
  };
}
