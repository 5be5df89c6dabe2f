import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { type FaultyUpstream, faultyUpstream, json } from '../faulty-upstream.ts';
import { hear, heardOf, never, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(json({}));
});
afterAll(() => upstream.close());

const answer = {
  ...{ id: 'c', object: 'chat.completion', created: 1, model: 'm' },
  choices: [{ index: 0, message: { role: 'assistant', content: 'up' }, finish_reason: 'stop' }],
};
const marked = (text: string) => ({ type: 'text', text, cache_control: { type: 'ephemeral' } });

/** As coding agents ask: marks of the cache everywhere, and thinking of earlier turns. */
const asAnthropic = {
  ...{ model: 'm', max_tokens: 9, top_k: 5, system: [marked('Be brief.')] },
  tools: [{ name: 'look', input_schema: { type: 'object' }, cache_control: { type: 'ephemeral' } }],
  messages: [
    { role: 'user', content: [marked('Look.')] },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'I will.', signature: 's' },
        { type: 'tool_use', id: 'a', name: 'look', input: {} },
      ],
    },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: [marked('A cat.')] }] },
  ],
};
const chatTurn = { role: 'assistant', content: 'A cat.', reasoning_content: 'I will.' };
const asChat = {
  model: 'm',
  messages: [{ role: 'user', content: 'Look.' }, chatTurn, { role: 'user', content: 'And?' }],
};

async function sent(type: string, format: typeof openaiChat, body: JsonObject): Promise<Record<string, unknown>> {
  upstream.answer(json(answer));
  const config = providerConfigSchema().parse({
    type,
    baseUrl: upstream.baseUrl,
    apiKey: 'k',
    ...(type === 'bedrock' && { region: 'r' }),
  });
  await hear(createProvider('p', config, { transport }), format.decode(body, { headers: {} }));
  return upstream.requests.at(-1)?.json ?? {};
}

const thinking = { type: 'thinking', thinking: [{ type: 'text', text: 'I will.' }] };

// Groq: "property 'reasoning_content' is unsupported" (https://github.com/janhq/jan/issues/8136); its own field is
// `reasoning` (https://console.groq.com/docs/api-reference). Cerebras: https://github.com/Kilo-Org/kilocode/issues/10375.
// Mistral: "Extra inputs are not permitted" (https://github.com/BerriAI/litellm/issues/30835); chunks in the content
// (https://docs.mistral.ai/capabilities/reasoning/).
test.each([
  { type: 'groq', call: { content: null, reasoning: 'I will.' }, said: { content: 'A cat.', reasoning: 'I will.' } },
  { type: 'cerebras', call: { content: null }, said: { content: 'A cat.' } },
  {
    type: 'mistral',
    call: { content: [thinking] },
    said: { content: [thinking, { type: 'text', text: 'A cat.' }] },
  },
])(
  '$type gets no field that it refuses: neither marks of the cache nor thinking where it takes none',
  async ({ type, call, said }) => {
    const fromAnthropic = await sent(type, anthropicMessages, asAnthropic);
    const { tool_calls: _, ...turn } = (fromAnthropic['messages'] as Record<string, unknown>[])[2] ?? {};
    expect(turn).toEqual({ role: 'assistant', ...call });
    expect(JSON.stringify(fromAnthropic)).not.toMatch(/cache_control|top_k|reasoning_content/);
    expect((await sent(type, openaiChat, asChat))['messages']).toMatchObject([{}, { role: 'assistant', ...said }, {}]);
  },
);

test.each([
  { type: 'openai', marks: false },
  { type: 'azure-openai', marks: false },
  { type: 'openrouter', marks: true },
])('marks of the cache in a request of the Messages API reach $type: $marks', async ({ type, marks }) => {
  const body = await sent(type, anthropicMessages, asAnthropic);
  expect(JSON.stringify(body).includes('cache_control')).toBe(marks);
  expect('top_k' in body).toBe(marks);
});

test.each([
  { type: 'openai', effort: 'high' },
  { type: 'openrouter', effort: 'max' },
])('the highest effort of the Messages API is $effort for $type', async ({ type, effort }) => {
  const body = await sent(type, anthropicMessages, { ...asAnthropic, output_config: { effort: 'max' } });
  expect(body).toMatchObject({ reasoning_effort: effort });
});

test('a client of the same API has its own fields sent as they are', async () => {
  const messages = [{ role: 'user', content: [marked('Look.')] }, chatTurn, { role: 'user', content: 'And?' }];
  const body = { model: 'm', messages, top_k: 5 };
  expect(await sent('openai', openaiChat, body)).toMatchObject(body);
});

