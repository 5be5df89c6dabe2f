import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GatewayError } from '../../../src/core/errors.ts';
import type { CompletionEvent } from '../../../src/core/event.ts';
import { createCollector } from '../../../src/core/streams.ts';
import { type ChatAnswer, createChatEncoder, encodeChatCompletion } from '../../../src/wire/openai/encode.ts';
import { errorHeaders } from '../../../src/wire/openai/errors.ts';
import { createChatChunkDecoder, decodeChatCompletion } from '../../../src/wire/openai/upstream-answer.ts';
import { createSseDecoder } from '../../../src/wire/sse.ts';

const answer: ChatAnswer = { id: 'chatcmpl-1', created: 1_700_000_000, model: 'm' };
const usage = { promptTokens: 3, completionTokens: 2, cachedTokens: 1 };

function written(events: readonly CompletionEvent[], options: Partial<ChatAnswer> = {}) {
  const encoder = createChatEncoder({ ...answer, ...options });
  const text = events.map((event) => encoder.push(event)).join('') + encoder.end();
  const payloads = createSseDecoder()
    .push(new TextEncoder().encode(text))
    .map((event) => event.data);
  expect(payloads.at(-1)).toBe('[DONE]');
  return payloads.slice(0, -1).map((data) => JSON.parse(data));
}
const body = (events: readonly CompletionEvent[], options: Partial<ChatAnswer> = {}) => {
  const collector = createCollector();
  for (const event of events) collector.push(event);
  return encodeChatCompletion(collector.result(), { ...answer, ...options });
};

const text: CompletionEvent[] = [
  { type: 'start', id: 'up', model: 'up-model', fingerprint: 'fp_1' },
  { type: 'text-delta', choice: 0, text: 'Hel' },
  { type: 'text-delta', choice: 0, text: 'lo "x"\n' },
  { type: 'finish', choice: 0, reason: 'stop' },
  { type: 'usage', usage },
];
const frame = {
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: 'm',
  system_fingerprint: 'fp_1',
};
const part = (delta: object, finish_reason: string | null = null) => ({
  ...frame,
  choices: [{ index: 0, delta, logprobs: null, finish_reason }],
});

test('a text answer: role first, finish_reason null until the last chunk, no usage unless asked for', () => {
  expect(written(text)).toEqual([
    part({ role: 'assistant', content: '', refusal: null }),
    part({ content: 'Hel' }),
    part({ content: 'lo "x"\n' }),
    part({}, 'stop'),
  ]);
});

test('with include_usage each chunk has usage null and the last one, without choices, has the counts', () => {
  const chunks = written(text, { includeUsage: true });
  expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
  expect(chunks.at(-1)).toMatchObject({
    ...frame,
    choices: [],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: 1 } },
  });
});

test('the fast form of a text chunk is JSON.stringify of the plain one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.boolean(), (delta, includeUsage) => {
      const [, chunk] = written([{ type: 'text-delta', choice: 0, text: `${delta}.` }], { includeUsage });
      const { system_fingerprint: _, ...plain } = part({ content: `${delta}.` });
      expect(JSON.stringify(chunk)).toBe(JSON.stringify(includeUsage ? { ...plain, usage: null } : plain));
    }),
  );
});

