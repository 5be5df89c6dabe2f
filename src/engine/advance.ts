import { keptTokens } from './intake.ts';
import { type Job, textOutput } from './job.ts';
import type { Jobs } from './jobs.ts';
import type { LlamaModel } from './llama.ts';
import type { LlamaContext } from './llama-context.ts';
import { createLogprobReader } from './logprobs.ts';
import type { Outbox } from './outbox.ts';
import type { Speculation } from './speculate.ts';
import type { StepItem } from './step.ts';
import type { Tally } from './tally.ts';

/** Takes jobs forward by what a step computed: chooses their next tokens and turns those into text. */
export interface Advance {
  /** Chooses the next token at the first place of an item, and goes on along its draft while that is right. */
  sample(item: StepItem): Promise<void>;
}

export interface AdvanceDeps {
  readonly model: LlamaModel;
  readonly context: LlamaContext;
  readonly jobs: Jobs;
  readonly speculation: Speculation;
  readonly outbox: Outbox;
  readonly tally: Tally;
}

export function createAdvance({ model, context, jobs, speculation, outbox, tally }: AdvanceDeps): Advance {
  const logprobs = createLogprobReader(model, context);

  /** The token chosen at `place`, accepted into the job; undefined when the answer ended. */
  async function chooseAt(job: Job, place: number): Promise<number | undefined> {
    const { active, chooser } = job;
    if (!chooser) return undefined;
    if (job.maxTokens <= 0) {
      jobs.finish(job, 'length');
      return undefined;
    }
    const token = await chooser.choose(place);
    if (job.done) return undefined;
    active.firstTokenMs ??= performance.now();
    if (token < 0 || model.isEndOfGeneration(token)) {
      jobs.finish(job, 'stop');
      return undefined;
    }
    const wanted = active.request.logprobs;
    const logprob = wanted ? await logprobs.read(place, token, wanted.top) : undefined;
    if (job.done) return undefined;
    accept(job, token, logprob);
    return job.done ? undefined : token;
  }

  function accept(job: Job, token: number, logprob: Parameters<typeof job.writer.push>[1]): void {
    const { request } = job.active;
    job.tokens.push(token);
    job.generated++;
    tally.completionTokens++;
    if (job.generated === request.minTokens) job.chooser?.allowEnd();
    const bytes = model.tokenBytes(token, request.specialTokens === true);
    if (job.untriggered !== undefined) watchTrigger(job, new TextDecoder().decode(bytes));
    const stopped = job.writer.push(bytes, logprob);
    const full = job.tokens.length >= context.contextTokens;
    if (stopped !== undefined) jobs.finish(job, 'stop', stopped);
    else if (job.generated >= job.maxTokens || (full && !makeRoom(job, context))) jobs.finish(job, 'length');
    else send(job);
  }

  function send(job: Job): void {
    const text = textOutput(job);
    if (text) outbox.push(text);
  }

  /**
   * Gives the prompt back, with log-probabilities where wanted. Returns how many places were prompt positions, or -1
   * when the prompt is not read to its end yet.
   */
  async function echo(job: Job, tokens: Uint32Array, places: Uint32Array): Promise<number> {
    const { request } = job.active;
    const start = job.processed - tokens.length;
    const push = (token: number, logprob: Parameters<typeof job.writer.push>[1]) =>
      job.writer.echo(model.tokenBytes(token, true), logprob);
    if (!request.logprobs) {
      for (const token of job.tokens) push(token, undefined);
      return 0;
    }
    const first = job.tokens[0];
    if (start === 0 && first !== undefined) push(first, logprobs.unknown(first));
    let used = 0;
    for (let position = start + 1; position <= job.processed && position < job.promptLength; position++) {
      const token = job.tokens[position] ?? 0;
      push(token, await logprobs.read(places[used++] ?? 0, token, request.logprobs.top));
      if (job.done) return -1;
    }
    send(job);
    return job.processed < job.promptLength ? -1 : used;
  }

  return {
    async sample({ job, tokens, places }) {
      const { active } = job;
      try {
        let used = 0;
        if (active.request.echo && job.generated === 0) {
          used = await echo(job, tokens, places);
          if (used < 0 || job.done) return;
        }
        const draft = job.draft;
        job.draft = [];
        tally.draftedTokens += draft.length;
        for (let i = 0; used + i < places.length; i++) {
          const token = await chooseAt(job, places[used + i] ?? 0);
          if (token === undefined || job.done) return;
          if (draft[i] === undefined) return speculation.learn(job, draft, i);
          if (draft[i] !== token) {
            active.rejectedDraftTokens += draft.length - i;
            speculation.learn(job, draft, i);
            if (job.slot !== undefined) context.truncate(job.slot, job.processed);
            return;
          }
          active.acceptedDraftTokens++;
          tally.acceptedTokens++;
          job.processed++;
        }
      } catch (error) {
        jobs.fail(active, 'Choosing the next token failed', error);
      }
    },
  };
}

/** Switches a lazy grammar on when its trigger has been written. */
function watchTrigger(job: Job, text: string): void {
  job.untriggered += text;
  for (const trigger of job.active.request.grammar?.triggers ?? []) {
    const at = job.untriggered?.indexOf(trigger) ?? -1;
    if (at < 0) continue;
    job.chooser?.startGrammar(job.untriggered?.slice(at + trigger.length) ?? '');
    job.untriggered = undefined;
    return;
  }
  job.untriggered = job.untriggered?.slice(-256);
}

/** Forgets the older half of the context behind its first tokens, where the request asked for that. */
function makeRoom(job: Job, context: LlamaContext): boolean {
  if (job.active.request.overflow !== 'shift' || job.slot === undefined) return false;
  const keep = Math.min(keptTokens, job.promptLength);
  const discard = Math.floor((job.processed - keep) / 2);
  if (discard <= 0 || !context.shift(job.slot, keep, keep + discard)) return false;
  job.tokens.splice(keep, discard);
  job.processed -= discard;
  job.shifted = true;
  return true;
}
