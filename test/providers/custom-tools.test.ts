import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';
import { done, type FaultyUpstream, faultyUpstream, json, sse } from '../faulty-upstream.ts';
import { hear, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(json({}));
});
afterAll(() => upstream.close());

const patch = '*** Begin Patch\n"a"\n*** End Patch';
const input = JSON.stringify({ input: patch });
const grammar = { syntax: 'lark', definition: 'start: "a"' };
const schema = {
  type: 'object',
  properties: { input: { type: 'string', description: 'The whole input, as it is.' } },
  required: ['input'],
  additionalProperties: false,
};
const description = 'Edits files.\n\nThe input must match this lark grammar:\nstart: "a"';
const earlier = { id: 'c0', type: 'custom', custom: { name: 'patch', input: 'old' } };

/** As Codex asks (https://github.com/openai/codex, its `apply_patch`), and the same in chat. */
const asked = {
  responses: {
    format: openaiResponses,
    body: {
      input: [
        { type: 'message', role: 'user', content: 'hi' },
        { type: 'custom_tool_call', call_id: 'c0', name: 'patch', input: 'old' },
        { type: 'custom_tool_call_output', call_id: 'c0', output: 'Done.' },
      ],
      tools: [{ type: 'custom', name: 'patch', description: 'Edits files.', format: { type: 'grammar', ...grammar } }],
      store: false,
    },
  },
  chat: {
    format: openaiChat,
    body: {
      messages: [
        { role: 'user', content: 'hi' },
        { role: 'assistant', content: null, tool_calls: [earlier] },
        { role: 'tool', tool_call_id: 'c0', content: 'Done.' },
      ],
      tools: [
        {
          type: 'custom',
          custom: { name: 'patch', description: 'Edits files.', format: { type: 'grammar', grammar } },
        },
      ],
    },
  },
};
type By = keyof typeof asked;

const delta = (text: string, finish_reason: string | null = null, more = {}) => ({
  choices: [
    { index: 0, finish_reason, delta: { tool_calls: [{ index: 0, ...more, function: { ...more, arguments: text } }] } },
  ],
});
const called = (text: string, reason = 'tool_calls') => ({
  body: [
    sse(
      delta('', null, { id: 'c1', type: 'function', name: 'patch' }),
      delta(text.slice(0, 9)),
      delta(text.slice(9), reason),
    ),
    done,
  ],
});

const ask = async (type: string, by: By) => {
  const config = providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k' });
  const { format, body } = asked[by];
  const request = format.decode({ model: 'm', stream: true, ...body }, { headers: {} });
  const provider = createProvider('p', config, { transport });
  const { events, error } = await hear(provider, request);
  expect(error).toBeUndefined();
  return { events, ignored: provider.ignores?.(request), sent: upstream.requests.at(-1)?.json ?? {} };
};
const made = (text: string, reason = 'tool-calls') => [
  { type: 'start' },
  { type: 'tool-call-start', choice: 0, index: 0, id: 'c1', name: 'patch', kind: 'custom' },
  { type: 'tool-call-delta', choice: 0, index: 0, arguments: text },
  { type: 'finish', choice: 0, reason },
];

test.each(['responses', 'chat'] as const)(
  'a custom tool of %s is a function of one text for a server that knows functions alone',
  async (by) => {
    upstream.answer(called(input));
    const { events, ignored, sent } = await ask('groq', by);
    expect(sent).toMatchObject({
      tools: [{ type: 'function', function: { name: 'patch', description, parameters: schema } }],
      messages: [
        {},
        { tool_calls: [{ id: 'c0', type: 'function', function: { name: 'patch', arguments: '{"input":"old"}' } }] },
        { role: 'tool', tool_call_id: 'c0', content: 'Done.' },
      ],
    });
    expect(events).toEqual(made(patch));
    expect(ignored).toEqual(["grammar of tool 'patch'"]);
  },
);

test.each([
  { name: 'an input that was cut', text: '{"input":"*** Beg', reason: 'length', told: '*** Beg' },
  {
    name: 'other arguments than the one asked for',
    text: '{"patch":"a"}',
    reason: 'tool_calls',
    told: '{"patch":"a"}',
  },
])('$name is told as far as it goes', async ({ text, reason, told }) => {
  upstream.answer(called(text, reason));
  expect((await ask('groq', 'responses')).events).toEqual(made(told, reason === 'length' ? 'length' : 'tool-calls'));
});

test('and so it is for an API of another make', async () => {
  const block = (event: object) => ({ index: 0, ...event });
  upstream.answer({
    body: [
      sse(
        { type: 'message_start', message: {} },
        block({ type: 'content_block_start', content_block: { type: 'tool_use', id: 'c1', name: 'patch', input: {} } }),
        block({ type: 'content_block_delta', delta: { type: 'input_json_delta', partial_json: input } }),
        block({ type: 'content_block_stop' }),
        { type: 'message_delta', delta: { stop_reason: 'tool_use' } },
        { type: 'message_stop' },
      ),
    ],
  });
  const { events, sent } = await ask('anthropic', 'responses');
  expect(sent['tools']).toEqual([{ name: 'patch', description, input_schema: schema }]);
  expect(sent['messages']).toMatchObject([
    {},
    { content: [{ type: 'tool_use', id: 'c0', input: { input: 'old' } }] },
    {},
  ]);
  expect(events).toEqual(made(patch));
});

test('who knows custom tools gets them as they are', async () => {
  upstream.answer(
    json({ choices: [{ index: 0, message: { role: 'assistant', content: 'So.' }, finish_reason: 'stop' }] }),
  );
  const { sent, ignored } = await ask('openai', 'chat');
  expect(sent).toMatchObject(asked.chat.body);
  expect(ignored).toEqual([]);
});
