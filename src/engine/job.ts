import type { TokenLogprob } from '../core/event.ts';
import type { Chooser } from './chooser.ts';
import { createDetokenizer } from './detokenize.ts';
import type { EngineOutput, EngineUsage, GenerateRequest } from './protocol.ts';
import { createStopMatcher } from './stop.ts';

/** A request under way: what its choices have in common. */
export interface ActiveRequest {
  readonly id: number;
  readonly request: GenerateRequest;
  readonly prompt: readonly number[];
  /** Hash of the request's tenant. */
  readonly tenant: string;
  readonly adapters: string;
  /** Tokens of the predicted output, to draft from. */
  readonly prediction: readonly number[];
  readonly enqueuedMs: number;
  readonly jobs: Job[];
  startedMs: number | undefined;
  firstTokenMs: number | undefined;
  cachedTokens: number;
  acceptedDraftTokens: number;
  rejectedDraftTokens: number;
  /** Undefined where the machine does not tell. */
  energyJoules: number | undefined;
  open: number;
}

/** One choice of a request: its tokens and how far they are evaluated. */
export interface Job {
  readonly key: number;
  readonly order: number;
  readonly active: ActiveRequest;
  readonly choice: number;
  readonly tokens: number[];
  readonly promptLength: number;
  readonly maxTokens: number;
  readonly writer: TextWriter;
  chooser: Chooser | undefined;
  /** Guessed tokens that the next step checks. */
  draft: readonly number[];
  /** Generated text while a grammar waits for its trigger. */
  untriggered: string | undefined;
  slot: number | undefined;
  /** Leading tokens whose KV is in the slot. */
  processed: number;
  generated: number;
  lastStep: number;
  /** KV that no longer matches the tokens from the start (after a shift): not for reuse. */
  shifted: boolean;
  /** Where its KV was put aside. */
  parkedAt: string | undefined;
  done: boolean;
}

/** Past its prompt: only the last token (and drafts) wait to be evaluated. */
export const isDecoding = (job: Job): boolean => job.generated > 0 && job.processed === job.tokens.length - 1;

/** Tokens in, the text that may be sent out: whole characters, stop texts cut, log-probabilities beside their text. */
export interface TextWriter {
  /** Returns the stop text, when the answer ended with this token. */
  push(bytes: Uint8Array, logprob?: TokenLogprob): string | undefined;
  /** Adds text of the prompt, in which stop texts mean nothing. */
  echo(bytes: Uint8Array, logprob?: TokenLogprob): void;
  /** Gives back what is held; call when the answer ends. */
  flush(): void;
  /** What may be sent since the last call. */
  take(): { readonly text: string; readonly logprobs: readonly TokenLogprob[] } | undefined;
}

export function createTextWriter(stops: readonly string[]): TextWriter {
  const detokenizer = createDetokenizer();
  const matcher = createStopMatcher(stops);
  let ready = '';
  let released = 0;
  let seen = 0;
  /** Log-probabilities with the place in the text where their token ends. */
  const pending: { end: number; logprob: TokenLogprob }[] = [];

  const release = (text: string) => {
    ready += text;
    released += text.length;
  };
  return {
    push(bytes, logprob) {
      const text = detokenizer.push(bytes);
      seen += text.length;
      if (logprob) pending.push({ end: seen, logprob });
      const result = matcher.push(text);
      release(result.text);
      return result.stopped;
    },
    echo(bytes, logprob) {
      const text = detokenizer.push(bytes);
      seen += text.length;
      if (logprob) pending.push({ end: seen, logprob });
      release(text);
    },
    flush: () => release(matcher.flush()),
    take() {
      const logprobs: TokenLogprob[] = [];
      while (pending[0] && pending[0].end <= released) {
        const next = pending.shift();
        if (next) logprobs.push(next.logprob);
      }
      if (ready === '' && logprobs.length === 0) return undefined;
      const text = ready;
      ready = '';
      return { text, logprobs };
    },
  };
}

/** The text that waits to be told, taken from the job; undefined where there is none. */
export function textOutput(job: Job): EngineOutput | undefined {
  const taken = job.writer.take();
  if (!taken) return undefined;
  const base = { id: job.active.id, type: 'text', choice: job.choice, text: taken.text } as const;
  return taken.logprobs.length > 0 ? { ...base, logprobs: taken.logprobs } : base;
}

/** What a request has used until now. */
export function usageOf(active: ActiveRequest, nowMs: number): EngineUsage {
  const startedMs = active.startedMs ?? nowMs;
  const firstTokenMs = active.firstTokenMs ?? nowMs;
  return {
    promptTokens: active.prompt.length,
    completionTokens: active.jobs.reduce((sum, job) => sum + job.generated, 0),
    cachedTokens: active.cachedTokens,
    acceptedDraftTokens: active.acceptedDraftTokens,
    rejectedDraftTokens: active.rejectedDraftTokens,
    ...(active.energyJoules === undefined ? {} : { energyJoules: active.energyJoules }),
    queueMs: Math.round(startedMs - active.enqueuedMs),
    prefillMs: Math.round(firstTokenMs - startedMs),
    decodeMs: Math.round(nowMs - firstTokenMs),
  };
}
