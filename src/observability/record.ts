import { type Clock, systemClock } from '../core/clock.ts';
import { toGatewayError } from '../core/errors.ts';
import type { CompletionEvent, FinishReason, Usage } from '../core/event.ts';
import type { RecordSink, RequestRecord, RequestWatch, Stage, Watcher } from '../core/record.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Attempt, Decision, RequestContext, Run } from '../core/run.ts';
import type { ReadyIterator } from '../core/streams.ts';

export interface Recorder {
  /** Runs the request and, when its stream has ended, gives one record to every sink. */
  stream(
    request: ChatRequest,
    context: RequestContext,
    run: (stage: Timed, revise: Revise) => Promise<Run>,
  ): Promise<Run>;
  call<T extends { readonly target: string; readonly usage?: Usage }>(
    model: string,
    context: RequestContext,
    run: () => Promise<T>,
  ): Promise<T>;
}

/**
 * Tells how filters left the request: what they masked of `user` and `metadata` is not on record either, and of a request
 * that failed before they ran nothing that its client wrote is.
 */
export type Revise = (request: ChatRequest) => void;

/** Waits for a stage's result and notes how long it took. */
export type Timed = <T>(name: string, work: Promise<T>) => Promise<T>;

export interface RecorderOptions {
  readonly watchers?: readonly Watcher[];
  /** US dollars of what a target used; undefined where its price is not known. */
  readonly priceOf?: (target: string, usage: Usage) => number | undefined;
  readonly durable?: DurableSink;
}

/**
 * Writes the record of an answered request where a crash cannot take it (the ledger's write-ahead file). Awaited before
 * the last of the answer is given out, so that what a client got whole is never missing from the books; a rejection
 * ends the answer as an error instead. Of an answer that broke, was left or never began it is told too, but nobody waits.
 */
export type DurableSink = (record: RequestRecord) => Promise<void>;

const visible = (event: CompletionEvent) =>
  event.type !== 'start' && event.type !== 'progress' && event.type !== 'usage';

