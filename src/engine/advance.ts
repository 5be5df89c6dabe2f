import type { TokenLogprob } from '../core/event.ts';
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

type Logprob = TokenLogprob | undefined;

/** Takes jobs forward by what a step computed: chooses their next tokens and turns those into text. */
export interface Advance {
  /**
   * Asks for the next tokens of a step that is under way: where native calls run in order, they are chosen right behind it,
   * without a way to this thread and back between.
   */
  askAhead(items: readonly StepItem[]): void;
  /** Chooses the next token at the first place of an item, and goes on along its draft while that is right. */
  sample(item: StepItem): Promise<void>;
  /** Turns chosen tokens into text. Left until the next step computes, since that needs the tokens alone. */
  settle(): void;
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
  /** Chosen tokens whose text is not made yet. */
  let unsettled: { job: Job; token: number; logprob: Logprob }[] = [];

  /** The token chosen at `place`, accepted into the job; undefined when the answer ended. */
  async function chooseAt(job: Job, place: number, ahead: Promise<number> | undefined): Promise<number | undefined> {
    const { active, chooser } = job;
    if (!chooser) return undefined;
    if (job.maxTokens <= 0) {
      end(job, 'length');
      return undefined;
    }
    const token = await (ahead ?? chooser.choose(place));
    if (job.done) return undefined;
    active.firstTokenMs ??= performance.now();
    if (token < 0 || model.isEndOfGeneration(token)) {
      end(job, 'stop');
      return undefined;
    }
    const wanted = active.request.logprobs;
    const logprob = wanted ? await logprobs.read(place, token, wanted.top) : undefined;
    if (job.done) return undefined;
    accept(job, token, logprob);
    return job.done ? undefined : token;
  }

  /** What the next step must know; the text comes with `settle`. */
  function accept(job: Job, token: number, logprob: Logprob): void {
    const { request } = job.active;
    job.tokens.push(token);
    job.generated++;
    tally.completionTokens++;
    if (job.generated === request.minTokens) job.chooser?.allowEnd();
    if (job.untriggered !== undefined) watchTrigger(job, new TextDecoder().decode(bytesOf(job, token)));
    unsettled.push({ job, token, logprob });
    const full = job.tokens.length >= context.contextTokens;
    if (job.generated >= job.maxTokens || (full && !makeRoom(job, context))) end(job, 'length');
  }

  /** A job whose text runs into a stop text ends here, though its next token may be under way already. */
  function settle(): void {
    const tokens = unsettled;
    unsettled = [];
    for (const { job, token, logprob } of tokens) {
      if (job.done) continue;
      const stopped = job.writer.push(bytesOf(job, token), logprob);
      if (stopped !== undefined) jobs.finish(job, 'stop', stopped);
      else send(job);
    }
  }

  function end(job: Job, reason: 'stop' | 'length'): void {
    settle();
    if (!job.done) jobs.finish(job, reason);
  }

  const bytesOf = ({ active }: Job, token: number) => model.tokenBytes(token, active.request.specialTokens === true);

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
    const push = (token: number, logprob: Logprob) => job.writer.echo(model.tokenBytes(token, true), logprob);
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
    askAhead(items) {
      for (const item of items) {
        const { job, places } = item;
        const [place] = places;
        if (place === undefined || places.length > 1 || job.draft.length > 0 || !job.chooser || job.maxTokens <= 0)
          continue;
        if (job.active.request.echo && job.generated === 0) continue;
        item.chosen = job.chooser.choose(place);
        item.chosen.catch(() => {}); // told by `sample`, unless the step itself failed
      }
    },
    settle,
    async sample({ job, tokens, places, chosen }) {
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
          const token = await chooseAt(job, places[used + i] ?? 0, chosen);
          if (draft.length > 0) settle(); // a stop text ends the answer within the draft
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
