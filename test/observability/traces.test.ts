import { afterEach, expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { CallOptions, Provider } from '../../src/core/provider.ts';
import { attemptSpanId, beginTrace, upstreamHeaders } from '../../src/core/trace.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { otlpExporter } from '../../src/observability/traces.node.ts';
import { traceRequests } from '../../src/observability/traces.ts';
import { ask, contextOf } from '../request.ts';
import { answerOf, drain, gatewayWith, type Step, scripted, steppedClock } from './harness.ts';
import { otlpReceiver } from './otlp-receiver.ts';

const clientTrace = '4bf92f3577b34da6a3ce929d0e0e4736';
const clientSpan = '00f067aa0ba902b7';
const sampled = { traceparent: `00-${clientTrace}-${clientSpan}-01`, tracestate: 'vendor=1' };

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function traced(providers: (clock: ReturnType<typeof steppedClock>) => Provider[], content = false) {
  const receiver = await otlpReceiver();
  closing.push(receiver.close);
  const otlp = await otlpExporter({
    url: receiver.url,
    headers: { 'x-mlflow-experiment-id': '7' },
    serviceVersion: '1.2.3',
  });
  const clock = steppedClock();
  const watchers = [traceRequests(otlp.export, { content })];
  const gateway = gatewayWith({ providers: providers(clock), clock, watchers });
  return { receiver, gateway, clock, otlp };
}

const engineAnswer: Step[] = [
  { waitMs: 10 },
  { type: 'start', id: 'up-7' },
  { waitMs: 90 },
  { type: 'text-delta', choice: 0, text: 'high tide' },
  { waitMs: 100 },
  { type: 'finish', choice: 0, reason: 'stop' },
  {
    type: 'usage',
    usage: { promptTokens: 40, completionTokens: 9, cachedTokens: 30, queueMs: 5, prefillMs: 95, decodeMs: 100 },
  },
];

test('a request is one tree below the client’s span, with each attempt and the engine’s own steps', async () => {
  const bad = new GatewayError('upstream_failed', 'down');
  const { receiver, gateway, otlp } = await traced((clock) => [
    scripted('bad', [{ waitMs: 20 }, bad], clock),
    scripted('local', engineAnswer, clock),
  ]);
  const request = ask({ sampling: { temperature: 0.5, seed: 3 }, maxTokens: 20, stop: ['END'] });
  const trace = beginTrace(sampled);
  await drain((await gateway.stream(request, contextOf({ trace }))).events);
  await otlp.close();

  const { spans } = receiver;
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  const path = (span: (typeof spans)[number]): string => {
    const parent = byId.get(span.parentSpanId);
    return parent ? `${path(parent)} > ${span.name}` : span.name;
  };
  expect(spans.map(path)).toEqual([
    'POST /v1/chat/completions',
    'POST /v1/chat/completions > decode',
    'POST /v1/chat/completions > admission',
    'POST /v1/chat/completions > input-filters',
    'POST /v1/chat/completions > chat m',
    'POST /v1/chat/completions > chat m',
    'POST /v1/chat/completions > chat m > engine queue',
    'POST /v1/chat/completions > chat m > engine prefill',
    'POST /v1/chat/completions > chat m > engine decode',
    'POST /v1/chat/completions > flush',
  ]);
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([clientTrace]));
  expect(spans[0]).toMatchObject({
    parentSpanId: clientSpan,
    kind: 2,
    statusCode: 0,
    events: ['first_token'],
    attributes: { 'http.response.status_code': 200, 'tidegate.model': 'demo' },
    resource: { 'service.name': 'tidegate', 'service.version': '1.2.3' },
  });
  expect((spans[0]?.endMs ?? 0) - (spans[0]?.startMs ?? 0)).toBeCloseTo(220, 1);
  expect(spans[4]).toMatchObject({
    spanId: attemptSpanId(trace, 0),
    kind: 3,
    statusCode: 2,
    attributes: { 'gen_ai.provider.name': 'bad', 'error.type': 'upstream_failed' },
  });
  expect(spans[5]).toMatchObject({
    spanId: attemptSpanId(trace, 1),
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'local',
      'gen_ai.request.model': 'm',
      'gen_ai.request.temperature': 0.5,
      'gen_ai.request.seed': 3,
      'gen_ai.request.max_tokens': 20,
      'gen_ai.request.stop_sequences': ['END'],
      'gen_ai.request.stream': true,
      'gen_ai.response.id': 'up-7',
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.response.time_to_first_chunk': 0.12,
      'gen_ai.usage.input_tokens': 40,
      'gen_ai.usage.output_tokens': 9,
      'gen_ai.usage.cache_read.input_tokens': 30,
    },
  });
  const text = JSON.stringify(spans);
  expect(text).not.toContain('high tide');
  expect(text).not.toContain('What is the tide?');
  expect(receiver.headers[0]?.['x-mlflow-experiment-id']).toBe('7');
});

