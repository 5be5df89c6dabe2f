import { nowSeconds, randomId } from '../core/clock.ts';
import type { ChatRequest } from '../core/request.ts';
import type { RequestContext, Run } from '../core/run.ts';
import { headersByName } from '../core/transport.ts';
import type { AnswerMeta } from '../wire/format.ts';

/** What the encoders need to know of an answer besides its events. */
export function metaOf(request: ChatRequest, run: Run | undefined, context: RequestContext): AnswerMeta {
  return {
    id: run?.given?.id ?? context.answerId ?? randomId(''),
    requestId: context.requestId,
    request,
    createdAt: run?.given?.createdAt ?? nowSeconds(),
    target: run?.target ?? '',
  };
}

/** Who answered and how, as response headers. */
export const runHeaders = (run: Run, context: RequestContext): Readonly<Record<string, string>> =>
  headersByName(answerHead({}, run, context));

/**
 * The head of an answer: `base`, what the stages ask for, who answered and how. A list, because records that differ from
 * request to request are dear to merge.
 */
export function answerHead(base: Readonly<Record<string, string>>, run: Run, context: RequestContext): string[] {
  let upstreamMs = 0;
  for (const attempt of run.attempts) upstreamMs += attempt.durationMs;
  const overheadMs = Math.max(0, performance.now() - context.startedMs - upstreamMs);
  const head: string[] = [];
  for (const name in base) head.push(name, base[name] ?? '');
  for (const name in run.headers) head.push(name, run.headers[name] ?? '');
  head.push('x-tidegate-target', run.target);
  head.push('x-tidegate-attempts', String(run.attempts.length));
  head.push('x-tidegate-cache', run.cache);
  head.push('x-tidegate-overhead-ms', overheadMs.toFixed(2));
  return head;
}
