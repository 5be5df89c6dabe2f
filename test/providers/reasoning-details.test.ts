import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { type ChatRequest, readable } from '../../src/core/request.ts';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import { ollamaChat } from '../../src/wire/ollama/format.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';
import { done, type FaultyUpstream, faultyUpstream, json, sse } from '../faulty-upstream.ts';
import { hear, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(json({}));
});
afterAll(() => upstream.close());

const providerOf = (type: string) =>
  createProvider('up', providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k' }), { transport });
const call = { index: 0, id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } };
const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }];

// https://openrouter.ai/docs/use-cases/reasoning-tokens
const claude = { format: 'anthropic-claude-v1', index: 0 };
const text = (value: string) => ({ type: 'reasoning.text', text: value, ...claude });
const signed = { type: 'reasoning.text', text: 'I will look.', signature: 'sig==', ...claude };
const hidden = { type: 'reasoning.encrypted', data: 'opaque', id: 'r1', ...claude, index: 1 };
const gemini = { type: 'reasoning.encrypted', data: 'thought==', id: 'call_1', format: 'google-gemini-v1', index: 0 };

const whole = (details: object[], reasoning: string | null) => ({
  ...{ id: 'gen-1', object: 'chat.completion', created: 1, model: 'm' },
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: null, reasoning, reasoning_details: details, tool_calls: [call] },
      finish_reason: 'tool_calls',
    },
  ],
});
const chunk = (delta: object, finish_reason: string | null = null) => ({
  ...{ id: 'gen-1', object: 'chat.completion.chunk', created: 1, model: 'm' },
  choices: [{ index: 0, delta, finish_reason }],
});
const streamed = sse(
  chunk({ role: 'assistant', content: '', reasoning: 'I will ', reasoning_details: [text('I will ')] }),
  chunk({ content: '', reasoning: 'look.', reasoning_details: [text('look.')] }),
  chunk({ content: '', reasoning_details: [{ type: 'reasoning.text', signature: 'sig==', ...claude }] }),
  chunk({ content: '', reasoning_details: [hidden] }),
  chunk({ tool_calls: [call] }),
  chunk({}, 'tool_calls'),
);

async function ask(type: string, request: ChatRequest, provider = providerOf(type)) {
  const { events } = await hear(provider, request);
  return { events, sent: upstream.requests.at(-1)?.json as Record<string, unknown> };
}

test.each([
  { form: 'as a stream', answer: { body: [streamed + done] } },
  { form: 'whole', answer: json(whole([signed, hidden], 'I will look.')) },
])('what OpenRouter’s model thought comes once, with its proofs, $form', async ({ answer }) => {
  upstream.answer(answer);
  const body = { model: 'anthropic/claude-sonnet-4.5', messages: [{ role: 'user', content: 'Look.' }], tools };
  const { events } = await ask('openrouter', readable(openaiChat.decode(body, { headers: {} })));
  const thoughts = events.filter(({ type }) => type.startsWith('reasoning'));
  expect(thoughts.map((event) => (event.type === 'reasoning-delta' ? event.text : '')).join('')).toBe('I will look.');
  expect(thoughts.filter(({ type }) => type === 'reasoning-end')).toEqual([
    { type: 'reasoning-end', choice: 0, signature: 'sig==' },
    { type: 'reasoning-end', choice: 0, redacted: 'opaque', id: 'r1' },
  ]);
});

test('a client that keeps the thoughts gives them back in OpenRouter’s own form', async () => {
  upstream.answer(json(whole([], null)));
  const body = {
    ...{ model: 'anthropic/claude-sonnet-4.5', max_tokens: 9 },
    messages: [
      { role: 'user', content: 'Look.' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'I will look.', signature: 'sig==' },
          { type: 'redacted_thinking', data: 'opaque' },
          { type: 'tool_use', id: 'call_1', name: 'look', input: {} },
        ],
      },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1', content: 'A cat.' }] },
    ],
  };
  const { sent } = await ask('openrouter', anthropicMessages.decode(body, { headers: {} }));
  const { id: _, ...unnamed } = hidden;
  expect(sent['messages']).toMatchObject([
    {},
    { role: 'assistant', reasoning: 'I will look.', reasoning_details: [signed, unnamed] },
    {},
  ]);
});

test('for one that has no field for them they are remembered by their call', async () => {
  upstream.answer(json(whole([gemini], null)));
  const provider = providerOf('openrouter');
  const model = 'google/gemini-3-pro-preview';
  const first = [{ role: 'user', content: 'Look.' }];
  await ask('openrouter', readable(openaiChat.decode({ model, messages: first, tools }, { headers: {} })), provider);
  upstream.answer(json(whole([], null)));
  const { index: _, ...made } = call;
  const messages = [
    ...first,
    { role: 'assistant', content: null, tool_calls: [made] },
    { role: 'tool', tool_call_id: 'call_1', content: 'A cat.' },
  ];
  const request = readable(openaiChat.decode({ model, messages, tools }, { headers: {} }));
  const { sent } = await ask('openrouter', request, provider);
  expect(sent['messages']).toMatchObject([{}, { tool_calls: [made], reasoning_details: [gemini] }, {}]);
});

const asked = [{ role: 'user', content: 'hi' }];
const messagesWith = (thinking: JsonObject) =>
  anthropicMessages.decode({ model: 'm', max_tokens: 9000, messages: asked, thinking }, { headers: {} });
const off = messagesWith({ type: 'disabled' });
const some = messagesWith({ type: 'enabled', budget_tokens: 2000 });
const think = ollamaChat.decode({ model: 'm', messages: asked, think: true }, { headers: {} });

test.each([
  { type: 'openrouter', request: off, field: { reasoning: { enabled: false } }, told: [] },
  { type: 'openrouter', request: some, field: { reasoning: { max_tokens: 2000 } }, told: [] },
  { type: 'openrouter', request: think, field: { reasoning: { enabled: true } }, told: [] },
  { type: 'vllm', request: off, field: { chat_template_kwargs: { enable_thinking: false } }, told: [] },
  { type: 'llama-server', request: think, field: { chat_template_kwargs: { enable_thinking: true } }, told: [] },
  {
    type: 'sglang',
    request: some,
    field: { chat_template_kwargs: { enable_thinking: true } },
    told: ["field 'thinking'"],
  },
])('$type is told whether to think: $field', async ({ type, request, field, told }) => {
  upstream.answer(json(whole([], null)));
  const provider = providerOf(type);
  expect((await ask(type, request, provider)).sent).toMatchObject(field);
  expect(provider.ignores?.(request)).toEqual(told);
});

test.each(['openrouter', 'sglang'])('%s is not told to think by who asks for summaries of thoughts', async (type) => {
  upstream.answer(json(whole([], null)));
  const body = { model: 'm', input: 'hi', reasoning: { summary: 'auto' } };
  const { sent } = await ask(type, openaiResponses.decode(body, { headers: {} }));
  expect([sent['reasoning'], sent['chat_template_kwargs']]).toEqual([undefined, undefined]);
});

test('the field of OpenRouter’s own client goes on as it is, also where filters read the request', async () => {
  upstream.answer(json(whole([], null)));
  const reasoning = { max_tokens: 500, exclude: true };
  const request = readable(openaiChat.decode({ model: 'm', messages: asked, reasoning }, { headers: {} }));
  expect((await ask('openrouter', request)).sent['reasoning']).toEqual(reasoning);
});
