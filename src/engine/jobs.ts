import { type ActiveRequest, createTextWriter, type Job, textOutput, usageOf } from './job.ts';
import { hashOf } from './kv-store.ts';
import type { LlamaModel } from './llama.ts';
import type { Outbox } from './outbox.ts';
import type { GenerateRequest } from './protocol.ts';
import type { Slots } from './slots.ts';
import type { Tally } from './tally.ts';

/** The requests under way and their jobs: how they come and how they end. */
export interface Jobs {
  add(id: number, request: GenerateRequest, prompt: readonly number[]): void;
  /** False when there is no such request any more. */
  cancel(id: number): boolean;
  /** The answer is whole, or was cut at `stopSequence`. */
  finish(job: Job, reason: 'stop' | 'length', stopSequence?: string): void;
  fail(active: ActiveRequest, what: string, error: unknown): void;
}

export interface JobsDeps {
  /** Jobs that wait for a slot. */
  readonly queue: Job[];
  readonly model: LlamaModel;
  readonly contextTokens: number;
  readonly slots: Slots;
  readonly outbox: Outbox;
  readonly tally: Tally;
  readonly metersEnergy: boolean;
}

export function createJobs({ queue, model, contextTokens, slots, outbox, tally, metersEnergy }: JobsDeps): Jobs {
  const requests = new Map<number, ActiveRequest>();
  let nextKey = 0;

  /** Takes a job out of the queue or its slot. */
  function end(job: Job): void {
    if (job.done) return;
    job.done = true;
    job.active.open--;
    const at = queue.indexOf(job);
    if (at >= 0) queue.splice(at, 1);
    slots.release(job);
    job.chooser?.dispose();
    job.chooser = undefined;
  }

  return {
    add(id, request, prompt) {
      const active: ActiveRequest = {
        id,
        request,
        prompt,
        tenant: hashOf(request.tenant),
        adapters: (request.loras ?? []).map(({ name, scale }) => `${name}=${scale}`).join(','),
        prediction: request.prediction ? [...model.tokenize(request.prediction, false)] : [],
        enqueuedMs: performance.now(),
        jobs: [],
        startedMs: undefined,
        firstTokenMs: undefined,
        cachedTokens: 0,
        acceptedDraftTokens: 0,
        rejectedDraftTokens: 0,
        energyJoules: metersEnergy ? 0 : undefined,
        open: request.choices,
      };
      const room = request.overflow === 'shift' ? Number.POSITIVE_INFINITY : contextTokens - prompt.length;
      for (let choice = 0; choice < request.choices; choice++) {
        const key = nextKey++;
        active.jobs.push({
          key,
          order: key,
          active,
          choice,
          tokens: [...prompt],
          promptLength: prompt.length,
          maxTokens: Math.min(request.maxTokens ?? Number.POSITIVE_INFINITY, room),
          writer: createTextWriter(request.stop),
          chooser: undefined,
          draft: [],
          untriggered: request.grammar?.triggers ? '' : undefined,
          slot: undefined,
          processed: 0,
          generated: 0,
          lastStep: 0,
          shifted: false,
          parkedAt: undefined,
          done: false,
        });
      }
      requests.set(id, active);
      queue.push(...active.jobs);
    },
    cancel(id) {
      const active = requests.get(id);
      if (!active) return false;
      requests.delete(id);
      for (const job of active.jobs) end(job);
      return true;
    },
    finish(job, reason, stopSequence) {
      const { id } = job.active;
      if (stopSequence === undefined) job.writer.flush();
      const text = textOutput(job);
      if (text) outbox.push(text);
      outbox.push({ id, type: 'finish', choice: job.choice, reason, ...(stopSequence ? { stopSequence } : {}) });
      tally.meanCompletionTokens += 0.1 * (job.generated - tally.meanCompletionTokens);
      end(job);
      if (job.active.open > 0) return;
      outbox.push({ id, type: 'done', usage: usageOf(job.active, performance.now()) });
      requests.delete(id);
    },
    fail(active, what, error) {
      if (!requests.delete(active.id)) return;
      for (const job of active.jobs) end(job);
      const message = `${what}: ${error instanceof Error ? error.message : 'unknown error'}`;
      outbox.push({ id: active.id, type: 'failed', error: { kind: 'engine_failed', message } });
    },
  };
}
