import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLocalProvider } from '../../providers/local.ts';
import { createProvider } from '../../providers/registry.ts';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import type { WireFormat } from '../../src/wire/format.ts';
import { ollamaChat } from '../../src/wire/ollama/format.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';
import { type FaultyUpstream, faultyUpstream, json } from '../faulty-upstream.ts';
import { post } from '../http/post.ts';
import { appOver, targetOver } from '../routing/pass-through/harness.ts';
import { transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

const messages = [{ role: 'user', content: 'hi' }];
const samplers = { top_k: 5, min_p: 0.1, repetition_penalty: 1.2, seed: 7 };
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const strictTool = { type: 'function', function: { name: 'f', strict: true, parameters } };
const hints = { verbosity: 'low', service_tier: 'flex', prediction: { type: 'content', content: 'hi' } };
const named = [{ role: 'user', name: 'ann', content: 'hi' }];
const neutral = {
  ...{
    temperature: 1,
    top_p: 1,
    top_k: -1,
    min_p: 0,
    repetition_penalty: 1,
    frequency_penalty: 0,
    presence_penalty: 0,
  },
  ...{
    n: 1,
    stop: null,
    logprobs: false,
    logit_bias: {},
    service_tier: 'auto',
    verbosity: 'medium',
    user: 'u',
    store: false,
  },
  ...{ metadata: { a: 'b' }, stream_options: { include_usage: true }, modalities: ['text'], parallel_tool_calls: true },
};
const claude = {
  ...{ max_tokens: 9, messages, top_k: 5, thinking: { type: 'enabled', budget_tokens: 1024 }, speed: 'fast' },
  ...{ context_management: { edits: [] }, cache_control: { type: 'ephemeral' }, service_tier: 'auto' },
};
const bedrock = { type: 'bedrock', region: 'eu-west-1', apiKey: 'k' };
const entry = (type: string) => (type === 'bedrock' ? bedrock : { type, apiKey: 'k' });

const fields = (...names: string[]) => names.map((name) => `field '${name}'`);
const table: { type: string; format: WireFormat; asked: object; model?: string; ignored: string[] }[] = [
  ...['anthropic', 'gemini', 'bedrock', 'cohere', 'openai', 'mistral'].map((type) => ({
    type,
    format: openaiChat,
    asked: { messages, ...neutral },
    ignored: [],
  })),
  { type: 'openai', format: openaiChat, asked: { messages: named, ...samplers, ...hints, other: 1 }, ignored: [] },
  { type: 'mistral', format: openaiChat, asked: { messages, ...samplers, ...hints }, ignored: fields('service_tier') },
  {
    type: 'anthropic',
    format: openaiChat,
    asked: { messages: named, ...samplers, ...hints, chat_template_kwargs: {} },
    ignored: fields(
      'min_p',
      'repeat_penalty',
      'seed',
      'prediction',
      'service_tier',
      'name',
      'verbosity',
      'chat_template_kwargs',
    ),
  },
  {
    type: 'gemini',
    format: openaiChat,
    asked: { messages, ...samplers, ...hints },
    ignored: fields('min_p', 'repeat_penalty', 'prediction', 'verbosity'),
  },
  {
    type: 'gemini',
    model: 'gemini-3-pro',
    format: openaiChat,
    asked: { messages, reasoning_effort: 'none', service_tier: 'scale' },
    ignored: fields('service_tier', 'reasoning_effort'),
  },
  {
    type: 'cohere',
    format: openaiChat,
    asked: { messages, ...samplers, tools: [strictTool] },
    ignored: fields('min_p', 'repeat_penalty'),
  },
  {
    type: 'cohere', // refuses to be strict where a tool has no required parameter
    format: openaiChat,
    asked: { messages, tools: [strictTool, { type: 'function', function: { name: 'g' } }] },
    ignored: fields('strict'),
  },
  {
    type: 'bedrock',
    format: openaiChat,
    asked: { messages, ...samplers, tools: [{ type: 'function', function: { name: 'f', strict: true } }] },
    ignored: fields('min_p', 'repeat_penalty', 'seed', 'strict'),
  },
  {
    type: 'bedrock',
    model: 'us.meta.llama4-maverick-17b-instruct-v1:0',
    format: openaiChat,
    asked: { messages, reasoning_effort: 'high', top_k: 5, service_tier: 'scale' },
    ignored: fields('top_k', 'service_tier', 'reasoning_effort'),
  },
  {
    type: 'bedrock',
    model: 'us.anthropic.claude-opus-4-7',
    format: openaiChat,
    asked: { messages, reasoning_effort: 'high', temperature: 0.5, service_tier: 'flex' },
    ignored: fields('temperature'),
  },
  {
    type: 'bedrock', // JSON is emulated by a call, which leaves no room for thinking
    model: 'us.anthropic.claude-opus-4-6',
    format: openaiChat,
    asked: { messages, reasoning_effort: 'high', response_format: { type: 'json_object' } },
    ignored: fields('reasoning_effort'),
  },
  {
    type: 'openai',
    format: anthropicMessages,
    asked: claude,
    ignored: fields('top_k', 'thinking', 'speed', 'context_management', 'cache_control'),
  },
  { type: 'anthropic', format: anthropicMessages, asked: claude, ignored: fields('top_k') },
  {
    type: 'openai',
    format: openaiResponses,
    asked: {
      input: 'hi',
      text: { verbosity: 'low' },
      max_tool_calls: 2,
      client_metadata: { a: 'b' },
      prompt_cache_retention: '24h',
      chosen: 1,
    },
    ignored: fields('chosen'),
  },
  {
    type: 'openai',
    format: ollamaChat,
    asked: { messages, think: true, options: { num_ctx: 9, repeat_penalty: 1.1 } },
    ignored: fields('repeat_penalty', 'think', 'num_ctx'),
  },
  // Models after Opus 4.6 take no samplers (anthropic-sdk-typescript, MessageCreateParams).
  {
    type: 'anthropic',
    model: 'claude-opus-4-7',
    format: openaiChat,
    asked: { messages, temperature: 0.2, top_p: 1 },
    ignored: fields('temperature'),
  },
  {
    type: 'anthropic',
    model: 'claude-opus-4-6',
    format: openaiChat,
    asked: { messages, temperature: 0.2, top_p: 1 },
    ignored: [],
  },
  {
    type: 'anthropic',
    format: openaiChat,
    asked: {
      messages,
      reasoning_effort: 'low',
      tool_choice: 'required',
      tools: [{ type: 'function', function: { name: 'f' } }],
    },
    ignored: fields('reasoning_effort'),
  },
];

test.each(table)(
  '$type says what of a request it does without: $ignored',
  ({ type, format, asked, model = 'm', ignored }) => {
    const provider = createProvider('p', entry(type), { transport });
    const request = format.decode({ model, ...asked }, { headers: {} });
    expect(provider.ignores?.(request)).toEqual(ignored);
  },
);

test('the engine says which hints mean nothing to it, and follows or refuses the rest', () => {
  const provider = createLocalProvider({ models: {} });
  const followed = {
    ...samplers,
    dry_multiplier: 0.5,
    cache_prompt: false,
    guided_choice: ['a'],
    prediction: hints.prediction,
  };
  const asked = { model: 'm', messages: named, ...followed, ...hints, n_probs: 0, id_slot: 1 };
  const told = fields('service_tier', 'name', 'verbosity', 'id_slot');
  expect(provider.ignores?.(openaiChat.decode(asked, { headers: {} }))).toEqual(told);
});

const answer = {
  ...{ id: 'c', object: 'chat.completion', created: 1, model: 'm' },
  choices: [{ index: 0, message: { role: 'assistant', content: 'up' }, finish_reason: 'stop' }],
};

test('the client is told in a header, and asks on without it where its own body goes through', async () => {
  const warned = async (path: string, body: object) => {
    upstream.answer(json(answer));
    const reply = await post(appOver(upstream, 'openai'), path, { model: 'test', ...body });
    return [reply.status, reply.headers.get('x-tidegate-warning')];
  };
  expect(await warned('/v1/messages', claude)).toEqual([
    200,
    "ignored: field 'top_k', field 'thinking', field 'speed', field 'context_management', field 'cache_control'",
  ]);
  expect(await warned('/v1/chat/completions', { messages, ...samplers, ...hints, other: 1 })).toEqual([200, null]);
});

test.each([
  { mcp_servers: [{ type: 'url', url: 'https://a.example', name: 'a' }] },
  { container: { skills: [{ type: 'anthropic', skill_id: 'xlsx' }] } },
  { inference_geo: 'us' },
])('what only the server of the Messages API does is refused elsewhere: %o', async (asked) => {
  const app = appOver(upstream, 'openai', targetOver(upstream, 'gemini', 'second'));
  const reply = await post(app, '/v1/messages', { model: 'test', max_tokens: 9, messages, ...asked });
  const [field] = Object.keys(asked);
  expect([reply.status, await reply.json()]).toMatchObject([
    400,
    { type: 'error', error: { type: 'invalid_request_error', message: expect.stringContaining(field ?? '') } },
  ]);
});

test('an MCP toolset, which has no name, reaches its own API', async () => {
  const tools = [{ type: 'mcp_toolset', mcp_server_name: 'a' }];
  const mcp_servers = [{ type: 'url', url: 'https://a.example', name: 'a' }];
  upstream.answer(
    json({ id: 'm', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: 'end_turn', usage: {} }),
  );
  const body = { model: 'test', max_tokens: 9, messages, tools, mcp_servers };
  expect((await post(appOver(upstream, 'anthropic'), '/v1/messages', body)).status).toBe(200);
  expect(upstream.requests.at(-1)?.json).toMatchObject({ tools, mcp_servers });
});
