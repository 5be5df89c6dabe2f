import { createChooser } from './chooser.ts';
import type { Job } from './job.ts';
import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import type { Outbox } from './outbox.ts';
import type { EngineError, EngineStats, GenerateRequest } from './protocol.ts';
import { queueDelayMs, schedule } from './scheduler.ts';
import type { Slots } from './slots.ts';
import { type Tally, waitingIn } from './tally.ts';

/** Who may wait, and who gets a slot. */
export interface Admission {
  /** Why this request may not wait here now; undefined when it may. */
  refusal(request: GenerateRequest): EngineError | undefined;
  /** Gives waiting jobs slots and parks others for them, as the scheduler says. */
  admit(): Promise<void>;
}

export interface AdmissionDeps {
  readonly model: LlamaModel;
  readonly context: LlamaContext;
  readonly queue: Job[];
  readonly slots: Slots;
  readonly slotCount: number;
  readonly maxQueue: number;
  /** Tokens served per tenant. */
  readonly served: ReadonlyMap<string, number>;
  readonly outbox: Outbox;
  readonly tally: Tally;
  readonly stats: () => EngineStats;
}

export function createAdmission(deps: AdmissionDeps): Admission {
  const { model, context, queue, slots, slotCount, maxQueue, served, outbox, tally, stats } = deps;

  const describe = (job: Job) => ({
    key: job.key,
    tenant: job.active.tenant,
    priority: job.active.request.priority,
    order: job.order,
  });

  async function park(job: Job): Promise<void> {
    job.draft = [];
    tally.parked++;
    await slots.park(job);
    if (!job.done) queue.push(job);
  }

  function begin(job: Job, cached: number): void {
    const { active } = job;
    job.chooser ??= createChooser(model, context, active.request, job.choice, active.prompt);
    if (active.startedMs !== undefined) return;
    active.startedMs = performance.now();
    active.cachedTokens = cached;
    tally.promptTokens += active.prompt.length;
    tally.cachedTokens += cached;
    outbox.push({ id: active.id, type: 'prompt', promptTokens: active.prompt.length, cachedTokens: cached });
  }

  return {
    refusal(request) {
      const waiting = waitingIn(queue);
      const free = Math.max(0, slotCount - slots.running().length);
      if (waiting + request.choices <= maxQueue + free) return undefined;
      const retryAfterMs = Math.max(250, Math.round(queueDelayMs(stats())));
      return {
        kind: 'overloaded',
        message: `${waiting} requests are waiting for this model already; try again in ${Math.ceil(retryAfterMs / 1000)} s.`,
        retryAfterMs,
      };
    },
    async admit() {
      if (queue.length === 0) return;
      const full = slots.running().length === slotCount;
      if (full && !queue.some((job) => job.active.request.priority === 'interactive')) return;
      const decisions = schedule({
        queue: queue.map(describe),
        running: slots.running().map((job) => ({ ...describe(job), parkable: !job.shifted })),
        slots: slotCount,
        served,
      });
      for (const key of decisions.park) {
        const job = slots.running().find((candidate) => candidate.key === key);
        if (job) await park(job);
      }
      for (const key of decisions.start) {
        const job = queue.find((candidate) => candidate.key === key);
        if (!job) continue;
        const placement = slots.place(job);
        if (!placement) return;
        if (job.parkedAt === undefined && slots.isBeingRead(job, placement.cachedTokens)) continue;
        queue.splice(queue.indexOf(job), 1);
        const cached = await slots.occupy(job, placement);
        if (!job.done) begin(job, cached);
      }
    },
  };
}