const calls: CompletionEvent[] = [
  { type: 'tool-call-start', choice: 0, index: 0, id: 'call_a', name: 'lookup', kind: 'function' },
  { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"q"' },
  { type: 'tool-call-delta', choice: 0, index: 0, arguments: ':1}' },
  { type: 'tool-call-start', choice: 0, index: 1, id: 'call_b', name: 'note', kind: 'custom' },
  { type: 'tool-call-delta', choice: 0, index: 1, arguments: 'free' },
  { type: 'finish', choice: 0, reason: 'stop' },
];

test('tool calls: id, type and name once, index always, finish_reason tool_calls even if the model said stop', () => {
  expect(
    written(calls).map((chunk) => chunk.choices[0].delta.tool_calls?.[0] ?? chunk.choices[0].finish_reason),
  ).toEqual([
    null,
    { index: 0, id: 'call_a', type: 'function', function: { name: 'lookup', arguments: '' } },
    { index: 0, function: { arguments: '{"q"' } },
    { index: 0, function: { arguments: ':1}' } },
    { index: 1, id: 'call_b', type: 'custom', custom: { name: 'note', input: '' } },
    { index: 1, custom: { input: 'free' } },
    'tool_calls',
  ]);
});

test('legacy functions are answered as function_call', () => {
  const deltas = written(calls.slice(0, 3), { legacyFunctions: true }).map(
    (chunk) => chunk.choices[0].delta.function_call,
  );
  expect(deltas).toEqual([undefined, { name: 'lookup', arguments: '' }, { arguments: '{"q"' }, { arguments: ':1}' }]);
  expect(body(calls, { legacyFunctions: true }).choices[0]).toMatchObject({
    message: { function_call: { name: 'lookup', arguments: '{"q":1}' } },
    finish_reason: 'function_call',
  });
});

test('a whole body has its required nullable fields, and tool_calls only when there are some', () => {
  expect(body(text)).toMatchObject({
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Hello "x"\n', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: { total_tokens: 5, completion_tokens_details: { reasoning_tokens: 0 } },
  });
  expect(body(text).choices[0]?.message).not.toHaveProperty('tool_calls');
  expect(body(calls).choices[0]).toMatchObject({
    finish_reason: 'tool_calls',
    message: {
      content: null,
      tool_calls: [
        { id: 'call_a', type: 'function', function: { name: 'lookup', arguments: '{"q":1}' } },
        { custom: { input: 'free' } },
      ],
    },
  });
});

test('an impossible log-probability is a number that JSON has', () => {
  const [, chunk] = written([
    { type: 'text-delta', choice: 0, text: 'x', logprobs: [{ token: 'x', logprob: -Infinity, bytes: [120], top: [] }] },
  ]);
  expect(chunk.choices[0].logprobs).toEqual({
    content: [{ token: 'x', logprob: -9999, bytes: [120], top_logprobs: [] }],
    refusal: null,
  });
});

test('a failure is an error object and no clean end', () => {
  const encoder = createChatEncoder(answer);
  expect(encoder.error(new GatewayError('upstream_failed', 'It broke.'))).toBe(
    'data: {"error":{"message":"It broke.","type":"server_error","param":null,"code":"upstream_error"}}\n\n',
  );
});

test.each([
  {
    name: 'a rate limit',
    error: new GatewayError('rate_limited', 'x', { retryAfterMs: 1500 }),
    headers: { 'retry-after': '2', 'retry-after-ms': '1500' },
  },
  {
    name: 'no room',
    error: new GatewayError('unavailable', 'x'),
    headers: { 'retry-after': '1', 'retry-after-ms': '1000' },
  },
  {
    name: 'an upstream’s unpaid bill',
    error: new GatewayError('upstream_rate_limited', 'x', { code: 'insufficient_quota' }),
    headers: { 'x-should-retry': 'false' },
  },
  {
    name: 'an upstream that knows our key no more',
    error: new GatewayError('upstream_unauthorized', 'x'),
    headers: { 'x-should-retry': 'false' },
  },
  { name: 'a conflict for good', error: new GatewayError('conflict', 'x'), headers: { 'x-should-retry': 'false' } },
  {
    name: 'a conflict that ends',
    error: new GatewayError('conflict', 'x', { retryAfterMs: 900 }),
    headers: { 'retry-after': '1', 'retry-after-ms': '900' },
  },
  { name: 'an empty budget', error: new GatewayError('budget_exceeded', 'x'), headers: { 'x-should-retry': 'false' } },
  { name: 'a mistake of the client', error: new GatewayError('invalid_request', 'x'), headers: {} },
])('$name tells SDKs whether to retry', ({ error, headers }) => {
  expect(errorHeaders(error)).toEqual(headers);
});

test('what we write, our upstream side reads back as the same events', () => {
  const events: CompletionEvent[] = [
    { type: 'start', id: 'chatcmpl-1', model: 'm', created: expect.any(Number) },
    { type: 'reasoning-delta', choice: 0, text: 'hm' },
    {
      type: 'text-delta',
      choice: 0,
      text: 'a',
      logprobs: [{ token: 'a', logprob: -0.1, bytes: [97], top: [{ token: 'b', logprob: -2, bytes: [98] }] }],
    },
    { type: 'tool-call-start', choice: 1, index: 0, id: 'call_a', name: 'f', kind: 'function' },
    { type: 'tool-call-delta', choice: 1, index: 0, arguments: '{}' },
    { type: 'refusal-delta', choice: 0, text: 'no' },
    { type: 'finish', choice: 1, reason: 'tool-calls' },
    { type: 'finish', choice: 0, reason: 'length' },
    {
      type: 'usage',
      usage: { ...usage, reasoningTokens: 0, acceptedPredictionTokens: 0, rejectedPredictionTokens: 0 },
    },
  ];
  const decoder = createChatChunkDecoder();
  const read = written(events, { includeUsage: true }).flatMap((chunk) => decoder.push(chunk));
  expect([...read, ...decoder.end()]).toEqual(events);
});

const delta = (fields: object, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta: fields, finish_reason }],
});
const toolDelta = (...tool_calls: object[]) => delta({ tool_calls });
const end = delta({}, 'stop');
const read = (...chunks: object[]) => {
  const decoder = createChatChunkDecoder();
  const collector = createCollector();
  for (const event of [...chunks.flatMap((chunk) => decoder.push(chunk)), ...decoder.end()]) collector.push(event);
  return collector.result();
};

