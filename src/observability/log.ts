import type { RequestRecord } from '../core/record.ts';
import type { Attempt } from '../core/run.ts';

/** The level of a request's line: what blames us or an upstream is louder than what a client did wrong. */
export type LineLevel = 'info' | 'warn' | 'error';

/** How loud a request’s line is: a client’s mistake is no error of ours. */
export const lineLevel = ({ status, outcome, attempts }: RequestRecord): LineLevel =>
  status >= 500 ? 'error' : outcome === 'overloaded' || attempts.some(broke) ? 'warn' : 'info';

/**
 * One request as one flat JSON line; what is undefined does not come into it. Holds no prompt, no answer and no key; end
 * users appear only as a hash of theirs.
 */
export function recordFields(record: RequestRecord): Record<string, unknown> {
  const { usage, finishReasons, attempts, decisions } = record;
  return {
    request_id: record.requestId,
    trace_id: record.traceId,
    endpoint: record.endpoint,
    model: record.model,
    target: record.target,
    caller: record.callerId,
    team: record.team,
    outcome: record.outcome,
    status: record.status,
    stream: record.stream,
    cache: record.cache,
    duration_ms: rounded(record.durationMs),
    ttft_ms: rounded(record.ttftMs),
    tpot_ms: rounded(record.tpotMs),
    overhead_ms: rounded(record.overheadMs),
    input_tokens: usage?.promptTokens,
    output_tokens: usage?.completionTokens,
    cached_tokens: usage?.cachedTokens,
    reasoning_tokens: usage?.reasoningTokens,
    energy_joules: rounded(usage?.energyJoules),
    cost_usd: record.costUsd,
    finish: finishReasons.length > 0 ? finishReasons.join(',') : undefined,
    error: record.errorMessage,
    attempts: attempts.length > 1 || attempts.some(failed) ? attempts.map(attemptText) : undefined,
    decisions: decisions.length > 0 ? decisions.map((d) => `${d.stage}:${d.name}:${d.action}`) : undefined,
    prompt: record.prompt?.id,
  };
}

const failed = ({ error }: Attempt) => error !== undefined;
/** Otherwise than by the client that left. */
const broke = ({ error }: Attempt) => error !== undefined && error.kind !== 'cancelled';
const attemptText = ({ target, durationMs, error }: Attempt) =>
  `${target} ${error?.kind ?? 'ok'} ${rounded(durationMs)}ms`;
const rounded = (value: number | undefined) => value && Math.round(value * 100) / 100;
