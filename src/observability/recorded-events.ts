import type { Clock } from '../core/clock.ts';
import { toGatewayError } from '../core/errors.ts';
import { type CompletionEvent, type FinishReason, isVisible, type Usage } from '../core/event.ts';
import type { RequestRecord, RequestWatch, Stage } from '../core/record.ts';
import type { Attempt, Decision, RequestContext, Run } from '../core/run.ts';
import type { ReadyIterator } from '../core/streams.ts';

/** What all requests of one recorder share. */
export interface Desk {
  readonly clock: Clock;
  readonly priceOf: ((target: string, usage: Usage) => number | undefined) | undefined;
  /** Gives a record to everybody; what it returns is awaited before the answer's end is given out. */
  emit(record: RequestRecord, watches: readonly RequestWatch[]): Promise<void> | undefined;
  /** Whether records are to be safe before an answer ends. */
  readonly durable: boolean;
}

/** What of a request goes on its record, as far as it is known before the answer. */
export interface Recorded {
  readonly context: RequestContext;
  readonly model: string;
  readonly stream: boolean;
  readonly choices: number;
  readonly stages: readonly Stage[];
  readonly watches: readonly RequestWatch[];
  readonly prompt: RequestRecord['prompt'];
  /** As filters left them. */
  user: RequestRecord['user'];
  metadata: RequestRecord['metadata'];
}

export interface Outcome {
  readonly outcome: string;
  readonly status: number;
  readonly errorMessage?: string;
}
export const succeeded: Outcome = { outcome: 'ok', status: 200 };
const left: Outcome = { outcome: 'cancelled', status: 499 };

/** How a request that ended with an error is recorded. */
export function failed(error: unknown): Outcome {
  const { kind, status, message } = toGatewayError(error);
  return { outcome: kind, status, errorMessage: message };
}

/** Nobody waits for the books of an answer that did not end well; the sink itself tells of its trouble. */
export const nobodyWaits = (writing: Promise<void> | undefined): void => void writing?.catch(() => {});

/** Names that a client makes up: records are kept in memory, logged and shown. */
const mostCharacters = 512;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The record of a request that nobody answered: what every record begins with. */
export function recordOf(
  { context, model, stream, stages, prompt, user, metadata }: Recorded,
  clock: Clock,
  { outcome, status, errorMessage }: Outcome,
): Mutable<RequestRecord> {
  const { requestId, answerId, trace, endpoint, caller, startedMs } = context;
  const durationMs = clock.now() - startedMs;
  return {
    requestId,
    answerId,
    upstreamId: undefined,
    traceId: trace?.traceId,
    endpoint,
    callerId: caller.id,
    team: caller.team,
    model: model.slice(0, mostCharacters),
    target: undefined,
    attempts: [],
    cache: 'bypass',
    stream,
    startedAt: clock.wall() - durationMs,
    startedMs,
    durationMs,
    ttftMs: undefined,
    tpotMs: undefined,
    readerMs: undefined,
    holdback: undefined,
    overheadMs: undefined,
    usage: undefined,
    costUsd: undefined,
    finishReasons: [],
    outcome,
    status,
    errorMessage,
    user: user?.slice(0, mostCharacters),
    metadata,
    decisions: [],
    stages,
    prompt,
  };
}

/** Milliseconds of all attempts together. */
export function spentIn(attempts: readonly Attempt[]): number {
  let ms = 0;
  for (const attempt of attempts) ms += attempt.durationMs;
  return ms;
}

/**
 * An answer's events as they come, seen on their way. The record is made exactly once, and where it has to be safe first,
 * that is awaited before a clean end is told. An iterator by hand, because a generator that is closed before its first
 * pull never runs its `finally`, and such a request must be recorded too; a class, because closures for all of this would
 * be made anew for every request.
 */
export class RecordedEvents implements AsyncIterable<CompletionEvent>, ReadyIterator<CompletionEvent> {
  readonly #desk: Desk;
  readonly #recorded: Recorded;
  readonly #run: Run;
  readonly #source: ReadyIterator<CompletionEvent>;
  readonly #answeredMs: number;
  readonly #finishReasons: FinishReason[] = [];
  readonly #takeovers: Decision[] = [];
  #usage: Usage | undefined;
  #upstreamId: string | undefined;
  #firstMs: number | undefined;
  /** When the last event was given out: until the next is asked for, it is the reader's time. */
  #givenMs: number | undefined;
  #readerMs = 0;
  #open = true;
  /** Bytes that hold the answer's own end (`[DONE]`, `message_stop`) are kept until the record is safe. */
  readonly #held: CompletionEvent[] = [];
  #ending: Promise<void> | undefined;

