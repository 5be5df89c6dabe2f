import { type Clock, systemClock } from '../core/clock.ts';
import { toGatewayError } from '../core/errors.ts';
import type { Usage } from '../core/event.ts';
import type { RecordSink, RequestRecord, RequestWatch, Stage, Watcher } from '../core/record.ts';
import type { ChatRequest, PromptReference } from '../core/request.ts';
import type { Decision, RequestContext, Run } from '../core/run.ts';
import {
  type Desk,
  failed,
  nobodyWaits,
  type Recorded,
  RecordedEvents,
  recordOf,
  spentIn,
  succeeded,
} from './recorded-events.ts';

export interface Recorder {
  /** Runs the request and, when its stream has ended, gives one record to every sink. */
  stream(
    request: ChatRequest,
    context: RequestContext,
    run: (stage: Timed, revise: Revise) => Promise<Run>,
  ): Promise<Run>;
  call<T extends CallAnswer>(model: string, context: RequestContext, run: () => Promise<T>): Promise<T>;
}

interface CallAnswer {
  readonly target: string;
  readonly usage?: Usage;
  readonly decisions?: readonly Decision[] | undefined;
}

/**
 * Tells how filters left the request: what they masked of `user` and `metadata` is not on record either, and of a request
 * that failed before they ran nothing that its client wrote is.
 */
export type Revise = (request: ChatRequest) => void;

/** Does a stage's work and notes how long it took; a promise only where there is something to wait for. */
export type Timed = <T>(name: string, work: () => T | Promise<T>) => T | Promise<T>;

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

/** One wide record per request; `sinks` are log, metrics and ledger, `watchers` follow it while it is under way. */
export function createRecorder(
  sinks: readonly RecordSink[],
  clock: Clock = systemClock,
  { watchers = [], priceOf, durable }: RecorderOptions = {},
): Recorder {
  const desk: Desk = {
    clock,
    priceOf,
    durable: durable !== undefined,
    emit(record, watches) {
      for (const watch of watches) watch.ended(record);
      for (const sink of sinks) sink(record);
      return durable?.(record);
    },
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
      const timed: Timed = (name, work) => {
        const startedMs = clock.now();
        const note = () => void stages.push({ name, startedMs, durationMs: clock.now() - startedMs });
        try {
          const result = work();
          if (result instanceof Promise) result.then(note, note);
          else note();
          return result;
        } catch (error) {
          note();
          throw error;
        }
      };
      const recorded: Recorded = {
        context,
        model: request.model,
        stream: request.stream,
        choices: request.choices,
        stages,
        watches,
        prompt: request.promptTemplate && promptOf(request.promptTemplate),
        user: undefined,
        metadata: undefined,
      };
      let run: Run;
      try {
        run = await produce(timed, (revised) => {
          recorded.user = revised.user;
          recorded.metadata = revised.metadata;
          for (const watch of watches) watch.revised?.(revised);
        });
      } catch (error) {
        const { attempts, decisions } = toGatewayError(error);
        const record = recordOf(recorded, clock, failed(error));
        const overheadMs = record.durationMs - spentIn(attempts);
        nobodyWaits(desk.emit({ ...record, attempts, decisions, overheadMs }, watches));
        throw error;
      }
      return {
        target: run.target,
        attempts: run.attempts,
        cache: run.cache,
        headers: run.headers,
        events: new RecordedEvents(desk, recorded, run),
        given: run.given,
        decisions: run.decisions,
        holdback: run.holdback,
        prompt: run.prompt,
        spent: run.spent,
      };
    },

    async call<T extends CallAnswer>(model: string, context: RequestContext, produce: () => Promise<T>) {
      const recorded: Recorded = {
        context,
        model,
        stream: false,
        choices: 1,
        stages: [],
        watches: [],
        prompt: undefined,
        user: undefined,
        metadata: undefined,
      };
      let answer: T;
      try {
        answer = await produce();
      } catch (error) {
        const { decisions } = toGatewayError(error);
        nobodyWaits(desk.emit({ ...recordOf(recorded, clock, failed(error)), decisions }, []));
        throw error;
      }
      const record = recordOf(recorded, clock, succeeded);
      record.target = answer.target || undefined;
      record.usage = answer.usage;
      record.decisions = answer.decisions ?? [];
      record.costUsd = answer.usage && priceOf?.(answer.target, answer.usage);
      await desk.emit(record, []);
      return answer;
    },
  };
}

const promptOf = ({ id, version }: PromptReference) => (version === undefined ? { id } : { id, version });
