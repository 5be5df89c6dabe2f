import { type Clock, systemClock } from '../core/clock.ts';
import { toGatewayError } from '../core/errors.ts';
import type { CompletionEvent, FinishReason, Usage } from '../core/event.ts';
import type { RecordSink, RequestRecord } from '../core/record.ts';
import type { ChatRequest } from '../core/request.ts';
import type { RequestContext, Run } from '../core/run.ts';
import { tap } from '../core/streams.ts';

export interface Recorder {
  /** Runs the request and, when its stream has ended, gives one record to every sink. */
  stream(request: ChatRequest, context: RequestContext, run: () => Promise<Run>): Promise<Run>;
  call<T extends { readonly target: string }>(
    model: string,
    context: RequestContext,
    run: () => Promise<T>,
  ): Promise<T>;
}

const visible = (event: CompletionEvent) =>
  event.type !== 'start' && event.type !== 'progress' && event.type !== 'usage';

/** One wide record per request; `sinks` are log, metrics and ledger. */
export function createRecorder(sinks: readonly RecordSink[], clock: Clock = systemClock): Recorder {
  const emit = (record: RequestRecord) => {
    for (const sink of sinks) sink(record);
  };
  const begin = (model: string, { requestId, endpoint, caller, startedMs }: RequestContext) => {
    const startedAt = clock.wall() - (clock.now() - startedMs);
    return {
      requestId,
      endpoint,
      model,
      startedAt,
      callerId: caller.id,
      ...(caller.team !== undefined && { team: caller.team }),
    };
  };
  const failed = (error: unknown) => {
    const { kind, status, message } = toGatewayError(error);
    return { outcome: kind, status, errorMessage: message };
  };

  return {
    async stream(request, context, produce) {
      const base = {
        ...begin(request.model, context),
        stream: request.stream,
        ...(request.user !== undefined && { user: request.user }),
        ...(request.metadata !== undefined && { metadata: request.metadata }),
      };
      let run: Run;
      try {
        run = await produce();
      } catch (error) {
        emit({
          ...base,
          attempts: [],
          cache: 'bypass',
          durationMs: clock.now() - context.startedMs,
          finishReasons: [],
          decisions: [],
          ...failed(error),
        });
        throw error;
      }
      let firstMs: number | undefined;
      let usage: Usage | undefined;
      const finishReasons: FinishReason[] = [];
      const see = (event: CompletionEvent) => {
        if (firstMs === undefined && visible(event)) firstMs = clock.now();
        if (event.type === 'usage') usage = event.usage;
        else if (event.type === 'finish') finishReasons.push(event.reason);
      };
      const end = (error: unknown, complete: boolean) => {
        const now = clock.now();
        const tokens = usage?.completionTokens ?? 0;
        emit({
          ...base,
          target: run.target,
          attempts: run.attempts,
          cache: run.cache,
          durationMs: now - context.startedMs,
          ...(firstMs !== undefined && { ttftMs: firstMs - context.startedMs }),
          ...(firstMs !== undefined && tokens > 1 && { tpotMs: (now - firstMs) / (tokens - 1) }),
          ...(usage && { usage }),
          finishReasons,
          decisions: [],
          ...(complete
            ? { outcome: 'ok', status: 200 }
            : error
              ? failed(error)
              : { outcome: 'cancelled', status: 499 }),
        });
      };
      return { ...run, events: tap(run.events, see, end) };
    },

    async call(model, context, produce) {
      const base = {
        ...begin(model, context),
        stream: false,
        attempts: [],
        cache: 'bypass' as const,
        finishReasons: [],
        decisions: [],
      };
      try {
        const answer = await produce();
        emit({
          ...base,
          target: answer.target,
          durationMs: clock.now() - context.startedMs,
          outcome: 'ok',
          status: 200,
        });
        return answer;
      } catch (error) {
        emit({ ...base, durationMs: clock.now() - context.startedMs, ...failed(error) });
        throw error;
      }
    },
  };
}
