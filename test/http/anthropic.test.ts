import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { appWith } from '../app.ts';
import { type Step, scripted } from '../scripted.ts';
import { events, post } from './post.ts';

const hello = { model: 'test', max_tokens: 100, messages: [{ role: 'user', content: 'Hi' }] };
const lookup = { name: 'lookup', input_schema: { type: 'object', properties: { q: { type: 'number' } } } };
const call = (index: number, id: string, ...pieces: string[]): CompletionEvent[] => [
  { type: 'tool-call-start', choice: 0, index, id, name: 'lookup', kind: 'function' },
  ...pieces.map((text): CompletionEvent => ({ type: 'tool-call-delta', choice: 0, index, arguments: text })),
];
const delta = (index: number, text: string): CompletionEvent => ({
  type: 'tool-call-delta',
  choice: 0,
  index,
  arguments: text,
});

test('a message has content blocks, a stop reason and Anthropic’s usage', async () => {
  const app = appWith(
    scripted(['Hel', 'lo', { type: 'usage', usage: { promptTokens: 9, completionTokens: 2, cachedTokens: 4 } }]),
  );
  const response = await post(app, '/v1/messages', hello);
  expect(response.headers.get('request-id')).toMatch(/^req_/);
  expect(await response.json()).toEqual({
    id: expect.stringMatching(/^msg_/),
    type: 'message',
    role: 'assistant',
    model: 'test',
    content: [{ type: 'text', text: 'Hello' }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 5, output_tokens: 2, cache_creation_input_tokens: 0, cache_read_input_tokens: 4 },
  });
});

test.each<{ name: string; steps: Step[]; blocks: string[]; deltas: object[]; stop: object }>([
  {
    name: 'text',
    steps: ['Hel', 'lo'],
    blocks: ['text'],
    deltas: [
      { type: 'text_delta', text: 'Hel' },
      { type: 'text_delta', text: 'lo' },
    ],
    stop: { stop_reason: 'end_turn', stop_sequence: null },
  },
  {
    name: 'a matched stop sequence',
    steps: ['Hel', { type: 'finish', choice: 0, reason: 'stop', stopSequence: 'END' }],
    blocks: ['text'],
    deltas: [{ type: 'text_delta', text: 'Hel' }],
    stop: { stop_reason: 'stop_sequence', stop_sequence: 'END' },
  },
  {
    name: 'thinking, then text, then a call',
    steps: [
      { type: 'reasoning-delta', choice: 0, text: 'hm' },
      { type: 'reasoning-end', choice: 0, signature: 'sig' },
      'So',
      ...call(0, 'call_1', '{"q":', '1}'),
      { type: 'finish', choice: 0, reason: 'tool-calls' },
    ],
    blocks: ['thinking', 'text', 'tool_use'],
    deltas: [
      { type: 'thinking_delta', thinking: 'hm' },
      { type: 'signature_delta', signature: 'sig' },
      { type: 'text_delta', text: 'So' },
      { type: 'input_json_delta', partial_json: '{"q":' },
      { type: 'input_json_delta', partial_json: '1}' },
    ],
    stop: { stop_reason: 'tool_use', stop_sequence: null },
  },
  {
    name: 'two calls told side by side, sent one after the other',
    steps: [
      ...call(0, 'a', '{"q"'),
      ...call(1, 'b', '{"q"'),
      delta(0, ':1}'),
      delta(1, ':2}'),
      { type: 'finish', choice: 0, reason: 'stop' },
    ],
    blocks: ['tool_use', 'tool_use'],
    deltas: [
      { type: 'input_json_delta', partial_json: '{"q"' },
      { type: 'input_json_delta', partial_json: ':1}' },
      { type: 'input_json_delta', partial_json: '{"q":2}' },
    ],
    stop: { stop_reason: 'tool_use', stop_sequence: null },
  },
  {
    name: 'a cut',
    steps: ['x', { type: 'finish', choice: 0, reason: 'length' }],
    blocks: ['text'],
    deltas: [{ type: 'text_delta', text: 'x' }],
    stop: { stop_reason: 'max_tokens', stop_sequence: null },
  },
])('a stream of $name opens, fills and closes its blocks in order', async ({ steps, blocks, deltas, stop }) => {
  const response = await post(appWith(scripted(steps)), '/v1/messages', { ...hello, stream: true });
  const all = await events(response);
  expect(all[0]).toMatchObject({ type: 'message_start', message: { content: [], stop_reason: null } });
  expect(all.at(-2)).toMatchObject({
    type: 'message_delta',
    delta: stop,
    usage: { output_tokens: expect.any(Number) },
  });
  expect(all.at(-1)).toEqual({ type: 'message_stop' });
  expect(all.filter((event) => event.type === 'content_block_start').map((event) => event.content_block.type)).toEqual(
    blocks,
  );
  expect(all.filter((event) => event.type === 'content_block_delta').map((event) => event.delta)).toEqual(deltas);
  let open = -1;
  for (const event of all) {
    if (event.type === 'content_block_start') expect(event.index).toBe(++open);
    else if (event.type.startsWith('content_block')) expect(event.index).toBe(open);
  }
  expect(all.filter((event) => event.type === 'content_block_stop')).toHaveLength(blocks.length);
});

