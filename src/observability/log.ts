import type { RequestRecord } from '../core/record.ts';
import type { Attempt } from '../core/run.ts';

/** The level of a request's line: what blames us or an upstream is louder than what a client did wrong. */
export type LineLevel = 'info' | 'warn' | 'error';

/** One request as one flat JSON line. Holds no prompt, no answer and no key; end users appear only as a hash of theirs. */
export function recordLine(record: RequestRecord): {
  readonly level: LineLevel;
  readonly fields: Record<string, unknown>;
} {
  const { usage } = record;
  return {
    level:
      record.status >= 500
        ? 'error'
        : record.outcome === 'overloaded' || record.attempts.some(failed)
          ? 'warn'
          : 'info',
    fields: {
      request_id: record.requestId,
      ...(record.traceId !== undefined && { trace_id: record.traceId }),
      endpoint: record.endpoint,
      model: record.model,
      ...(record.target !== undefined && { target: record.target }),
      caller: record.callerId,
      ...(record.team !== undefined && { team: record.team }),
      outcome: record.outcome,
      status: record.status,
      stream: record.stream,
      cache: record.cache,
      duration_ms: rounded(record.durationMs),
      ...(record.ttftMs !== undefined && { ttft_ms: rounded(record.ttftMs) }),
      ...(record.tpotMs !== undefined && { tpot_ms: rounded(record.tpotMs) }),
      ...(record.overheadMs !== undefined && { overhead_ms: rounded(record.overheadMs) }),
      ...(usage && { input_tokens: usage.promptTokens, output_tokens: usage.completionTokens }),
      ...(usage?.cachedTokens !== undefined && { cached_tokens: usage.cachedTokens }),
      ...(usage?.reasoningTokens !== undefined && { reasoning_tokens: usage.reasoningTokens }),
      ...(usage?.energyJoules !== undefined && { energy_joules: rounded(usage.energyJoules) }),
      ...(record.costUsd !== undefined && { cost_usd: record.costUsd }),
      ...(record.finishReasons.length > 0 && { finish: record.finishReasons.join(',') }),
      ...(record.errorMessage !== undefined && { error: record.errorMessage }),
      ...(record.attempts.length > 1 && { attempts: record.attempts.map(attemptText) }),
      ...(record.decisions.length > 0 && {
        decisions: record.decisions.map((d) => `${d.stage}:${d.name}:${d.action}`),
      }),
      ...(record.prompt && { prompt: record.prompt.id }),
    },
  };
}

const failed = ({ error }: Attempt) => error !== undefined;
const attemptText = ({ target, durationMs, error }: Attempt) =>
  `${target} ${error?.kind ?? 'ok'} ${rounded(durationMs)}ms`;
const rounded = (value: number) => Math.round(value * 100) / 100;
