import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeDelivered } from '../../providers/delivered.ts';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { type AssistantMessage, type ChatRequest, textOf } from '../../src/core/request.ts';
import type { Target } from '../../src/core/route.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { appWith } from '../app.ts';
import { type Answer, type FaultyUpstream, faultyUpstream, named, sse } from '../faulty-upstream.ts';
import { transport } from '../providers/support.ts';
import { scripted } from '../scripted.ts';
import { finish, rules, type Step, text, upstream, usage } from './harness.ts';

const whole = 'Hello world, how is the tide?';
const call = { id: 'call_1', name: 'tide', args: '{"city":"Brest","days":[1,2]}' };

let broken: FaultyUpstream;
beforeAll(async () => {
  broken = await faultyUpstream();
});
afterAll(() => broken.close());

/** Knows the answer (a text, then a call) and goes on from wherever the last message stops. */
function knowing() {
  const script = (request: ChatRequest): Step[] => {
    const last = request.messages.at(-1);
    const begun: AssistantMessage | undefined =
      request.continueFinalMessage && last?.role === 'assistant' ? last : undefined;
    const said = textOf(begun?.content ?? []);
    const open = begun?.toolCalls.at(-1);
    expect(whole.startsWith(said)).toBe(true);
    expect(call.args.startsWith(open?.arguments ?? '')).toBe(true);
    const rest = call.args.slice(open?.arguments.length ?? 0);
    return [
      ...(said === whole ? [] : [text(whole.slice(said.length))]),
      ...(open
        ? []
        : [{ type: 'tool-call-start', choice: 0, index: 0, id: 'call_2', name: call.name, kind: 'function' } as const]),
      ...(rest === '' ? [] : [{ type: 'tool-call-delta', choice: 0, index: 0, arguments: rest } as const]),
      { type: 'finish', choice: 0, reason: 'tool-calls' },
      usage(20, 3),
    ];
  };
  return upstream('healthy', [script], { prefill: true, tools: true });
}

function appOver(type: string, second: Target = knowing()) {
  const config = providerConfigSchema.parse({ type, baseUrl: broken.baseUrl, apiKey: 'k' });
  const first = { name: 'broken/m', model: 'm', provider: createProvider('broken', config, { transport }) };
  const targets = [first, second];
  const model = { name: 'test', filters: [], targets, rules: rules(targets) };
  return appWith(scripted([]), { routing: createRouting([model], undefined, { decodeWire: decodeDelivered }) });
}

const post = (app: ReturnType<typeof appOver>, path: string, body: object) =>
  app.request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'test', stream: true, ...body }),
  });

/** What a client reads out of a stream; tests look into it freely. */
// biome-ignore lint/suspicious/noExplicitAny: events of three formats
type Data = any;
const dataOf = (body: string): Data[] =>
  body
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)));

const pieces = (value: string) => value.match(/.{1,8}/gs) ?? [];

// ── Anthropic ───────────────────────────────────────────────────────────────────────────────────────────────────────

const start = named('message_start', {
  type: 'message_start',
  message: {
    id: 'msg_up',
    type: 'message',
    role: 'assistant',
    model: 'claude',
    content: [],
    usage: { input_tokens: 9, output_tokens: 1 },
  },
});
const block = (index: number, content_block: object) =>
  named('content_block_start', { type: 'content_block_start', index, content_block });
const delta = (index: number, fields: object) =>
  named('content_block_delta', { type: 'content_block_delta', index, delta: fields });
const stop = (index: number) => named('content_block_stop', { type: 'content_block_stop', index });
const messages = { max_tokens: 200, messages: [{ role: 'user', content: 'hi' }] };

