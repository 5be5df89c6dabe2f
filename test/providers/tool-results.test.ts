import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { readable } from '../../src/core/request.ts';
import { type FaultyUpstream, faultyUpstream, json } from '../faulty-upstream.ts';
import { chatRequest, hear, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(json({}));
});
afterAll(() => upstream.close());

const call = (id: string) => ({ id, type: 'function', function: { name: 'look', arguments: '{}' } });
const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,QUJD' } };
const request = readable(
  chatRequest({
    model: 'm',
    messages: [
      { role: 'user', content: 'Look twice.' },
      { role: 'assistant', content: null, tool_calls: [call('a'), call('b')] },
      { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: 'seen' }, picture] },
      { role: 'tool', tool_call_id: 'b', content: [picture] },
      { role: 'user', content: 'And?' },
    ],
  }),
);
const pointer = 'The next message holds what this tool gave.';
const result = (name: string, response: object) => ({ functionResponse: { name, response } });
const inline = { inlineData: { mimeType: 'image/png', data: 'QUJD' } };
const source = { type: 'base64', media_type: 'image/png', data: 'QUJD' };
const block = { type: 'image', source };

test.each([
  {
    type: 'openai',
    list: 'messages',
    after: [
      { role: 'tool', tool_call_id: 'a', content: 'seen' },
      { role: 'tool', tool_call_id: 'b', content: pointer },
      { role: 'user', content: [picture, picture] },
      { role: 'user', content: 'And?' },
    ],
  },
  {
    type: 'cohere',
    list: 'messages',
    after: [
      { role: 'tool', tool_call_id: 'a', content: 'seen' },
      { role: 'tool', tool_call_id: 'b', content: pointer },
      { role: 'user', content: [picture, picture] },
      { role: 'user', content: 'And?' },
    ],
  },
  {
    type: 'gemini',
    list: 'contents',
    after: [
      {
        role: 'user',
        parts: [
          result('look', { result: 'seen' }),
          result('look', { result: pointer }),
          inline,
          inline,
          { text: 'And?' },
        ],
      },
    ],
  },
  {
    type: 'anthropic',
    list: 'messages',
    after: [
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'seen' }, block] },
          { type: 'tool_result', tool_use_id: 'b', content: [block] },
          { type: 'text', text: 'And?' },
        ],
      },
    ],
  },
])('pictures that tools gave reach $type', async ({ type, list, after }) => {
  const config = providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k' });
  await hear(createProvider('up', config, { transport }), request);
  expect(upstream.requests.at(-1)?.json[list].slice(2)).toEqual(after);
});

test.each([
  {
    type: 'openai',
    list: 'messages',
    result: { role: 'tool', tool_call_id: 'a', content: 'The tool failed: No such file.' },
  },
  {
    type: 'cohere',
    list: 'messages',
    result: { role: 'tool', tool_call_id: 'a', content: 'The tool failed: No such file.' },
  },
  {
    type: 'gemini',
    list: 'contents',
    result: { role: 'user', parts: [result('look', { result: 'The tool failed: No such file.' })] },
  },
  {
    type: 'anthropic',
    list: 'messages',
    result: {
      role: 'user',
      content: [
        { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'No such file.' }], is_error: true },
      ],
    },
  },
])('that a tool failed reaches $type', async ({ type, list, result: expected }) => {
  const config = providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k' });
  const [ask, calls] = request.messages;
  if (!ask || calls?.role !== 'assistant') throw new Error('no call');
  const failed = {
    role: 'tool' as const,
    toolCallId: 'a',
    content: [{ type: 'text' as const, text: 'No such file.' }],
    isError: true,
  };
  const messages = [ask, { ...calls, toolCalls: calls.toolCalls.slice(0, 1) }, failed];
  await hear(createProvider('up', config, { transport }), { ...request, messages });
  expect(upstream.requests.at(-1)?.json[list][2]).toEqual(expected);
});
