import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../../providers/registry.ts';
import { type Answer, type FaultyUpstream, faultyUpstream, named, sse } from '../../faulty-upstream.ts';
import { transport } from '../../providers/support.ts';
import { appOver, call, type Data, dataOf, pieces, post, whole } from './harness.ts';

let broken: FaultyUpstream;
beforeAll(async () => {
  broken = await faultyUpstream();
});
afterAll(() => broken.close());

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
      const app = appOver(broken, 'anthropic');
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

// Anthropic as the one who goes on.

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
    const config = providerConfigSchema().parse({ type: 'anthropic', baseUrl: second.baseUrl, apiKey: 'k' });
    const target = { name: 'claude/m', model: 'm', provider: createProvider('claude', config, { transport }) };
    broken.answer({ body: [sse({ choices: [{ index: 0, delta: { content: said } }] }), 'reset'] });
    const asked = { messages: [{ role: 'user', content: 'hi' }], reasoning_effort: 'high' };
    const chunks = dataOf(await (await post(appOver(broken, 'vllm', target), '/v1/chat/completions', asked)).text());
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
  const response = await post(appOver(broken, 'anthropic'), '/v1/messages', { ...messages, messages: turns });
  expect(dataOf(await response.text()).at(-1)).toEqual({ type: 'message_stop' });
  expect(broken.requests.at(-1)?.json.messages[1].content).toEqual([
    { type: 'thinking', thinking: 'well', signature: 'sig' },
    { type: 'text', text: 'Hello' },
  ]);
});