const anthropicStream = [
  start,
  block(0, { type: 'thinking', thinking: '', signature: '' }),
  delta(0, { type: 'thinking_delta', thinking: 'hm, ' }),
  delta(0, { type: 'thinking_delta', thinking: 'the tide' }),
  delta(0, { type: 'signature_delta', signature: 'sig' }),
  stop(0),
  block(1, { type: 'server_tool_use', id: 'srv_1', name: 'web_search', input: {} }),
  stop(1),
  block(2, { type: 'text', text: '' }),
  ...pieces(whole).map((piece) => delta(2, { type: 'text_delta', text: piece })),
  stop(2),
  block(3, { type: 'tool_use', id: call.id, name: call.name, input: {} }),
  ...pieces(call.args).map((piece) => delta(3, { type: 'input_json_delta', partial_json: piece })),
  stop(3),
  named('message_delta', {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 5 },
  }),
];

/** Throws unless the events are a valid message: blocks one after the other, each opened and closed once. */
function readMessage(events: Data[]) {
  const blocks: { type: string; text: string; id?: string; closed: boolean }[] = [];
  const [first, ...rest] = events;
  expect(first.type).toBe('message_start');
  let ended = '';
  for (const event of rest) {
    expect(ended).toBe(event.type === 'message_stop' ? 'message_delta' : '');
    const current = blocks.at(-1);
    if (event.type === 'content_block_start') {
      expect(current?.closed ?? true).toBe(true);
      expect(event.index).toBe(blocks.length);
      blocks.push({ ...event.content_block, text: event.content_block.text ?? '', closed: false });
    } else if (event.type === 'content_block_stop') {
      expect([event.index, current?.closed]).toEqual([blocks.length - 1, false]);
      if (current) current.closed = true;
    } else if (event.type === 'content_block_delta') {
      expect([event.index, current?.closed]).toEqual([blocks.length - 1, false]);
      const { text: said, thinking, partial_json: json } = event.delta;
      if (current) current.text += said ?? thinking ?? json ?? '';
    } else ended = event.type;
  }
  expect(blocks.every(({ closed }) => closed)).toBe(true);
  const all = (type: string) => blocks.filter((one) => one.type === type);
  return {
    first,
    blocks,
    all,
    textOf: (type: string) =>
      all(type)
        .map((one) => one.text)
        .join(''),
  };
}

describe('an Anthropic message that passed through', () => {
  test.each(anthropicStream.map((_, k) => ({ k: k + 1 })))(
    'and broke after event $k is finished in its own blocks',
    async ({ k }) => {
      broken.answer({ body: [anthropicStream.slice(0, k).join(''), 'reset'] });
      const app = appOver('anthropic');
      const events = dataOf(await (await post(app, '/v1/messages', messages)).text());
      if (anthropicStream[k - 1]?.includes('server_tool_use')) {
        // A hosted tool's call is its upstream's own.
        expect(events.at(-1)).toMatchObject({ type: 'error', error: { type: 'api_error' } });
        return;
      }
      const message = readMessage(events);
      expect(message.first.message.id).toBe('msg_up');
      expect(message.textOf('text')).toBe(whole);
      expect(message.textOf('thinking')).toBe(['', '', '', 'hm, '][k] ?? 'hm, the tide');
      expect(message.all('tool_use')).toEqual([
        expect.objectContaining({
          name: call.name,
          text: call.args,
          id: events.some(({ content_block: b }) => b?.id === call.id) ? call.id : 'call_2',
        }),
      ]);
      expect(events.at(-2)).toMatchObject({ type: 'message_delta', delta: { stop_reason: 'tool_use' } });
      expect(events.filter(({ type }) => type === 'message_delta')).toHaveLength(1);
      expect(app.records).toMatchObject([{ outcome: 'ok' }]);
      if (k < anthropicStream.length) {
        expect(app.records[0]?.usage?.parts).toMatchObject([{ target: 'broken/m' }, { target: 'healthy/m' }]);
        expect(events.at(-2).usage.tidegate_parts).toHaveLength(2);
      }
    },
  );
});

// ── Responses ───────────────────────────────────────────────────────────────────────────────────────────────────────