/** One wide record per request; `sinks` are log, metrics and ledger, `watchers` follow it while it is under way. */
export function createRecorder(
  sinks: readonly RecordSink[],
  clock: Clock = systemClock,
  { watchers = [], priceOf, durable }: RecorderOptions = {},
): Recorder {
  const emit = (record: RequestRecord, watches: readonly RequestWatch[] = []) => {
    for (const watch of watches) watch.ended(record);
    for (const sink of sinks) sink(record);
  };
  const begin = (model: string, { requestId, endpoint, caller, startedMs, answerId, trace }: RequestContext): Begun => {
    const begun: Begun = {
      requestId,
      endpoint,
      model: model.slice(0, mostCharacters),
      startedAt: clock.wall() - (clock.now() - startedMs),
      startedMs,
      callerId: caller.id,
    };
    if (answerId !== undefined) begun.answerId = answerId;
    if (trace) begun.traceId = trace.traceId;
    if (caller.team !== undefined) begun.team = caller.team;
    return begun;
  };
  const failed = (error: unknown) => {
    const { kind, status, message } = toGatewayError(error);
    return { outcome: kind, status, errorMessage: message };
  };

  return {
    async stream(request, context, produce) {
      const watches: RequestWatch[] = [];
      for (const watcher of watchers) {
        const watch = watcher(request, context);
        if (watch) watches.push(watch);
      }
      const enteredMs = clock.now();
      const stages: Stage[] = [
        { name: 'decode', startedMs: context.startedMs, durationMs: enteredMs - context.startedMs },
      ];
      const { promptTemplate } = request;
      const base = {
        ...begin(request.model, context),
        stream: request.stream,
        stages,
        ...(promptTemplate && {
          prompt: {
            id: promptTemplate.id,
            ...(promptTemplate.version !== undefined && { version: promptTemplate.version }),
          },
        }),
      };
      const timed: Timed = (name, work) => {
        const startedMs = clock.now();
        const note = () => void stages.push({ name, startedMs, durationMs: clock.now() - startedMs });
        work.then(note, note);
        return work;
      };

      let told: Pick<RequestRecord, 'user' | 'metadata'> = {};
      let run: Run;
      try {
        run = await produce(timed, (revised) => {
          told = endUserOf(revised);
          for (const watch of watches) watch.revised?.(revised);
        });
      } catch (error) {
        const { attempts, decisions } = toGatewayError(error);
        const durationMs = clock.now() - context.startedMs;
        const overheadMs = durationMs - spentIn(attempts);
        const rest = { attempts, decisions, durationMs, overheadMs, cache: 'bypass' as const, finishReasons: [] };
        const record = { ...base, ...told, ...rest, ...failed(error) };
        emit(record, watches);
        durable?.(record).catch(() => {}); // nobody waits; the sink itself tells of its trouble
        throw error;
      }

      const answeredMs = clock.now();
      for (const watch of watches) watch.answered?.(run, answeredMs);
      const observers = watches.filter((watch) => watch.event !== undefined);
      let firstMs: number | undefined;
      let usage: Usage | undefined;
      let upstreamId: string | undefined;
      const finishReasons: FinishReason[] = [];
      const takeovers: Decision[] = [];
      const see = (event: CompletionEvent, nowMs: number) => {
        if (firstMs === undefined && visible(event)) firstMs = nowMs;
        if (event.type === 'usage') usage = event.usage;
        else if (event.type === 'start') upstreamId = event.id;
        else if (event.type === 'finish') finishReasons.push(event.reason);
        else if (event.type === 'takeover') {
          takeovers.push({ stage: 'routing', name: event.target, action: 'takeover' });
        }
        for (const watch of observers) watch.event?.(event, nowMs);
      };
      const end = (outcome: Outcome, readerMs: number) => {
        const now = clock.now();
        usage ??= run.spent?.();
        const tokens = usage?.completionTokens ?? 0;
        const stored = run.cache === 'hit' || run.cache === 'stale' || run.cache === 'coalesced';
        const costUsd = usage && (stored ? 0 : priceOf?.(run.target, usage));
        const holdback = run.holdback?.();
        // Field by field: spreading what may be absent costs more than all else in here.
        const record: Mutable<RequestRecord> = {
          ...base,
          target: run.target,
          attempts: run.attempts,
          cache: run.cache,
          durationMs: now - context.startedMs,
          overheadMs: Math.max(0, answeredMs - context.startedMs - spentIn(run.attempts)),
          readerMs,
          finishReasons,
          decisions: [...(run.decisions?.() ?? []), ...takeovers],
          outcome: outcome.outcome,
          status: outcome.status,
        };
        if (told.user !== undefined) record.user = told.user;
        if (told.metadata !== undefined) record.metadata = told.metadata;
        if (firstMs !== undefined) {
          record.ttftMs = firstMs - context.startedMs;
          if (tokens > 1) record.tpotMs = (now - firstMs) / (tokens - 1);
        }
        if (upstreamId !== undefined) record.upstreamId = upstreamId;
        if (run.prompt) record.prompt = run.prompt;
        if (holdback) record.holdback = holdback;
        if (usage) record.usage = usage;
        if (costUsd !== undefined) record.costUsd = costUsd;
        if (outcome.errorMessage !== undefined) record.errorMessage = outcome.errorMessage;
        emit(record, watches);
        return durable?.(record);
      };
      // Bytes that pass through hold the answer's own end (`[DONE]`, `message_stop`): kept until the record is safe.
      const isLast = (event: CompletionEvent) =>
        durable !== undefined && event.type === 'wire' && finishReasons.length >= request.choices;
      return {
        ...run,
        events: observed(run.events, clock, see, end, failed, isLast),
      };
    },

    async call<T extends { readonly target: string; readonly usage?: Usage }>(
      model: string,
      context: RequestContext,
      produce: () => Promise<T>,
    ) {
      const base = {
        ...begin(model, context),
        stream: false,
        attempts: [],
        cache: 'bypass' as const,
        finishReasons: [],
        decisions: [],
        stages: [],
      };
      let answer: T;
      try {
        answer = await produce();
      } catch (error) {
        const record = { ...base, durationMs: clock.now() - context.startedMs, ...failed(error) };
        emit(record);
        durable?.(record).catch(() => {}); // nobody waits; the sink itself tells of its trouble
        throw error;
      }
      const { target, usage } = answer;
      const costUsd = usage && priceOf?.(target, usage);
      const record: RequestRecord = {
        ...base,
        target,
        durationMs: clock.now() - context.startedMs,
        ...(usage && { usage }),
        ...(costUsd !== undefined && { costUsd }),
        ...done,
      };
      emit(record);
      await durable?.(record);
      return answer;
    },
  };
}

