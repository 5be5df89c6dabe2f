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
 * llama.cpp's flash attention on a CPU takes 64 tokens of a sequence at once, and fewer one by one. Read in pieces of 64 or
 * more, a prompt of 1,300 tokens took three quarters of the time that pieces of 32 took. The sums are rounded another way
 * there, so a prompt's last tokens go one by one, as they will when all before them is cached: the answer is the same.
 */
const attentionTile = 64;
const lessThanTile = attentionTile - promptGrain;
/** A piece of a sequence that runs alone, and with a short rest: its sums are the same whatever is cached and however fast the machine is. */
const alonePiece = 40;
const leastPiece = 16;

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
  for (const { slot, pendingTokens, alone } of group.filter((c) => !c.decoding).sort((a, b) => a.order - b.order)) {
    if (Math.min(wanted, room) <= 0) break;
    const tokens = pieceOf(pendingTokens, alone ? alonePiece : wanted, room);
    shares.push({ slot, tokens });
    room -= tokens;
    wanted -= tokens;
  }
  return shares.sort((a, b) => a.slot - b.slot);
}

/** How much of a prompt goes into a step with `room` for so many tokens where about `wanted` are wanted. */
function pieceOf(pending: number, wanted: number, room: number): number {
  // A short rest goes along: a step of its own would read all the weights for a few tokens.
  const tokens = Math.min(pending, room, pending <= wanted * tailShare ? pending : wanted);
  if (tokens === pending)
    return pending < attentionTile ? pending : pending - (pending % attentionTile || lessThanTile);
  return tokens > promptGrain ? tokens - (tokens % promptGrain) : tokens;
}

/** Of a prompt that nobody's pace depends on: whole tiles, even where `fitting` tokens are somewhat less than one. */
export function prefillPiece(fitting: number): number {
  if (fitting >= attentionTile) return Math.floor(fitting / attentionTile) * attentionTile;
  if (fitting >= attentionTile / 2) return attentionTile;
  return Math.max(leastPiece, Math.floor(fitting / promptGrain) * promptGrain);
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