const responsesStream = (() => {
  let sequence_number = 0;
  const event = (type: string, fields: object) => named(type, { type, sequence_number: sequence_number++, ...fields });
  const response = {
    id: 'resp_up',
    object: 'response',
    created_at: 7,
    status: 'in_progress',
    model: 'gpt-up',
    output: [],
    temperature: 0.5,
    metadata: { a: 'b' },
  };
  const at = (item_id: string, output_index: number, more = {}) => ({ item_id, output_index, ...more });
  const thought = { id: 'rs_up', type: 'reasoning', summary: [] as object[] };
  const search = { id: 'ws_up', type: 'web_search_call', status: 'completed' };
  const message = { id: 'msg_up', type: 'message', role: 'assistant', status: 'in_progress', content: [] as object[] };
  const calling = {
    id: 'fc_up',
    type: 'function_call',
    call_id: call.id,
    name: call.name,
    arguments: '',
    status: 'in_progress',
  };
  const summary = at('rs_up', 0, { summary_index: 0 });
  const part = at('msg_up', 2, { content_index: 0 });
  const said = { type: 'output_text', text: whole, annotations: [], logprobs: [] };
  return [
    event('response.created', { response }),
    event('response.in_progress', { response }),
    event('response.output_item.added', { output_index: 0, item: thought }),
    event('response.reasoning_summary_part.added', { ...summary, part: { type: 'summary_text', text: '' } }),
    event('response.reasoning_summary_text.delta', { ...summary, delta: 'hm, ' }),
    event('response.reasoning_summary_text.delta', { ...summary, delta: 'the tide' }),
    event('response.reasoning_summary_text.done', { ...summary, text: 'hm, the tide' }),
    event('response.reasoning_summary_part.done', { ...summary, part: { type: 'summary_text', text: 'hm, the tide' } }),
    event('response.output_item.done', {
      output_index: 0,
      item: { ...thought, summary: [{ type: 'summary_text', text: 'hm, the tide' }], encrypted_content: 'sealed' },
    }),
    event('response.output_item.added', { output_index: 1, item: { ...search, status: 'in_progress' } }),
    event('response.output_item.done', { output_index: 1, item: search }),
    event('response.output_item.added', { output_index: 2, item: message }),
    event('response.content_part.added', { ...part, part: { ...said, text: '' } }),
    ...pieces(whole).map((piece) => event('response.output_text.delta', { ...part, delta: piece, logprobs: [] })),
    event('response.output_text.done', { ...part, text: whole, logprobs: [] }),
    event('response.content_part.done', { ...part, part: said }),
    event('response.output_item.done', { output_index: 2, item: { ...message, status: 'completed', content: [said] } }),
    event('response.output_item.added', { output_index: 3, item: calling }),
    ...pieces(call.args).map((piece) =>
      event('response.function_call_arguments.delta', { ...at('fc_up', 3), delta: piece }),
    ),
    event('response.function_call_arguments.done', { ...at('fc_up', 3), name: call.name, arguments: call.args }),
    event('response.output_item.done', {
      output_index: 3,
      item: { ...calling, arguments: call.args, status: 'completed' },
    }),
  ];
})();

/** Throws unless the events are a valid Response: numbered without gaps, items and parts opened and closed once. */
function readResponse(events: Data[]) {
  expect(events.map(({ sequence_number: number }) => number)).toEqual(events.map((_, index) => index));
  const items = new Map<number, { id: string; type: string; done: boolean; text: string; parts: number }>();
  for (const event of events) {
    const item = items.get(event.output_index);
    if (event.type === 'response.output_item.added') {
      expect(event.output_index).toBe(items.size);
      const { id, type } = event.item;
      items.set(event.output_index, { id, type, done: false, text: '', parts: 0 });
      continue;
    }
    if (event.output_index === undefined) continue;
    expect(item?.done).toBe(false);
    if (!item) continue;
    if (event.item_id !== undefined) expect(event.item_id).toBe(item.id);
    if (/part\.added$/.test(event.type)) {
      expect(item.parts).toBe(0);
      item.parts = 1;
    } else if (/part\.done$/.test(event.type)) {
      expect(item.parts).toBe(1);
      item.parts = 0;
    } else if (event.type.endsWith('.delta')) item.text += event.delta;
    else if (event.type === 'response.output_item.done') {
      expect(item.parts).toBe(0);
      item.done = true;
    }
  }
  return [...items.values()];
}

