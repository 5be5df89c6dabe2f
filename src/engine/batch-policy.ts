/** A running sequence as the batch sees it: tokens that wait to be evaluated, in its slot. */
export interface BatchCandidate {
  readonly slot: number;
  /** Tokens not yet in the KV cache; 1 while decoding, more while the prompt is read or drafts are checked. */
  readonly pendingTokens: number;
  readonly decoding: boolean;
  /** Order among prompts: the smaller reads first. */
  readonly order: number;
  /** Only sequences with the same adapters share a step. */
  readonly adapters: string;
  /** Decodes in a step of its own. */
  readonly alone: boolean;
  /** Number of the step that last included it: groups that can't share a step take turns. */
  readonly lastStep: number;
}

export interface StepShare {
  readonly slot: number;
  readonly tokens: number;
}

export interface BatchLimits {
  /** Most tokens of one step. */
  readonly batchTokens: number;
  /** So many of them for prompts, about: the end of a prompt may go beyond. */
  readonly prefillTokens: number;
}

/** A prompt that is at most so much longer than wanted is read to its end. */
const tailShare = 1.5;

/** Prompts are cut at multiples of this where possible: equal cuts give equal arithmetic, cold or cached. */
export const promptGrain = 8;

/**
 * Shares out one step: every decoding sequence gets its tokens, the rest goes to prompts in order, bounded so that
 * nobody waits long for the step's end. Result in ascending slot order, which llama.cpp needs to evaluate all of them in
 * one pass.
 */
export function planStep(candidates: readonly BatchCandidate[], limits: BatchLimits): readonly StepShare[] {
  const first = [...candidates].sort((a, b) => a.lastStep - b.lastStep || a.order - b.order)[0];
  if (!first) return [];
  const group = first.alone
    ? [first]
    : candidates.filter((candidate) => candidate.adapters === first.adapters && !candidate.alone);
  const shares: StepShare[] = [];
  let room = limits.batchTokens;
  for (const { slot, pendingTokens, decoding } of group) {
    if (!decoding) continue;
    const tokens = Math.min(pendingTokens, room);
    if (tokens > 0) shares.push({ slot, tokens });
    room -= tokens;
  }
  let wanted = limits.prefillTokens;
  for (const { slot, pendingTokens } of group.filter((c) => !c.decoding).sort((a, b) => a.order - b.order)) {
    if (Math.min(wanted, room) <= 0) break;
    // A short rest goes along: a step of its own would read all the weights for a few tokens.
    let tokens = Math.min(pendingTokens, room, pendingTokens <= wanted * tailShare ? pendingTokens : wanted);
    if (tokens < pendingTokens && tokens > promptGrain) tokens -= tokens % promptGrain;
    shares.push({ slot, tokens });
    room -= tokens;
    wanted -= tokens;
  }
  return shares.sort((a, b) => a.slot - b.slot);
}

/** Measured speed, as exponential means. */
export interface StepSpeed {
  /** A step that only decodes, for the present number of sequences. */
  readonly decodeMs: number;
  readonly prefillMsPerToken: number;
}

/**
 * Prompt tokens that fit in a step beside decoding sequences so that it lasts at most `slowdown` times an undisturbed
 * one. A step with both kinds costs about the decode time plus the prompt tokens' own.
 */
export function prefillBudget({ decodeMs, prefillMsPerToken }: StepSpeed, slowdown: number, most: number): number {
  const spareMs = decodeMs * (slowdown - 1);
  const tokens = Math.floor(spareMs / prefillMsPerToken);
  return Math.max(promptGrain, Math.min(most, tokens - (tokens % promptGrain)));
}