test.each([
  {
    name: 'no index',
    chunks: [
      toolDelta({ id: 'a', type: 'function', function: { name: 'f', arguments: '{' } }),
      toolDelta({ function: { arguments: '}' } }),
    ],
    calls: [{ id: 'a', name: 'f', arguments: '{}' }],
  },
  {
    name: 'two calls without index',
    chunks: [
      toolDelta({ id: 'a', function: { name: 'f', arguments: '{}' } }),
      toolDelta({ id: 'b', function: { name: 'g', arguments: '{}' } }),
    ],
    calls: [
      { id: 'a', name: 'f', arguments: '{}' },
      { id: 'b', name: 'g', arguments: '{}' },
    ],
  },
  {
    name: 'a second call re-using index 0',
    chunks: [
      toolDelta({ index: 0, id: 'a', function: { name: 'f', arguments: '{}' } }),
      toolDelta({ index: 0, id: 'b', function: { name: 'f', arguments: '{}' } }),
    ],
    calls: [
      { id: 'a', name: 'f', arguments: '{}' },
      { id: 'b', name: 'f', arguments: '{}' },
    ],
  },
  {
    name: 'arguments as an object',
    chunks: [toolDelta({ index: 0, id: 'a', function: { name: 'f', arguments: { q: 1 } } })],
    calls: [{ id: 'a', name: 'f', arguments: '{"q":1}' }],
  },
  {
    name: 'id and name repeated, or null, in each delta',
    chunks: [
      toolDelta({ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } }),
      toolDelta({ index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '{' } }),
      toolDelta({ index: 0, id: null, type: null, function: { name: null, arguments: '}' } }),
    ],
    calls: [{ id: 'a', name: 'f', arguments: '{}' }],
  },
  {
    name: 'arguments ahead of the name',
    chunks: [
      toolDelta({ index: 0, id: 'a', function: { arguments: '{' } }),
      toolDelta({ index: 0, function: { name: 'f', arguments: '}' } }),
    ],
    calls: [{ id: 'a', name: 'f', arguments: '{}' }],
  },
  {
    name: 'no id',
    chunks: [toolDelta({ index: 0, function: { name: 'f', arguments: '{}' } })],
    calls: [{ id: expect.stringMatching(/^call_\w{24}$/), name: 'f', arguments: '{}' }],
  },
  {
    name: 'the deprecated function_call',
    chunks: [delta({ function_call: { name: 'f', arguments: '{' } }), delta({ function_call: { arguments: '}' } })],
    calls: [{ id: expect.stringMatching(/^call_/), name: 'f', arguments: '{}' }],
  },
])('an upstream’s tool calls are repaired: $name', ({ chunks, calls: expected }) => {
  const [choice] = read(...chunks, end).choices;
  expect(choice?.toolCalls).toEqual(expected.map((call) => ({ kind: 'function', ...call })));
  expect(choice?.finishReason).toBe('tool-calls');
});

test.each([
  { name: 'reasoning_content', chunk: delta({ reasoning_content: 'hm' }) },
  { name: 'reasoning', chunk: delta({ reasoning: 'hm' }) },
  { name: 'both, which is one', chunk: delta({ reasoning_content: 'hm', reasoning: 'hm' }) },
  {
    name: 'a thinking part',
    chunk: delta({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] }] }),
  },
])('reasoning arrives from $name', ({ chunk }) => {
  expect(read(chunk, end).choices[0]?.reasoning).toEqual([{ text: 'hm' }]);
});

test.each([
  { name: 'in the finishing chunk', chunks: [{ ...end, usage: { prompt_tokens: 3, completion_tokens: 2 } }] },
  { name: 'in a chunk of its own', chunks: [end, { choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } }] },
  { name: 'without choices', chunks: [end, { choices: null, usage: { prompt_tokens: 3, completion_tokens: 2 } }] },
  {
    name: 'growing in every chunk',
    chunks: [
      { ...delta({}), usage: { prompt_tokens: 3, completion_tokens: 1 } },
      { ...end, usage: { prompt_tokens: 3, completion_tokens: 2 } },
    ],
  },
  { name: 'as Groq has it', chunks: [{ ...end, x_groq: { usage: { prompt_tokens: 3, completion_tokens: 2 } } }] },
])('usage is found $name, and told once', ({ chunks }) => {
  expect(read(...chunks).usage).toEqual({ promptTokens: 3, completionTokens: 2 });
});

test.each([
  { reason: 'model_length', as: 'length' }, // https://docs.mistral.ai/api/
  { reason: 'sensitive', as: 'content-filter' }, // https://docs.z.ai/api-reference/llm/chat-completion
])('finish_reason $reason means $as', ({ reason, as }) => {
  expect(read(delta({ content: 'x' }), delta({}, reason)).choices[0]?.finishReason).toBe(as);
});