test('the prompt’s size stands in message_start where the target tells it first', async () => {
  const prompt = { promptTokens: 30, cachedTokens: 20, cacheWriteTokens: 4 };
  const app = appWith(scripted([{ type: 'start', prompt }, 'x']));
  const [start] = await events(await post(app, '/v1/messages', { ...hello, stream: true }));
  expect(start.message.usage).toEqual({
    input_tokens: 6,
    output_tokens: 0,
    cache_creation_input_tokens: 4,
    cache_read_input_tokens: 20,
  });
});

test('a whole tool call has its input as an object', async () => {
  const app = appWith(scripted([...call(0, 'call_1', '{"q":1}'), { type: 'finish', choice: 0, reason: 'stop' }]));
  const body = await (await post(app, '/v1/messages', { ...hello, tools: [lookup] })).json();
  expect(body).toMatchObject({
    content: [{ type: 'tool_use', id: 'call_1', name: 'lookup', input: { q: 1 } }],
    stop_reason: 'tool_use',
  });
});

test('a conversation with tools, thinking, images and system blocks arrives whole', async () => {
  const provider = scripted(['ok']);
  await post(appWith(provider), '/v1/messages', {
    ...hello,
    system: [
      { type: 'text', text: 'x-anthropic-billing-header: cc_version=2; cch=1a2b3;' },
      { type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } },
    ],
    tools: [lookup, { type: 'web_search_20250305', name: 'web_search' }],
    tool_choice: { type: 'tool', name: 'lookup', disable_parallel_tool_use: true },
    thinking: { type: 'enabled', budget_tokens: 2048 },
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Look' },
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
        ],
      },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm', signature: 's' },
          { type: 'tool_use', id: 'c1', name: 'lookup', input: { q: 1 } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'c1', content: [{ type: 'text', text: 'found' }], is_error: true },
          { type: 'text', text: 'And?' },
        ],
      },
    ],
  });
  expect(provider.requests[0]).toMatchObject({
    messages: [
      { role: 'system', content: [{ type: 'text', text: 'Be brief.', cacheControl: { type: 'ephemeral' } }] },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Look' },
          { type: 'image', url: 'data:image/png;base64,AAAA' },
        ],
      },
      {
        role: 'assistant',
        reasoning: [{ text: 'hm', signature: 's' }],
        toolCalls: [{ id: 'c1', name: 'lookup', arguments: '{"q":1}' }],
      },
      { role: 'tool', toolCallId: 'c1', content: [{ type: 'text', text: 'found' }], isError: true },
      { role: 'user', content: [{ type: 'text', text: 'And?' }] },
    ],
    tools: [{ name: 'lookup' }],
    toolChoice: { type: 'named', name: 'lookup' },
    parallelToolCalls: false,
    reasoning: { enabled: true, budgetTokens: 2048 },
    maxTokens: 100,
  });
  expect(provider.requests[0]?.tools).toHaveLength(1);
});

