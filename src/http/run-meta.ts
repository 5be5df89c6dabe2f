import { randomId } from '../core/clock.ts';
import type { ChatRequest } from '../core/request.ts';
import type { RequestContext, Run } from '../core/run.ts';
import type { AnswerMeta } from '../wire/format.ts';

/** What the encoders need to know of an answer besides its events. */
export function metaOf(request: ChatRequest, run: Run | undefined, context: RequestContext): AnswerMeta {
  return {
    id: run?.given?.id ?? context.answerId ?? randomId(''),
    requestId: context.requestId,
    request,
    createdAt: run?.given?.createdAt ?? Math.floor(Date.now() / 1000),
    target: run?.target ?? '',
  };
}

/** Who answered and how, as response headers. */
export function runHeaders(run: Run, context: RequestContext): Readonly<Record<string, string>> {
  let upstreamMs = 0;
  for (const attempt of run.attempts) upstreamMs += attempt.durationMs;
  const totalMs = performance.now() - context.startedMs;
  return {
    ...run.headers,
    'x-tidegate-target': run.target,
    'x-tidegate-attempts': String(run.attempts.length),
    'x-tidegate-cache': run.cache,
    'x-tidegate-overhead-ms': Math.max(0, totalMs - upstreamMs).toFixed(2),
  };
}