describe('a Response that passed through', () => {
  test.each(responsesStream.map((_, k) => ({ k: k + 1 })))(
    'and broke after event $k is finished under its own ids and numbers',
    async ({ k }) => {
      broken.answer({ body: [responsesStream.slice(0, k).join(''), 'reset'] });
      const app = appOver('openai');
      const asked = { input: 'hi', store: false, reasoning: { summary: 'auto' } };
      const events = dataOf(await (await post(app, '/v1/responses', asked)).text());
      const last = events.at(-1);
      if (responsesStream[k - 1]?.includes('"web_search_call","status":"in_progress"')) {
        expect(last).toMatchObject({ type: 'response.failed', response: { id: expect.any(String) } });
        expect(events.at(-2)).toMatchObject({ type: 'error', code: 'upstream_error' });
        return;
      }
      const items = readResponse(events);
      expect(last).toMatchObject({
        type: 'response.completed',
        response: {
          id: 'resp_up',
          created_at: 7,
          model: 'gpt-up',
          status: 'completed',
          temperature: 0.5,
          metadata: { a: 'b' },
          usage: { tidegate_parts: [{ target: 'broken/m' }, { target: 'healthy/m' }] },
        },
      });
      const joined = (type: string) => items.flatMap((item) => (item.type === type ? item.text : [])).join('');
      expect(joined('message')).toBe(whole);
      expect(joined('function_call')).toBe(call.args);
      expect(items.filter(({ type }) => type === 'function_call')).toHaveLength(1);
      expect(joined('reasoning')).toBe(['', '', '', '', '', 'hm, '][k] ?? 'hm, the tide');
      // The Response at the end is what was streamed.
      const { output } = last.response;
      expect(output.map(({ id, type }: Data) => [id, type])).toEqual(items.map(({ id, type }) => [id, type]));
      const text = output.flatMap(({ content }: Data) => content?.map((part: Data) => part.text) ?? []).join('');
      expect(text).toBe(whole);
      expect(output.find(({ type }: Data) => type === 'function_call').arguments).toBe(call.args);
      if (k > 8) expect(output[0]).toMatchObject({ id: 'rs_up', encrypted_content: 'sealed' });
      expect(app.records).toMatchObject([{ outcome: 'ok' }]);
    },
  );

  test('and broke in a refusal goes on with it', async () => {
    const part = { item_id: 'msg_up', output_index: 0, content_index: 0 };
    const events = [
      { type: 'response.created', response: { id: 'resp_up', created_at: 7, model: 'up', output: [] } },
      { type: 'response.output_item.added', output_index: 0, item: { id: 'msg_up', type: 'message', content: [] } },
      { type: 'response.content_part.added', ...part, part: { type: 'refusal', refusal: '' } },
      { type: 'response.refusal.delta', ...part, delta: 'I will' },
    ].map((event, sequence_number) => named(event.type, { ...event, sequence_number }));
    broken.answer({ body: [events.join(''), 'reset'] });
    const app = appOver('openai', upstream('b', [[text(' not.'), finish()]], { prefill: true, tools: true }));
    const said = dataOf(await (await post(app, '/v1/responses', { input: 'hi', store: false })).text());
    expect(said.map(({ sequence_number: number }) => number)).toEqual(said.map((_, index) => index));
    expect(said.at(-1).response.output).toMatchObject([
      { id: 'msg_up', content: [{ type: 'refusal', refusal: 'I will not.' }] },
    ]);
  });
});

// ── Chat and legacy completions ─────────────────────────────────────────────────────────────────────────────────────

