import { lookUpDraft } from './draft.ts';
import { createDraftLength, type DraftLength } from './draft-length.ts';
import type { Drafter, DraftWish } from './drafter.ts';
import { isDecoding, type Job } from './job.ts';

/** Guesses the next tokens of decoding jobs, for the next step to check. */
export interface Speculation {
  /** Sets each job's draft: from its own texts where those were asked for, else by the draft model. */
  propose(jobs: readonly Job[]): Promise<void>;
  /** Tells how many tokens of a job's draft were right. */
  learn(job: Job, draft: readonly number[], accepted: number): void;
}

/** Drafts pay while few sequences decode: a wide batch has no idle compute. */
const maxWidth = 4;
export const maxDraftTokens = 8;

export function createSpeculation(
  contextTokens: number,
  maxModelDraft: number,
  drafter: Drafter | undefined,
): Speculation {
  /** What the draft model guessed, by slot. */
  let modelDrafts: ReadonlyMap<number, readonly number[]> = new Map();
  const lengths = new WeakMap<Job, DraftLength>();
  const lengthOf = (job: Job): DraftLength => {
    const length = lengths.get(job) ?? createDraftLength();
    lengths.set(job, length);
    return length;
  };
  return {
    async propose(jobs) {
      const width = jobs.filter(isDecoding).length;
      const wishes: DraftWish[] = [];
      for (const job of jobs) {
        job.draft = [];
        const { request, prediction, tenant } = job.active;
        const room = Math.min(job.maxTokens - job.generated - 1, contextTokens - job.tokens.length - 1);
        if (!isDecoding(job) || width > maxWidth || room <= 0) continue;
        if (request.promptLookup || prediction.length > 0) {
          const wanted = Math.min(room, lengthOf(job).next(), request.maxDraft ?? maxDraftTokens);
          if (wanted > 0) job.draft = lookUpDraft([job.tokens, prediction], wanted);
        }
        const most = request.deterministic ? 0 : Math.min(room, maxModelDraft, request.maxDraft ?? maxModelDraft);
        if (!drafter || job.draft.length > 0 || job.slot === undefined || most <= 0) continue;
        wishes.push({ slot: job.slot, tenant, tokens: job.tokens, room: most });
      }
      if (!drafter || wishes.length === 0) return;
      modelDrafts = await drafter.propose(wishes);
      for (const job of jobs) {
        if (!job.done) job.draft = modelDrafts.get(job.slot ?? -1) ?? job.draft;
      }
    },
    learn(job, draft, accepted) {
      const { slot } = job;
      if (slot !== undefined && modelDrafts.get(slot) === draft) drafter?.learn(slot, draft.length, accepted);
      else lengths.get(job)?.learn(draft.length, accepted);
    },
  };
}
