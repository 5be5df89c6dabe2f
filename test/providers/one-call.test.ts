import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';
import { type FaultyUpstream, faultyUpstream, json, sse } from '../faulty-upstream.ts';
import { hear, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(json({}));
});
afterAll(() => upstream.close());

const call = (name: string) => ({ id: name, type: 'function', function: { name, arguments: '{"a":1}' } });
const chat = json({
  ...{ id: 'c', object: 'chat.completion', created: 1, model: 'm' },
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'So.', tool_calls: [call('look'), call('hear')] },
      finish_reason: 'tool_calls',
    },
  ],
  usage: { prompt_tokens: 3, completion_tokens: 9 },
});
const part = (name: string) => ({ functionCall: { id: name, name, args: { a: 1 } } });
const generated = {
  body: [
    sse({
      candidates: [{ content: { parts: [{ text: 'So.' }, part('look'), part('hear')] }, finishReason: 'STOP' }],
      usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 9 },
    }),
  ],
};

const parameters = { type: 'object' };
const named = ['look', 'hear'];
const asked = {
  chat: {
    format: openaiChat,
    body: {
      messages: [{ role: 'user', content: 'hi' }],
      tools: named.map((name) => ({ type: 'function', function: { name, parameters } })),
      parallel_tool_calls: false,
    },
  },
  // as Codex asks for a model that it does not know
  responses: {
    format: openaiResponses,
    body: {
      ...{ input: 'hi', store: false, parallel_tool_calls: false },
      tools: named.map((name) => ({ type: 'function', name, parameters })),
    },
  },
  messages: {
    format: anthropicMessages,
    body: {
      ...{ max_tokens: 99, messages: [{ role: 'user', content: 'hi' }] },
      tools: named.map((name) => ({ name, input_schema: parameters })),
      tool_choice: { type: 'auto', disable_parallel_tool_use: true },
    },
  },
};

test.each(
  (['ollama', 'deepseek', 'workers-ai', 'gemini'] as const).flatMap((type) =>
    (['chat', 'responses', 'messages'] as const).map((by) => ({ type, by })),
  ),
)('$type has no word for one call at a time: a client of $by that asks for it gets the first', async ({ type, by }) => {
  upstream.answer(type === 'gemini' ? generated : chat);
  const account = type === 'workers-ai' ? { account: 'a' } : {};
  const config = providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k', ...account });
  const { format, body } = asked[by];
  const { events, error } = await hear(
    createProvider('p', config, { transport }),
    format.decode({ model: 'm', ...body }, { headers: {} }),
  );
  expect(error).toBeUndefined();
  expect(events.filter(({ type }) => type !== 'start')).toEqual([
    { type: 'text-delta', choice: 0, text: 'So.' },
    { type: 'tool-call-start', choice: 0, index: 0, id: 'look', name: 'look', kind: 'function' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"a":1}' },
    { type: 'finish', choice: 0, reason: 'tool-calls' },
    { type: 'usage', usage: { promptTokens: 3, completionTokens: 9 } },
  ]);
  expect(upstream.requests.at(-1)?.json).not.toHaveProperty('parallel_tool_calls');
});
