import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';
import { type FaultyUpstream, faultyUpstream, json } from '../faulty-upstream.ts';
import { hear, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(json({ choices: [{ message: { content: '' } }] }));
});
afterAll(() => upstream.close());

const chat = (ids: readonly string[]): JsonObject => ({
  model: 'm',
  messages: [
    { role: 'user', content: 'Look.' },
    {
      role: 'assistant',
      content: null,
      tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'look', arguments: '{}' } })),
    },
    ...ids.map((id) => ({ role: 'tool', tool_call_id: id, content: 'A cat.' })),
  ],
});
const messages = (ids: readonly string[]): JsonObject => ({
  model: 'm',
  max_tokens: 9,
  messages: [
    { role: 'user', content: 'Look.' },
    { role: 'assistant', content: ids.map((id) => ({ type: 'tool_use', id, name: 'look', input: {} })) },
    { role: 'user', content: ids.map((id) => ({ type: 'tool_result', tool_use_id: id, content: 'A cat.' })) },
  ],
});
const responses = (ids: readonly string[]): JsonObject => ({
  model: 'm',
  input: [
    { role: 'user', content: 'Look.' },
    ...ids.map((id) => ({ type: 'function_call', call_id: id, name: 'look', arguments: '{}' })),
    ...ids.map((id) => ({ type: 'function_call_output', call_id: id, output: 'A cat.' })),
  ],
});
const formats = {
  chat: [openaiChat, chat],
  messages: [anthropicMessages, messages],
  responses: [openaiResponses, responses],
} as const;

/** Ids as they reach the upstream: of the calls, then of their results. */
async function sent(type: string, form: keyof typeof formats, ids: readonly string[]): Promise<string[]> {
  const [format, body] = formats[form];
  const entry = type === 'bedrock' ? { region: 'r' } : {};
  const config = providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k', ...entry });
  await hear(createProvider('p', config, { transport }), format.decode(body(ids), { headers: {} }));
  const text = upstream.requests.at(-1)?.text ?? '';
  expect(Object.keys(JSON.parse(text)).filter((name) => ['messages', 'input'].includes(name))).toHaveLength(1);
  return [...text.matchAll(/"(?:id|toolUseId|call_id|tool_call_id|tool_use_id)":"([^"]*)"/g)].map(([, id]) => id ?? '');
}

const kimi = ['functions.look:0', 'functions.look:1'];
const long = [`call_${'a'.repeat(60)}`, `call_${'a'.repeat(59)}b`];
const usual = ['call_PTLP8xhu3uwZk4l3nlnrrJha', 'toolu_01A09q90qw90lq917835lq9'];

// https://github.com/maximhq/bifrost/issues/5097 (Anthropic), https://github.com/anomalyco/opencode/issues/1680 (Mistral),
// https://github.com/vercel/ai/issues/5171 (OpenAI), API_runtime_ToolUseBlock of Bedrock (64 characters)
test.each([
  { type: 'anthropic', form: 'messages', ids: kimi, taken: /^[a-zA-Z0-9_-]+$/ },
  { type: 'anthropic', form: 'chat', ids: kimi, taken: /^[a-zA-Z0-9_-]+$/ },
  { type: 'bedrock', form: 'chat', ids: kimi, taken: /^[a-zA-Z0-9_-]{1,64}$/ },
  { type: 'bedrock', form: 'messages', ids: long, taken: /^[a-zA-Z0-9_-]{1,64}$/ },
  { type: 'mistral', form: 'chat', ids: usual, taken: /^[a-zA-Z0-9]{9}$/ },
  { type: 'mistral', form: 'messages', ids: usual, taken: /^[a-zA-Z0-9]{9}$/ },
  { type: 'openai', form: 'chat', ids: long, taken: /^.{1,40}$/ },
  { type: 'openai', form: 'responses', ids: long, taken: /^.{1,40}$/ },
  { type: 'azure-openai', form: 'messages', ids: long, taken: /^.{1,40}$/ },
] as const)(
  'ids of calls that another upstream gave ($ids.0) are taken by $type, from $form',
  async ({ type, form, ids, taken }) => {
    const [first, second, ...results] = await sent(type, form, ids);
    expect(first).toMatch(taken);
    expect(second).toMatch(taken);
    expect(first).not.toBe(second);
    expect(results).toEqual([first, second]);
  },
);

test.each([
  { type: 'anthropic', form: 'messages', ids: usual },
  { type: 'openai', form: 'chat', ids: [...kimi, ...usual] },
  { type: 'openai', form: 'responses', ids: [...kimi, ...usual] },
  { type: 'mistral', form: 'chat', ids: ['D681PevKs', 'abc123XYZ'] },
  { type: 'groq', form: 'chat', ids: long },
] as const)('ids that $type takes stay as they are', async ({ type, form, ids }) => {
  expect(await sent(type, form, ids)).toEqual([...ids, ...ids]);
});
