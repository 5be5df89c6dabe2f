import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { appWith } from '../app.ts';
import { type Step, scripted } from '../scripted.ts';
import { type Answer, events, post, sdkOf } from './post.ts';

const respond = (app: ReturnType<typeof appWith>, body: object = {}) =>
  post(app, '/v1/responses', { model: 'test', input: 'Hi', ...body });
const json = async (response: Response | Promise<Response>): Promise<Answer> => (await response).json();
const call = (index: number, id: string, ...pieces: string[]): CompletionEvent[] => [
  { type: 'tool-call-start', choice: 0, index, id, name: 'lookup', kind: 'function' },
  ...pieces.map((text): CompletionEvent => ({ type: 'tool-call-delta', choice: 0, index, arguments: text })),
];
const lookup = { type: 'function', name: 'lookup', parameters: { type: 'object' }, strict: false };

test('a response has every required key', async () => {
  const body = await json(
    respond(appWith(scripted(['Hel', 'lo'])), {
      instructions: 'Be brief.',
      metadata: { a: 'b' },
      tools: [{ type: 'function', name: 'f' }],
    }),
  );
  expect(body).toMatchObject({
    id: expect.stringMatching(/^resp_/),
    object: 'response',
    created_at: expect.any(Number),
    status: 'completed',
    error: null,
    incomplete_details: null,
    instructions: 'Be brief.',
    metadata: { a: 'b' },
    model: 'test',
    output: [
      {
        id: expect.stringMatching(/^msg_/),
        type: 'message',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: 'Hello', annotations: [], logprobs: [] }],
      },
    ],
    frequency_penalty: 0,
    parallel_tool_calls: true,
    presence_penalty: 0,
    temperature: 1,
    tool_choice: 'auto',
    tools: [{ type: 'function', name: 'f', description: null, parameters: null, strict: null }],
    top_p: 1,
    usage: {
      input_tokens: 3,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 2,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 5,
    },
  });
});

test.each<{ name: string; steps: Step[]; types: string[]; body?: object }>([
  {
    name: 'text',
    steps: ['Hel', 'lo'],
    types: [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ],
  },
  {
    name: 'reasoning, text and two calls',
    steps: [{ type: 'reasoning-delta', choice: 0, text: 'hm' }, 'So', ...call(0, 'a', '{}'), ...call(1, 'b', '{}')],
    types: [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.reasoning_text.delta',
      'response.reasoning_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.completed',
    ],
  },
  {
    name: 'reasoning as a summary, where one was asked for',
    body: { reasoning: { summary: 'auto' } },
    steps: [{ type: 'reasoning-delta', choice: 0, text: 'hm' }],
    types: [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.reasoning_summary_part.added',
      'response.reasoning_summary_text.delta',
      'response.reasoning_summary_text.done',
      'response.reasoning_summary_part.done',
      'response.output_item.done',
      'response.completed',
    ],
  },
  {
    name: 'a refusal',
    steps: [{ type: 'refusal-delta', choice: 0, text: 'no' }],
    types: [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.refusal.delta',
      'response.refusal.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ],
  },
  {
    name: 'a cut',
    steps: ['x', { type: 'finish', choice: 0, reason: 'length' }],
    types: [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.incomplete',
    ],
  },
])(
  'the events of $name: in order, numbered without gaps, the SDK builds the same response from them',
  async ({ steps, types, body }) => {
    const app = appWith(scripted(steps));
    const all = await events(await respond(app, { ...body, stream: true }));
    expect(all.map((event) => event.type)).toEqual(types);
    expect(all.map((event) => event.sequence_number)).toEqual(all.map((_, index) => index));
    const final = all.at(-1).response;
    expect(final.output).toEqual(
      all
        .filter((event) => event.type === 'response.output_item.done')
        .sort((a, b) => a.output_index - b.output_index)
        .map((event) => event.item),
    );
    expect(await json(app.request(`/v1/responses/${final.id}`))).toEqual(final);

    const stream = sdkOf(app).responses.stream({ model: 'test', input: 'Hi', ...body });
    const { output_text: _, ...built } = await stream.finalResponse();
    expect(built.output).toHaveLength(final.output.length);
    expect(built.status).toBe(final.status);
  },
);

test('a failure in mid-stream raises in the SDK, and response.failed is the last event', async () => {
  const app = appWith(scripted(['x', new GatewayError('upstream_failed', 'It broke.')]));
  const all = await events(await respond(app, { stream: true }));
  expect(all.slice(-2)).toMatchObject([
    { type: 'error', code: 'upstream_error', message: 'It broke.' },
    { type: 'response.failed', response: { status: 'failed', error: { code: 'server_error' } } },
  ]);
  await expect(sdkOf(app).responses.stream({ model: 'test', input: 'Hi' }).finalResponse()).rejects.toThrow(
    'It broke.',
  );
});

test('items of every kind become turns; hosted tools and unknown items are left out with a warning', async () => {
  const provider = scripted(['ok']);
  const response = await respond(appWith(provider), {
    tools: [
      lookup,
      { type: 'web_search' },
      { type: 'custom', name: 'patch', format: { type: 'grammar', syntax: 'lark', definition: 'start: "a"' } },
      { type: 'namespace', name: 'fs', tools: [{ ...lookup, name: 'read' }] },
    ],
    input: [
      { type: 'message', role: 'developer', content: [{ type: 'input_text', text: 'dev' }] },
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'Look' },
          { type: 'input_image', image_url: 'https://example.org/a.png', detail: 'low' },
        ],
      },
      { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'hm' }] },
      { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'So' }] },
      { type: 'function_call', call_id: 'c1', name: 'lookup', arguments: '{}' },
      { type: 'custom_tool_call', call_id: 'c2', name: 'patch', input: 'free' },
      { type: 'function_call_output', call_id: 'c1', output: [{ type: 'input_text', text: 'found' }] },
      { type: 'custom_tool_call_output', call_id: 'c2', output: 'done' },
      { type: 'web_search_call', id: 'ws_1', status: 'completed' },
    ],
  });
  expect(response.status).toBe(200);
  expect(response.headers.get('x-tidegate-warning')).toContain('web_search');
  const [request] = provider.requests;
  expect(request?.tools.map((tool) => [tool.kind, tool.name])).toEqual([
    ['function', 'lookup'],
    ['custom', 'patch'],
    ['function', 'read'],
  ]);
  // as chat writes it, whose upstreams get it
  const grammar = { syntax: 'lark', definition: 'start: "a"' };
  expect(request?.tools[1]?.format).toEqual({ type: 'grammar', grammar });
  expect(request?.messages).toEqual([
    { role: 'developer', content: [{ type: 'text', text: 'dev' }] },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'Look' },
        { type: 'image', url: 'https://example.org/a.png', detail: 'low' },
      ],
    },
    {
      role: 'assistant',
      reasoning: [{ text: 'hm', id: 'rs_1' }],
      content: [{ type: 'text', text: 'So' }],
      toolCalls: [
        { id: 'c1', kind: 'function', name: 'lookup', arguments: '{}' },
        { id: 'c2', kind: 'custom', name: 'patch', arguments: 'free' },
      ],
    },
    { role: 'tool', toolCallId: 'c1', content: [{ type: 'text', text: 'found' }] },
    { role: 'tool', toolCallId: 'c2', content: [{ type: 'text', text: 'done' }] },
  ]);
});