test('a chat stream that broke in its thoughts is answered by the next one, under its own id', async () => {
  const chunk = (delta: object) => ({
    id: 'up',
    object: 'chat.completion.chunk',
    created: 5,
    model: 'up',
    choices: [{ index: 0, delta }],
  });
  broken.answer({ body: [sse(chunk({ role: 'assistant', reasoning_content: 'hm' })), 'reset'] });
  const asked = { messages: [{ role: 'user', content: 'hi' }] };
  const body = await (await post(appOver('vllm'), '/v1/chat/completions', asked)).text();
  const chunks = dataOf(body);
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(whole);
  expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`))).toEqual(new Set(['up 5']));
  expect(body.trimEnd().endsWith('data: [DONE]')).toBe(true);
});

test('a legacy completion goes on under its own id', async () => {
  const chunk = (said: string) =>
    sse({
      id: 'cmpl-up',
      object: 'text_completion',
      created: 5,
      model: 'up',
      choices: [{ index: 0, text: said, logprobs: null, finish_reason: null }],
    });
  broken.answer({ body: [chunk('Hello'), chunk(' world'), 'reset'] });
  const goesOn = upstream(
    'healthy',
    [({ prompt }) => [text(whole.slice(String(prompt?.text).length - 'Say: '.length)), finish()]],
    { prefill: true, tools: true, completions: true },
  );
  const body = await (await post(appOver('vllm', goesOn), '/v1/completions', { prompt: 'Say: ' })).text();
  const chunks = dataOf(body);
  expect(chunks.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(whole);
  expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`))).toEqual(new Set(['cmpl-up 5']));
  expect(body.trimEnd().endsWith('data: [DONE]')).toBe(true);
});

// ── Anthropic as the one who goes on ────────────────────────────────────────────────────────────────────────────────

const claude = (said: string): Answer => ({
  body: [
    start,
    block(0, { type: 'text', text: '' }),
    ...pieces(said).map((piece) => delta(0, { type: 'text_delta', text: piece })),
    stop(0),
    named('message_delta', { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 5 } }),
    named('message_stop', { type: 'message_stop' }),
  ],
});

test.each([
  { said: 'Hello ', goesOn: ' world' },
  { said: 'Hello ', goesOn: 'world' },
  { said: 'Hello', goesOn: ' world' },
])(
  '"$said" and "$goesOn" of Anthropic, which takes no white space at the end, join exactly',
  async ({ said, goesOn }) => {
    await using second = await faultyUpstream(claude(goesOn));
    const config = providerConfigSchema.parse({ type: 'anthropic', baseUrl: second.baseUrl, apiKey: 'k' });
    const target = { name: 'claude/m', model: 'm', provider: createProvider('claude', config, { transport }) };
    broken.answer({ body: [sse({ choices: [{ index: 0, delta: { content: said } }] }), 'reset'] });
    const asked = { messages: [{ role: 'user', content: 'hi' }], reasoning_effort: 'high' };
    const chunks = dataOf(await (await post(appOver('vllm', target), '/v1/chat/completions', asked)).text());
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('Hello world');
    expect(second.requests[0]?.json.messages.at(-1)).toEqual({
      role: 'assistant',
      content: [{ type: 'text', text: 'Hello' }],
    });
    expect(second.requests[0]?.json.thinking).toBeUndefined(); // Anthropic takes no beginning while thinking
  },
);

test('thoughts without a signature, as an answer that changed hands leaves them, do not go back to Anthropic', async () => {
  broken.answer(claude('fine'));
  const content = [
    { type: 'thinking', thinking: 'hm', signature: '' },
    { type: 'thinking', thinking: 'well', signature: 'sig' },
    { type: 'text', text: 'Hello' },
  ];
  const turns = [...messages.messages, { role: 'assistant', content }, { role: 'user', content: 'go on' }];
  const response = await post(appOver('anthropic'), '/v1/messages', { ...messages, messages: turns });
  expect(dataOf(await response.text()).at(-1)).toEqual({ type: 'message_stop' });
  expect(broken.requests.at(-1)?.json.messages[1].content).toEqual([
    { type: 'thinking', thinking: 'well', signature: 'sig' },
    { type: 'text', text: 'Hello' },
  ]);
});
