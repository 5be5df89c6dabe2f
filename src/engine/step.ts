import { type BatchCandidate, planStep, prefillBudget, prefillPiece } from './batch-policy.ts';
import { isDecoding, type Job } from './job.ts';
import type { LlamaContext } from './llama-context.ts';
import type { LoadOptions } from './load-options.ts';
import type { SpeedMeter } from './speed.ts';
import type { ThreadTuner } from './threads.ts';

/**
 * Prompts are read for about so long in a step that nobody's pace depends on, since every step reads all the weights and
 * starts llama.cpp's threads anew. While every slot is taken the steps are shorter: who comes next gets the slot of whoever
 * leaves, and it is free when the step ends. Where somebody waits for it already they are short; beside answers that have
 * just begun, between the two. Short prompts that came together are read in a step or two: the sooner all of them write,
 * the wider the steps are.
 */
const prefillStepMs = { quiet: 500, full: 250, together: 400, beginning: 100, waiting: 50 } as const;
/** Most that decoding streams wait for others' prompts, as a multiple of an undisturbed step. */
const prefillSlowdown = 2.4;
/** Answers of fewer tokens have just begun: they don't yet insist on their pace. */
const beginning = 16;

/** One sequence's share of a step: `tokens` from the job's `processed` on; `places` of the logits of its last `places.length` tokens. */
export interface StepItem {
  readonly job: Job;
  readonly slot: number;
  readonly tokens: Uint32Array;
  places: Uint32Array;
  /** The token at its one place, where that was asked for while the step was still being computed. */
  chosen?: Promise<number>;
}

export interface StepResult {
  readonly items: readonly StepItem[];
  readonly ms: number;
  readonly decoding: number;
  readonly prefill: number;
}

export class StepError extends Error {
  readonly items: readonly StepItem[];
  constructor(items: readonly StepItem[], cause: unknown) {
    super(cause instanceof Error ? cause.message : 'unknown error', { cause });
    this.items = items;
  }
}

/** Others want a slot; every slot is taken. */
export interface Crowd {
  readonly waiting: boolean;
  readonly full: boolean;
}

/** Chooses what goes into one forward pass, runs it and measures it. Null when nobody has work. Throws StepError. */
export async function runStep(
  jobs: readonly Job[],
  context: LlamaContext,
  speed: SpeedMeter,
  threads: ThreadTuner,
  options: LoadOptions,
  crowd: Crowd,
  evaluate: (items: readonly StepItem[]) => Promise<void>,
): Promise<StepResult | null> {
  const candidates: BatchCandidate[] = jobs.map((job) => ({
    slot: job.slot ?? 0,
    pendingTokens: job.tokens.length - job.processed + job.draft.length,
    decoding: isDecoding(job),
    order: job.order,
    adapters: job.active.adapters,
    alone: job.active.request.deterministic === true,
    lastStep: job.lastStep,
  }));
  const shares = planStep(candidates, limits(jobs, speed, options, crowd));
  if (shares.length === 0) return null;
  const bySlot = new Map(jobs.map((job) => [job.slot, job]));
  const items: StepItem[] = [];
  let decoding = 0;
  let prefill = 0;
  for (const { slot, tokens: count } of shares) {
    const job = bySlot.get(slot);
    if (!job) continue;
    const own = job.tokens.slice(job.processed, job.processed + count);
    const tokens = Uint32Array.from([...own, ...job.draft.slice(0, count - own.length)]);
    if (isDecoding(job)) decoding += tokens.length;
    else prefill += tokens.length;
    items.push({ job, slot, tokens, places: new Uint32Array(0) });
  }
  const work = likeWork(decoding, prefill);
  context.setThreads(threads.next(work.kind, prefill === 0)); // a prompt's steps are long
  const startedMs = performance.now();
  try {
    context.begin(items.reduce((sum, { tokens }) => sum + tokens.length, 0));
    for (const item of items) {
      item.places = context.add(item.slot, item.job.processed, item.tokens, logitsAt(item));
    }
    await evaluate(items);
  } catch (error) {
    throw new StepError(items, error);
  }
  const ms = performance.now() - startedMs;
  speed.record(decoding, prefill, ms);
  threads.observe(work.kind, ms / work.amount);
  return { items, ms, decoding, prefill };
}

/** Steps whose times can be compared, by amount of work: decoding steps of one width, and prompts by the token. */
function likeWork(decoding: number, prefill: number): { kind: string; amount: number } {
  if (prefill === 0) return { kind: `${decoding}`, amount: 1 };
  if (prefill < 8) return { kind: 'rest of a prompt', amount: prefill };
  return { kind: decoding > 0 ? 'prompt beside answers' : 'prompt', amount: decoding + prefill };
}

/** Logits are needed after the last known token and each drafted one; with prompt log-probabilities after all. */
function logitsAt({ job, tokens }: StepItem): Uint32Array {
  const { request } = job.active;
  const first = request.echo && request.logprobs && job.generated === 0 ? 0 : job.tokens.length - 1 - job.processed;
  return Uint32Array.from({ length: Math.max(0, tokens.length - first) }, (_, i) => first + i);
}

function limits(jobs: readonly Job[], speed: SpeedMeter, options: LoadOptions, { waiting, full }: Crowd) {
  const decoding = jobs.filter(isDecoding);
  const batchTokens = options.batchTokens ?? 512;
  const prefillMsPerToken = speed.prefillMsPerToken();
  // Requests that came together begin together: then the steps are wide from early on.
  if (decoding.every((job) => job.generated < beginning)) {
    const unread = jobs.reduce((sum, job) => sum + (isDecoding(job) ? 0 : job.tokens.length - job.processed), 0);
    const together = unread * prefillMsPerToken <= 2 * prefillStepMs.together;
    const alone = waiting ? 'waiting' : full ? 'full' : 'quiet';
    const kind = decoding.length === 0 ? alone : together ? 'together' : 'beginning';
    const fitting = prefillStepMs[kind] / prefillMsPerToken;
    return { batchTokens, prefillTokens: kind === 'together' ? Math.ceil(fitting) : prefillPiece(fitting) };
  }
  const stepSpeed = { decodeMs: speed.decodeMs(decoding.length), prefillMsPerToken };
  return { batchTokens, prefillTokens: prefillBudget(stepSpeed, prefillSlowdown, batchTokens) };
}