test.each([
  {
    name: 'thinking beside the answer', // https://docs.x.ai/docs/key-information/consumption-and-rate-limits
    usage: {
      prompt_tokens: 32,
      completion_tokens: 9,
      total_tokens: 135,
      completion_tokens_details: { reasoning_tokens: 94 },
    },
    read: { promptTokens: 32, completionTokens: 103, reasoningTokens: 94 },
  },
  {
    name: 'thinking in the answer',
    usage: {
      prompt_tokens: 32,
      completion_tokens: 103,
      total_tokens: 135,
      completion_tokens_details: { reasoning_tokens: 94 },
    },
    read: { promptTokens: 32, completionTokens: 103, reasoningTokens: 94 },
  },
  {
    name: 'cached tokens at its top', // https://platform.moonshot.ai/docs/api/chat
    usage: { prompt_tokens: 32, completion_tokens: 9, cached_tokens: 20 },
    read: { promptTokens: 32, completionTokens: 9, cachedTokens: 20 },
  },
])('usage with $name', ({ usage, read: as }) => {
  expect(read({ ...end, usage }).usage).toEqual(as);
});

test.each([
  { name: 'an answer without a finish', chunks: [delta({ content: 'x' })], kind: 'upstream_failed' },
  { name: 'nothing at all', chunks: [], kind: 'upstream_failed' },
  {
    name: 'an error object',
    chunks: [delta({ content: 'x' }), { error: { message: 'boom', type: 'server_error' } }],
    kind: 'upstream_failed',
  },
  { name: 'an error text', chunks: [{ error: 'boom' }], kind: 'upstream_failed' },
  {
    name: 'a rate limit inside the stream',
    chunks: [{ error: { message: 'slow', code: 429 } }],
    kind: 'upstream_rate_limited',
  },
  {
    name: 'a full context',
    chunks: [{ error: { message: 'long', type: 'exceed_context_size_error', code: 400 } }],
    kind: 'context_length_exceeded',
  },
  ...['error', 'abort', 'insufficient_system_resource', 'network_error'].map((reason) => ({
    name: `finish_reason ${reason}`,
    chunks: [delta({}, reason)],
    kind: 'upstream_failed',
  })),
])('$name is an error', ({ chunks, kind }) => {
  expect(() => read(...chunks)).toThrow(expect.objectContaining({ kind }));
});

test('a whole body is read as the stream would have been', () => {
  expect(decodeChatCompletion(body(text))).toEqual([
    { type: 'start', id: 'chatcmpl-1', model: 'm', fingerprint: 'fp_1', created: expect.any(Number) },
    { type: 'text-delta', choice: 0, text: 'Hello "x"\n' },
    { type: 'finish', choice: 0, reason: 'stop' },
    {
      type: 'usage',
      usage: { ...usage, reasoningTokens: 0, acceptedPredictionTokens: 0, rejectedPredictionTokens: 0 },
    },
  ]);
});

test('with include_obfuscation every text chunk is padded, so that its length tells less', () => {
  const deltas: CompletionEvent[] = ['a', 'four', 'sixteen letters.'].map((one) => ({
    type: 'text-delta',
    choice: 0,
    text: one,
  }));
  const chunks = written(deltas, { includeObfuscation: true }).slice(1);
  expect(chunks.map((chunk) => (chunk.choices[0].delta.content.length + chunk.obfuscation.length) % 16)).toEqual([
    0, 0, 0,
  ]);
  expect(written(deltas)[1]).not.toHaveProperty('obfuscation');
});

test('several choices have a role each, once and in their order, whichever speaks first, and their own end', () => {
  const chunks = written([
    { type: 'text-delta', choice: 2, text: 'c' },
    { type: 'text-delta', choice: 1, text: 'b' },
    { type: 'text-delta', choice: 0, text: 'a' },
    { type: 'finish', choice: 0, reason: 'stop' },
    { type: 'finish', choice: 1, reason: 'length' },
  ]);
  expect(
    chunks.map(({ choices: [one] }) => [one.index, one.delta.role ?? one.delta.content ?? one.finish_reason]),
  ).toEqual([
    [0, 'assistant'],
    [1, 'assistant'],
    [2, 'assistant'],
    [2, 'c'],
    [1, 'b'],
    [0, 'a'],
    [0, 'stop'],
    [1, 'length'],
  ]);
});

test('reasoning goes out under one name', () => {
  const [, chunk] = written([{ type: 'reasoning-delta', choice: 0, text: 'hm' }]);
  expect(chunk.choices[0].delta).toEqual({ reasoning_content: 'hm' });
  expect(body([{ type: 'reasoning-delta', choice: 0, text: 'hm' }, ...text]).choices[0]?.message).toMatchObject({
    reasoning_content: 'hm',
  });
});