test('a tool’s examples and what is told of a document reach any target', async () => {
  const provider = scripted(['ok']);
  const source = { type: 'text', media_type: 'text/plain', data: 'The ford is open.' };
  await post(appWith(provider), '/v1/messages', {
    ...hello,
    tools: [{ ...lookup, input_examples: [{ q: 7 }] }],
    messages: [
      {
        role: 'user',
        content: [
          { type: 'document', source, title: 'Ford', context: 'Of last May.' },
          { type: 'search_result', title: 'Tides', source: 'a.example', content: [{ type: 'text', text: 'High.' }] },
        ],
      },
    ],
  });
  const [request] = provider.requests;
  expect(request?.tools[0]?.parameters).toEqual({ ...lookup.input_schema, examples: [{ q: 7 }] });
  const said = request?.messages[0]?.content.map((part) => (part.type === 'text' ? part.text : part.type)).join('');
  expect(said).toBe('Ford\n\nOf last May.\n\nThe ford is open.Tides\na.example\n\nHigh.');
});

test('a last assistant turn is continued', async () => {
  const provider = scripted(['ok']);
  await post(appWith(provider), '/v1/messages', {
    ...hello,
    messages: [...hello.messages, { role: 'assistant', content: '{' }],
  });
  expect(provider.requests[0]?.continueFinalMessage).toBe(true);
});

test.each([
  {
    name: 'no max_tokens',
    path: '/v1/messages',
    body: { ...hello, max_tokens: undefined },
    status: 400,
    type: 'invalid_request_error',
    words: 'max_tokens',
  },
  {
    name: 'an unknown model',
    path: '/v1/messages',
    body: { ...hello, model: 'nope' },
    status: 404,
    type: 'not_found_error',
    words: 'nope',
  },
  {
    name: 'a block of the wrong type',
    path: '/v1/messages',
    body: { ...hello, messages: [{ role: 'user', content: [{ type: 'text', text: 1 }] }] },
    status: 400,
    type: 'invalid_request_error',
    words: 'messages[0].content[0].text',
  },
  {
    name: 'count_tokens without messages',
    path: '/v1/messages/count_tokens',
    body: { model: 'test' },
    status: 400,
    type: 'invalid_request_error',
    words: 'messages',
  },
])('$name is refused in Anthropic’s envelope', async ({ path, body, status, type, words }) => {
  const response = await post(appWith(scripted(['x'])), path, body);
  expect(response.status).toBe(status);
  expect(await response.json()).toEqual({
    type: 'error',
    error: { type, message: expect.stringContaining(words) },
    request_id: response.headers.get('request-id'),
  });
});

test.each([
  {
    said: 'The maximum context length is 8 tokens.',
    told: 'prompt is too long: The maximum context length is 8 tokens.',
  },
  { said: 'prompt is too long: 9 tokens > 8 maximum', told: 'prompt is too long: 9 tokens > 8 maximum' },
])('a prompt that is too long is refused in the words that agents look for: $said', async ({ said, told }) => {
  const app = appWith(scripted([new GatewayError('context_length_exceeded', said)]));
  const response = await post(app, '/v1/messages', hello);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error', message: told } });
});

test('a failure in mid-stream is an error event and the last one', async () => {
  const app = appWith(scripted(['x', new GatewayError('upstream_failed', 'It broke.')]));
  const all = await events(await post(app, '/v1/messages', { ...hello, stream: true }));
  expect(all.at(-1)).toMatchObject({ type: 'error', error: { type: 'api_error', message: 'It broke.' } });
  expect(all.some((event) => event.type === 'message_stop')).toBe(false);
});

test('count_tokens counts with the target where it can', async () => {
  const provider = { ...scripted([]), countTokens: async () => 42 };
  const response = await post(appWith(provider), '/v1/messages/count_tokens', { ...hello, max_tokens: undefined });
  expect(await response.json()).toEqual({ input_tokens: 42 });
});

test('count_tokens estimates where the target can not count, and is on record as answered', async () => {
  const app = appWith(scripted([]));
  const response = await post(app, '/v1/messages/count_tokens', { ...hello, max_tokens: undefined });
  expect(await response.json()).toEqual({ input_tokens: expect.any(Number) });
  expect(app.records).toMatchObject([{ outcome: 'ok', target: undefined }]);
});