test('how long a filter withheld text is a span of its own', async () => {
  const receiver = await otlpReceiver();
  closing.push(receiver.close);
  const otlp = await otlpExporter({ url: receiver.url });
  const answer: Step[] = [
    { type: 'text-delta', choice: 0, text: 'storm' }, // may become a match: withheld until the next piece
    { waitMs: 30 },
    { type: 'text-delta', choice: 0, text: ' is coming.' },
    { type: 'finish', choice: 0, reason: 'stop' },
  ];
  const clock = steppedClock();
  const config = filtersSchema().parse({ words: { kind: 'patterns', phrases: ['storm warning'] } });
  const gateway = gatewayWith({
    providers: [scripted('local', answer, clock)],
    clock,
    deps: { filters: createFilters(config, {}, clock) },
    filters: ['words'],
    watchers: [traceRequests(otlp.export)],
  });
  await drain((await gateway.stream(ask(), contextOf({ trace: beginTrace({}) }))).events);
  await otlp.close();
  const held = receiver.spans.find(({ name }) => name === 'holdback');
  expect((held?.endMs ?? 0) - (held?.startMs ?? 0)).toBeCloseTo(30, 1);
  expect(held?.attributes).toMatchObject({ 'tidegate.held_ms': 30, 'tidegate.longest_ms': 30 });
});

test('prompts and answers are in the spans only when asked for', async () => {
  const { receiver, gateway, otlp } = await traced((clock) => [scripted('local', engineAnswer, clock)], true);
  await drain((await gateway.stream(ask(), contextOf({ trace: beginTrace({}) }))).events);
  await otlp.close();
  const call = receiver.spans.find(({ name }) => name === 'chat m');
  expect(call?.attributes['gen_ai.input.messages']).toContain('What is the tide?');
  expect(call?.attributes['gen_ai.output.messages']).toContain('high tide');
});

test.each([
  { name: 'a client that samples nothing', headers: { traceparent: `00-${clientTrace}-${clientSpan}-00` }, ratio: 1 },
  { name: 'a ratio of zero', headers: {}, ratio: 0 },
])('$name leaves no spans', async ({ headers, ratio }) => {
  const { receiver, gateway, otlp } = await traced((clock) => [scripted('local', engineAnswer, clock)]);
  await drain((await gateway.stream(ask(), contextOf({ trace: beginTrace(headers, ratio) }))).events);
  await otlp.close();
  expect(receiver.spans).toEqual([]);
});

test.each([
  { name: 'none', traceparent: undefined },
  { name: 'nonsense', traceparent: 'hello' },
  { name: 'an all-zero trace id', traceparent: `00-${'0'.repeat(32)}-${clientSpan}-01` },
  { name: 'an all-zero span id', traceparent: `00-${clientTrace}-${'0'.repeat(16)}-01` },
  { name: 'the forbidden version', traceparent: `ff-${clientTrace}-${clientSpan}-01` },
  { name: 'upper case', traceparent: `00-${clientTrace.toUpperCase()}-${clientSpan}-01` },
])('a traceparent that is $name begins a new trace', ({ traceparent }) => {
  const trace = beginTrace(traceparent === undefined ? {} : { traceparent });
  expect(trace.traceId).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
  expect(trace.traceId).not.toBe(clientTrace);
  expect(trace.parentSpanId).toBeUndefined();
  expect(trace.sampled).toBe(true);
});

test('an upstream gets a traceparent of its own attempt, and the client’s tracestate', () => {
  const trace = beginTrace(sampled);
  const [first, second] = [0, 1].map((attempt) => upstreamHeaders({ requestId: 'req-1', trace }, attempt));
  expect(first).toEqual({
    'x-request-id': 'req-1',
    traceparent: `00-${clientTrace}-${attemptSpanId(trace, 0)}-01`,
    tracestate: 'vendor=1',
  });
  expect(second?.['traceparent']).not.toBe(first?.['traceparent']);
});

test.each([
  { name: 'refuses', start: () => otlpReceiver({ status: 400 }) },
  { name: 'is not there', start: async () => ({ url: 'http://127.0.0.1:9/v1/traces', close: async () => {} }) },
])('a collector that $name is told of and harms nobody', async ({ start }) => {
  const receiver = await start();
  closing.push(receiver.close);
  const failures: unknown[] = [];
  const otlp = await otlpExporter({ url: receiver.url, onError: (error) => failures.push(error), flushEveryMs: 10 });
  const gateway = gatewayWith({
    providers: [scripted('local', answerOf('a'))],
    watchers: [traceRequests(otlp.export)],
  });
  const events = await drain((await gateway.stream(ask(), contextOf({ trace: beginTrace({}) }))).events);
  expect(events.at(-1)?.type).toBe('usage');
  await otlp.close();
  await expect.poll(() => failures.length, { timeout: 10_000 }).toBeGreaterThan(0);
});

test('providers are called with the options that carry the trace', async () => {
  const seen: CallOptions[] = [];
  const provider = scripted('local', answerOf('a'));
  const watching: Provider = {
    ...provider,
    stream: (request, options) => {
      seen.push(options);
      return provider.stream(request, options);
    },
  };
  const trace = beginTrace(sampled);
  await drain((await gatewayWith({ providers: [watching] }).stream(ask(), contextOf({ trace }))).events);
  expect(seen[0]?.headers?.['traceparent']).toBe(`00-${clientTrace}-${attemptSpanId(trace, 0)}-01`);
});