// "For turns that do perform tool calls, the reasoning_content must be fully passed back to the API in all subsequent
// requests" (https://api-docs.deepseek.com/guides/thinking_mode); a blank is taken, an empty text is not
// (https://github.com/NousResearch/hermes-agent/pull/18263).
describe('a server that refuses a turn with calls and no thoughts', () => {
  const call = { id: 'a', type: 'function', function: { name: 'look', arguments: '{}' } };
  const tools = [{ type: 'function', function: { name: 'look' } }];
  const turn = { role: 'assistant', content: null, tool_calls: [call] };
  const loop = (kept: object = {}) => ({
    ...{ model: 'm', tools },
    messages: [
      { role: 'user', content: 'Look.' },
      { ...turn, ...kept },
      { role: 'tool', tool_call_id: 'a', content: 'A cat.' },
    ],
  });
  const provider = () => {
    const config = providerConfigSchema().parse({ type: 'deepseek', baseUrl: upstream.baseUrl, apiKey: 'k' });
    return createProvider('p', config, { transport });
  };
  const ask = async (asked: ReturnType<typeof provider>, body: JsonObject, tenant?: string) => {
    const request = openaiChat.decode(body, { headers: {} });
    await heardOf(asked.stream(request, { signal: never, ...(tenant === undefined ? {} : { tenant }) }));
    return (upstream.requests.at(-1)?.json['messages'] as object[] | undefined)?.[1];
  };

  test('gets those of the answer back, for a client that has no field for them', async () => {
    const asked = provider();
    const message = { ...turn, reasoning_content: 'I will.' };
    upstream.answer(json({ ...answer, choices: [{ index: 0, message, finish_reason: 'tool_calls' }] }));
    await ask(asked, { model: 'm', tools, messages: [{ role: 'user', content: 'Look.' }] }, 'one');
    upstream.answer(json(answer));
    expect(await ask(asked, loop(), 'one')).toEqual({ ...turn, content: '', reasoning_content: 'I will.' });
    expect(await ask(asked, loop({ reasoning_content: 'Mine.' }), 'one')).toMatchObject({
      reasoning_content: 'Mine.',
    });
    expect(await ask(asked, loop(), 'two')).toMatchObject({ reasoning_content: ' ' });
  });

  test('is told of in the configuration too (https://github.com/HKUDS/nanobot/issues/946: Moonshot)', async () => {
    const entry = { type: 'openai-compatible', baseUrl: upstream.baseUrl, oddities: { thoughts: 'required' } };
    upstream.answer(json(answer));
    const asked = createProvider('p', providerConfigSchema().parse(entry), { transport });
    expect(await ask(asked, loop())).toMatchObject({ reasoning_content: ' ' });
  });

  test('gets a blank where nobody knows them, as after another server of the route', async () => {
    upstream.answer(json(answer));
    expect(await ask(provider(), loop())).toEqual({ ...turn, content: '', reasoning_content: ' ' });
  });
});

// https://api-docs.deepseek.com/guides/thinking_mode
test.each([
  { format: openaiChat, asked: { reasoning_effort: 'none' }, as: { thinking: { type: 'disabled' } } },
  { format: openaiChat, asked: { reasoning_effort: 'low' }, as: { reasoning_effort: 'low' } },
  { format: anthropicMessages, asked: { thinking: { type: 'disabled' } }, as: { thinking: { type: 'disabled' } } },
  {
    format: anthropicMessages,
    asked: { thinking: { type: 'adaptive' }, output_config: { effort: 'max' } },
    as: { thinking: { type: 'enabled' }, reasoning_effort: 'max' },
  },
])('thinking is switched where a server has a switch: $asked', async ({ format, asked, as }) => {
  const body = { model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }], ...asked };
  const { thinking, reasoning_effort } = await sent('deepseek', format, body);
  expect({ thinking, reasoning_effort }).toEqual({ thinking: undefined, reasoning_effort: undefined, ...as });
});

// "Unexpected role 'user' after role 'tool'" (https://github.com/zed-industries/zed/issues/37021)
test.each([
  { name: 'coding agents', format: anthropicMessages, body: asAnthropic },
  { name: 'chat clients', format: openaiChat, body: { model: 'm', messages: [] } },
])('Mistral gets an answer between the results of tools and what $name say after them', async ({ format, body }) => {
  const call = { id: 'D681PevKs', type: 'function', function: { name: 'look', arguments: '{}' } };
  const said =
    format === openaiChat
      ? [
          { role: 'user', content: 'Look.' },
          { role: 'assistant', content: null, tool_calls: [call] },
          { role: 'tool', tool_call_id: call.id, content: 'A cat.' },
          { role: 'user', content: 'And?' },
        ]
      : [...asAnthropic.messages, { role: 'user', content: [{ type: 'text', text: 'And?' }] }];
  const { messages } = await sent('mistral', format, { ...body, messages: said });
  const roles = (messages as { role: string }[]).map(({ role }) => role);
  expect(roles.filter((role) => role !== 'system')).toEqual(['user', 'assistant', 'tool', 'assistant', 'user']);
});

test.each([
  { type: 'anthropic', turns: { messages: [{ role: 'user', content: [{ type: 'text', text: 'Sing.' }] }] } },
  { type: 'gemini', turns: { contents: [{ role: 'user', parts: [{ text: 'Sing.' }] }] } },
  { type: 'bedrock', turns: { messages: [{ role: 'user', content: [{ text: 'Sing.' }] }] } },
])('a request of nothing but instructions asks them of $type', async ({ type, turns }) => {
  const body = await sent(type, openaiChat, { model: 'm', messages: [{ role: 'system', content: 'Sing.' }] });
  expect(body).toMatchObject(turns);
  expect(body).not.toHaveProperty('system');
});

// https://console.groq.com/docs/openai, https://github.com/microsoft/autogen/issues/2748, https://github.com/BerriAI/litellm/issues/2373
test.each(['groq', 'mistral', 'perplexity'])(
  'a name of a message, which %s refuses, is left out and told',
  async (type) => {
    const body = { model: 'm', messages: [{ role: 'user', name: 'Ada', content: 'hi' }] };
    expect((await sent(type, openaiChat, body))['messages']).toEqual([{ role: 'user', content: 'hi' }]);
    const config = providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k' });
    const request = openaiChat.decode(body, { headers: {} });
    expect(createProvider('p', config, { transport }).ignores?.(request)).toEqual(["field 'name'"]);
  },
);
