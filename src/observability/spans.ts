import { randomHex } from '../core/clock.ts';
import type { RequestRecord } from '../core/record.ts';
import type { ChatRequest } from '../core/request.ts';
import type { Attempt } from '../core/run.ts';
import { attemptSpanId, type TraceContext } from '../core/trace.ts';
import { operationOf, splitTarget } from './metrics.ts';

/** One span of a request's tree, in plain values: what any exporter needs. */
export interface SpanData {
  readonly name: string;
  readonly kind: 'server' | 'client' | 'internal';
  readonly spanId: string;
  readonly parentSpanId?: string;
  /** Unix milliseconds, with a fraction. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly events: readonly { readonly name: string; readonly atMs: number }[];
  readonly error?: string;
}

export type AttributeValue = string | number | boolean | readonly string[];

/** Texts of a request, only where the configuration asks for them. */
export interface SpanContent {
  readonly input: string;
  readonly output: string;
}

/**
 * The tree of one ended request: the request itself, below it decode, admission, input filters, each attempt, the filters'
 * holdback and the flush; below the attempt that answered its queue, prefill and decode where the engine measured them.
 */
export function spansOf(
  record: RequestRecord,
  request: ChatRequest,
  trace: TraceContext,
  content?: SpanContent,
): readonly SpanData[] {
  const wall = (ms: number) => record.startedAt + (ms - record.startedMs);
  const endMs = record.startedAt + record.durationMs;
  const firstTokenMs = record.ttftMs === undefined ? undefined : record.startedAt + record.ttftMs;
  const failure = record.outcome === 'ok' ? undefined : record.outcome;

  const root: SpanData = {
    name: `POST ${record.endpoint}`,
    kind: 'server',
    spanId: trace.spanId,
    ...(trace.parentSpanId !== undefined && { parentSpanId: trace.parentSpanId }),
    startMs: record.startedAt,
    endMs,
    attributes: {
      'http.request.method': 'POST',
      'http.route': record.endpoint,
      'http.response.status_code': record.status,
      'tidegate.request_id': record.requestId,
      'tidegate.model': record.model,
      'tidegate.caller': record.callerId,
      'tidegate.cache': record.cache,
      ...(record.overheadMs !== undefined && { 'tidegate.overhead_ms': record.overheadMs }),
      ...(record.readerMs !== undefined && { 'tidegate.reader_ms': record.readerMs }),
      ...(record.costUsd !== undefined && { 'tidegate.cost_usd': record.costUsd }),
      ...(record.prompt && { 'tidegate.prompt': record.prompt.id }),
      ...(record.decisions.length > 0 && {
        'tidegate.decisions': record.decisions.map(({ stage, name, action }) => `${stage}:${name}:${action}`),
      }),
      ...(failure !== undefined && { 'error.type': failure }),
      ...(content && { 'mlflow.spanInputs': content.input, 'mlflow.spanOutputs': content.output }),
    },
    events: firstTokenMs === undefined ? [] : [{ name: 'first_token', atMs: firstTokenMs }],
    ...(failure !== undefined && record.status >= 500 && { error: record.errorMessage ?? failure }),
  };

  const spans: SpanData[] = [root];
  for (const { name, startedMs, durationMs } of record.stages) {
    spans.push(internal(name, trace.spanId, wall(startedMs), wall(startedMs) + durationMs));
  }
  record.attempts.forEach((attempt, index) => {
    const answered = !attempt.error && attempt.target === record.target;
    const startMs = wall(attempt.startedMs);
    const span: SpanData = {
      name: `${operationOf(record.endpoint)} ${splitTarget(attempt.target)[1] || attempt.target}`,
      kind: 'client',
      spanId: attemptSpanId(trace, index),
      parentSpanId: trace.spanId,
      startMs,
      endMs: answered ? endMs : startMs + attempt.durationMs,
      attributes: {
        ...requestAttributes(record, request, attempt),
        ...(answered ? answerAttributes(record) : {}),
        ...(answered && content
          ? {
              'gen_ai.input.messages': content.input,
              'gen_ai.output.messages': content.output,
            }
          : {}),
        ...(attempt.error && { 'error.type': attempt.error.kind }),
      },
      events: answered && firstTokenMs !== undefined ? [{ name: 'first_token', atMs: firstTokenMs }] : [],
      ...(attempt.error && { error: attempt.error.message }),
      ...(answered && failure !== undefined && { error: failure }),
    };
    spans.push(span);
    if (answered) spans.push(...engineSpans(record, span));
  });
  const { holdback, readerMs } = record;
  if (holdback) {
    const startMs = wall(holdback.startedMs);
    const attributes = { 'tidegate.held_ms': holdback.durationMs, 'tidegate.longest_ms': holdback.longestMs };
    spans.push(internal('holdback', trace.spanId, startMs, startMs + holdback.durationMs, attributes));
  }
  // The pieces between the events, as one: how long the answer waited for its reader to take it.
  if (firstTokenMs !== undefined && readerMs !== undefined) {
    spans.push(internal('flush', trace.spanId, Math.max(firstTokenMs, endMs - readerMs), endMs));
  }
  return spans;
}

function requestAttributes(record: RequestRecord, request: ChatRequest, { target }: Attempt): SpanData['attributes'] {
  const [provider, model] = splitTarget(target);
  const { sampling } = request;
  return defined({
    'gen_ai.operation.name': operationOf(record.endpoint),
    'gen_ai.provider.name': provider,
    'gen_ai.request.model': model,
    'gen_ai.request.stream': record.stream,
    'gen_ai.request.max_tokens': request.maxTokens,
    'gen_ai.request.temperature': sampling.temperature,
    'gen_ai.request.top_p': sampling.topP,
    'gen_ai.request.top_k': sampling.topK,
    'gen_ai.request.seed': sampling.seed,
    'gen_ai.request.frequency_penalty': sampling.frequencyPenalty,
    'gen_ai.request.presence_penalty': sampling.presencePenalty,
    'gen_ai.request.stop_sequences': request.stop.length > 0 ? request.stop : undefined,
    'gen_ai.request.choice.count': request.choices > 1 ? request.choices : undefined,
    'gen_ai.output.type': request.responseFormat.type === 'text' ? 'text' : 'json',
  });
}

function answerAttributes({ usage, finishReasons, target, ttftMs, answerId, upstreamId }: RequestRecord) {
  return defined({
    'gen_ai.response.id': upstreamId ?? answerId,
    'gen_ai.response.model': splitTarget(target ?? '')[1],
    'gen_ai.response.finish_reasons': finishReasons.length > 0 ? finishReasons : undefined,
    'gen_ai.response.time_to_first_chunk': ttftMs === undefined ? undefined : ttftMs / 1000,
    'gen_ai.usage.input_tokens': usage?.promptTokens,
    'gen_ai.usage.output_tokens': usage?.completionTokens,
    'gen_ai.usage.cache_read.input_tokens': usage?.cachedTokens,
    'gen_ai.usage.cache_creation.input_tokens': usage?.cacheWriteTokens,
    'gen_ai.usage.reasoning.output_tokens': usage?.reasoningTokens,
    'tidegate.energy_joules': usage?.energyJoules,
  });
}

/** Queue, prefill and decode, one after the other, as far as the engine measured them. */
function engineSpans({ usage }: RequestRecord, parent: SpanData): SpanData[] {
  const spans: SpanData[] = [];
  let at = parent.startMs;
  const steps = [
    ['queue', usage?.queueMs, {}],
    ['prefill', usage?.prefillMs, { 'tidegate.tokens': (usage?.promptTokens ?? 0) - (usage?.cachedTokens ?? 0) }],
    ['decode', usage?.decodeMs, { 'tidegate.tokens': usage?.completionTokens ?? 0 }],
  ] as const;
  for (const [name, ms, attributes] of steps) {
    if (ms === undefined) continue;
    spans.push(internal(`engine ${name}`, parent.spanId, at, Math.min(at + ms, parent.endMs), attributes));
    at += ms;
  }
  return spans;
}

const internal = (
  name: string,
  parentSpanId: string,
  startMs: number,
  endMs: number,
  attributes: SpanData['attributes'] = {},
): SpanData => ({ name, kind: 'internal', spanId: randomHex(8), parentSpanId, startMs, endMs, attributes, events: [] });

function defined(values: Readonly<Record<string, AttributeValue | undefined>>): Record<string, AttributeValue> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, AttributeValue] => entry[1] !== undefined),
  );
}