/** Names that a client makes up: records are kept in memory, logged and shown. */
const mostCharacters = 512;

const spentIn = (attempts: readonly Attempt[]) => attempts.reduce((sum, { durationMs }) => sum + durationMs, 0);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
type Begun = Mutable<
  Pick<
    RequestRecord,
    'requestId' | 'answerId' | 'traceId' | 'endpoint' | 'model' | 'startedAt' | 'startedMs' | 'callerId' | 'team'
  >
>;

interface Outcome {
  readonly outcome: string;
  readonly status: number;
  readonly errorMessage?: string;
}
const done: Outcome = { outcome: 'ok', status: 200 };
const left: Outcome = { outcome: 'cancelled', status: 499 };

/**
 * The events as they come, seen on their way; `end` runs exactly once, and what it promises is awaited before a clean
 * end is told. An iterator by hand, because a generator that is closed before its first pull never runs its `finally`,
 * and such a request must be recorded too.
 */
function observed<T>(
  source: AsyncIterable<T>,
  clock: Clock,
  see: (item: T, nowMs: number) => void,
  end: (outcome: Outcome, readerMs: number) => Promise<void> | undefined,
  failed: (error: unknown) => Outcome,
  isLast: (item: T) => boolean,
): AsyncIterable<T> {
  let open = true;
  let givenMs: number | undefined;
  let readerMs = 0;
  const held: T[] = [];
  const finish = (outcome: Outcome): Promise<void> | undefined => {
    if (!open) return undefined;
    open = false;
    return end(outcome, readerMs);
  };
  const abandon = (outcome: Outcome) => {
    finish(outcome)?.catch(() => {}); // nobody waits; the sink itself tells of its trouble
  };
  const rest = (): IteratorResult<T, undefined> => {
    const value = held.shift();
    return value === undefined ? { done: true, value: undefined } : { done: false, value };
  };
  /** What may go out of what came; undefined for what is kept until the end is safe. */
  const pass = (value: T): boolean => {
    const nowMs = clock.now();
    see(value, nowMs);
    givenMs = nowMs;
    if (!isLast(value)) return true;
    held.push(value);
    return false;
  };
  return {
    [Symbol.asyncIterator](): ReadyIterator<T> {
      const iterator: ReadyIterator<T> = source[Symbol.asyncIterator]();
      let ending: Promise<void> | undefined;
      const pull = () => iterator.next().then(onResult, onError);
      const onResult = (result: IteratorResult<T>): IteratorResult<T> | Promise<IteratorResult<T>> => {
        if (!result.done) return pass(result.value) ? result : pull();
        const safe = finish(done);
        return safe ? safe.then(rest) : rest();
      };
      const onError = (error: unknown) => {
        abandon(failed(error));
        throw error;
      };
      const waited = () => {
        if (givenMs !== undefined) readerMs += clock.now() - givenMs;
        givenMs = undefined;
      };
      return {
        next() {
          if (ending) return ending.then(rest);
          waited();
          return pull();
        },
        ready() {
          if (ending) return undefined;
          waited();
          for (;;) {
            let result: IteratorResult<T, undefined> | undefined;
            try {
              result = iterator.ready?.();
            } catch (error) {
              onError(error);
            }
            if (!result) return undefined;
            if (result.done) {
              ending = finish(done);
              ending?.catch(() => {}); // told by the `next` that follows
              return ending ? undefined : rest();
            }
            if (pass(result.value)) return result;
          }
        },
        async return(value?: unknown) {
          try {
            await iterator.return?.(value);
          } finally {
            abandon(left);
          }
          return { done: true, value: undefined };
        },
      };
    },
  };
}

const endUserOf = ({ user, metadata }: ChatRequest): Pick<RequestRecord, 'user' | 'metadata'> => ({
  ...(user !== undefined && { user: user.slice(0, mostCharacters) }),
  ...(metadata !== undefined && { metadata }),
});