  constructor(desk: Desk, recorded: Recorded, run: Run) {
    this.#desk = desk;
    this.#recorded = recorded;
    this.#run = run;
    this.#source = run.events[Symbol.asyncIterator]();
    this.#answeredMs = desk.clock.now();
    for (const watch of recorded.watches) watch.answered?.(run, this.#answeredMs);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<CompletionEvent, undefined>> {
    if (this.#ending) return this.#ending.then(() => this.#rest());
    this.#waited();
    return this.#pull();
  }

  ready(): IteratorResult<CompletionEvent, undefined> | undefined {
    if (this.#ending) return undefined;
    this.#waited();
    for (;;) {
      const result = this.#there();
      if (!result) return undefined;
      if (result.done) {
        this.#ending = this.#finish(succeeded);
        if (!this.#ending) return this.#rest();
        nobodyWaits(this.#ending); // told by the `next` that follows
        return undefined;
      }
      if (this.#pass(result.value)) return result;
    }
  }

  wait(): Promise<void> | undefined {
    return this.#ending ? undefined : this.#source.wait?.();
  }

  async return(value?: unknown): Promise<IteratorResult<CompletionEvent, undefined>> {
    try {
      await this.#source.return?.(value);
    } finally {
      nobodyWaits(this.#finish(left));
    }
    return { done: true, value: undefined };
  }

  #there(): IteratorResult<CompletionEvent, undefined> | undefined {
    try {
      return this.#source.ready?.();
    } catch (error) {
      nobodyWaits(this.#finish(failed(error)));
      throw error;
    }
  }

  async #pull(): Promise<IteratorResult<CompletionEvent, undefined>> {
    for (;;) {
      let result: IteratorResult<CompletionEvent>;
      try {
        result = await this.#source.next();
      } catch (error) {
        nobodyWaits(this.#finish(failed(error)));
        throw error;
      }
      if (result.done) {
        await this.#finish(succeeded);
        return this.#rest();
      }
      if (this.#pass(result.value)) return result;
    }
  }

  #waited(): void {
    if (this.#givenMs !== undefined) this.#readerMs += this.#desk.clock.now() - this.#givenMs;
    this.#givenMs = undefined;
  }

  /** What may go out of what came; false for what is kept until the end is safe. */
  #pass(event: CompletionEvent): boolean {
    const nowMs = this.#desk.clock.now();
    this.#see(event, nowMs);
    if (this.#recorded.stream) this.#givenMs = nowMs; // who gathers a whole answer takes no time
    const { durable } = this.#desk;
    if (!durable || event.type !== 'wire' || this.#finishReasons.length < this.#recorded.choices) return true;
    this.#held.push(event);
    return false;
  }

  #rest(): IteratorResult<CompletionEvent, undefined> {
    const value = this.#held.shift();
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  }

  #see(event: CompletionEvent, nowMs: number): void {
    if (this.#firstMs === undefined && isVisible(event)) this.#firstMs = nowMs;
    if (event.type === 'usage') this.#usage = event.usage;
    else if (event.type === 'start') this.#upstreamId = event.id;
    else if (event.type === 'finish') this.#finishReasons.push(event.reason);
    else if (event.type === 'takeover') {
      this.#takeovers.push({ stage: 'routing', name: event.target, action: 'takeover' });
    }
    for (const watch of this.#recorded.watches) watch.event?.(event, nowMs);
  }

  #finish(outcome: Outcome): Promise<void> | undefined {
    if (!this.#open) return undefined;
    this.#open = false;
    const { clock, priceOf, emit } = this.#desk;
    const run = this.#run;
    const record = recordOf(this.#recorded, clock, outcome);
    const usage = this.#usage ?? run.spent?.();
    const stored = run.cache === 'hit' || run.cache === 'stale' || run.cache === 'coalesced';
    record.upstreamId = this.#upstreamId;
    record.target = run.target;
    record.attempts = run.attempts;
    record.cache = run.cache;
    record.overheadMs = Math.max(0, this.#answeredMs - record.startedMs - spentIn(run.attempts));
    record.readerMs = this.#readerMs;
    record.holdback = run.holdback?.();
    record.usage = usage;
    record.costUsd = usage && (stored ? 0 : priceOf?.(run.target, usage));
    record.finishReasons = this.#finishReasons;
    record.decisions = [...(run.decisions?.() ?? []), ...this.#takeovers];
    if (run.prompt) record.prompt = run.prompt;
    if (this.#firstMs !== undefined) {
      const tokens = usage?.completionTokens ?? 0;
      record.ttftMs = this.#firstMs - record.startedMs;
      if (tokens > 1) record.tpotMs = (record.startedMs + record.durationMs - this.#firstMs) / (tokens - 1);
    }
    return emit(record, this.#recorded.watches);
  }
}