test.each([
  { name: 'no input', body: { input: undefined }, status: 400, param: 'input' },
  {
    name: 'a part without text',
    body: { input: [{ role: 'user', content: [{ type: 'input_text' }] }] },
    status: 400,
    param: 'input[0].content[0].text',
  },
  {
    name: 'an unknown part',
    body: { input: [{ role: 'user', content: [{ type: 'smell' }] }] },
    status: 400,
    param: 'input[0].content[0].type',
  },
  {
    name: 'a call without its id',
    body: { input: [{ type: 'function_call', name: 'f', arguments: '{}' }] },
    status: 400,
    param: 'input[0].call_id',
  },
  {
    name: 'an unknown turn before',
    body: { previous_response_id: 'resp_x' },
    status: 404,
    param: 'previous_response_id',
  },
  { name: 'an unknown conversation', body: { conversation: 'conv_x' }, status: 404, param: 'conversation' },
  {
    name: 'both',
    body: { conversation: 'conv_x', previous_response_id: 'resp_x' },
    status: 400,
    param: 'previous_response_id',
  },
  {
    name: 'a background that is not stored',
    body: { background: true, store: false },
    status: 400,
    param: 'background',
  },
  {
    name: 'a choice of a missing tool',
    body: { tools: [lookup], tool_choice: { type: 'function', name: 'x' } },
    status: 400,
    param: 'tool_choice',
  },
  {
    name: 'an unknown model, in the background too',
    body: { model: 'nope', background: true },
    status: 404,
    param: 'model',
  },
])('$name is refused, naming $param', async ({ body, status, param }) => {
  const response = await respond(appWith(scripted(['x'])), body);
  expect([response.status, (await json(response)).error.param]).toEqual([status, param]);
});

test('a body for responses that arrives at chat is answered as chat', async () => {
  const provider = scripted(['Hello']);
  const body = await json(
    post(appWith(provider), '/v1/chat/completions', { model: 'test', input: 'Hi', tools: [lookup], max_tokens: 7 }),
  );
  expect(body).toMatchObject({ object: 'chat.completion', choices: [{ message: { content: 'Hello' } }] });
  expect(provider.requests[0]).toMatchObject({ maxTokens: 7, tools: [{ name: 'lookup' }] });
});
