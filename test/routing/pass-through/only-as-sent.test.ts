import { describe, expect, test } from 'vitest';
import { json as answered } from '../../faulty-upstream.ts';
import { filteredApp, upstream as first } from '../../filters/upstream.ts';
import { post as send } from '../../http/post.ts';
import { appOver, targetOver } from './harness.ts';

const user = { role: 'user', content: 'Hi' };
const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
const message = { role: 'assistant', content: 'up' };
const chatAnswer = {
  id: 'c',
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, message, finish_reason: 'stop' }],
  usage,
};
const said = { type: 'message', id: 'm', role: 'assistant', content: [{ type: 'output_text', text: 'up' }] };
const response = { id: 'r', object: 'response', status: 'completed', model: 'm', output: [said] };

const asked = [
  {
    name: 'a part of another kind',
    path: '/v1/chat/completions',
    answer: chatAnswer,
    body: { messages: [{ role: 'user', content: [{ type: 'video_url', video_url: { url: 'https://a.example/b' } }] }] },
    param: 'messages[0].content[0].type',
  },
  {
    name: 'a file that a tool gave',
    path: '/v1/chat/completions',
    answer: chatAnswer,
    body: {
      messages: [
        user,
        { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }] },
        {
          role: 'tool',
          tool_call_id: 'c',
          content: [{ type: 'file', file: { file_id: 'f' } }],
        },
      ],
    },
    param: 'messages[2].content[0].type',
  },
  {
    name: 'a tool of another kind',
    path: '/v1/chat/completions',
    answer: chatAnswer,
    body: { messages: [user], tools: [{ type: 'function', function: { name: 'f' } }, { type: 'web_search' }] },
    param: 'tools[1].type',
  },
  {
    name: 'the wish for speech',
    path: '/v1/chat/completions',
    answer: chatAnswer,
    body: { messages: [user], modalities: ['text', 'audio'], audio: { voice: 'alloy', format: 'mp3' } },
    param: 'modalities',
  },
  {
    name: 'a part of a response’s input of another kind',
    path: '/v1/responses',
    answer: response,
    body: { store: false, input: [{ role: 'user', content: [{ type: 'input_video', video_url: 'x' }] }] },
    param: 'input[0].content[0].type',
  },
];

describe.each(asked)('$name', ({ path, answer, body, param }) => {
  test('reaches an upstream of the client’s own API as it was sent', async () => {
    first.answer(answered(answer));
    const reply = await send(appOver(first, 'openai'), path, { model: 'test', ...body });
    expect([reply.status, await reply.json()]).toEqual([200, answer]);
    expect(first.requests.at(-1)?.json).toEqual({ ...body, model: 'm' });
  });

  test('is refused by name where the upstream speaks another API, or a filter reads the request', async () => {
    const apps = [
      appOver(first, 'anthropic', targetOver(first, 'gemini', 'second')),
      filteredApp({ words: { kind: 'patterns', phrases: ['secret'], on: 'input' } }),
    ];
    const before = first.requests.length;
    for (const app of apps) {
      const reply = await send(app, path, { model: 'test', ...body });
      expect([reply.status, ((await reply.json()) as { error: object }).error]).toMatchObject([
        400,
        { param, code: 'unsupported_value' },
      ]);
    }
    expect(first.requests.length).toBe(before);
  });
});

test.each(['web_search_options', 'moderation', 'guided_json', 'structured_outputs'])(
  '%s is not left out in silence by another API',
  async (field) => {
    const app = appOver(first, 'anthropic', targetOver(first, 'gemini', 'second'));
    const reply = await send(app, '/v1/chat/completions', { model: 'test', messages: [user], [field]: {} });
    expect([reply.status, ((await reply.json()) as { error: object }).error]).toMatchObject([400, { param: field }]);
  },
);

test('what we cannot read goes by the response cache', async () => {
  const app = filteredApp({}, true);
  const ask = async (url: string) => {
    first.answer(answered({ ...chatAnswer, id: url }));
    const content = [{ type: 'video_url', video_url: { url } }];
    const body = { model: 'test', temperature: 0, messages: [{ role: 'user', content }] };
    return ((await (await send(app, '/v1/chat/completions', body)).json()) as { id: string }).id;
  };
  expect([await ask('a'), await ask('b')]).toEqual(['a', 'b']);
});
