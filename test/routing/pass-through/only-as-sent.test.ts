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

describe('citations of a document', () => {
  const source = { type: 'text', media_type: 'text/plain', data: 'The ford is open.' };
  const document = { type: 'document', source, citations: { enabled: true } };
  const body = { max_tokens: 9, messages: [{ role: 'user', content: [document, { type: 'text', text: 'Is it?' }] }] };
  const citation = { type: 'char_location', cited_text: 'open', document_index: 0, start_char_index: 12 };
  const answer = {
    ...{ id: 'm', type: 'message', role: 'assistant', model: 'm', stop_reason: 'end_turn', stop_sequence: null },
    content: [{ type: 'text', text: 'Yes', citations: [citation] }],
    usage: { input_tokens: 1, output_tokens: 1 },
  };
  const filter = (phrase: string, on: string) => ({
    words: { kind: 'patterns', phrases: [phrase], on, action: 'mask' },
  });

  test.each([
    { name: 'without filters', app: () => appOver(first, 'anthropic') },
    { name: 'past a filter that finds nothing', app: () => filteredApp(filter('secret', 'input'), false, 'anthropic') },
  ])('are given by their own API $name', async ({ app }) => {
    first.answer(answered(answer));
    const reply = await send(app(), '/v1/messages', { model: 'test', ...body });
    expect([reply.status, await reply.json()]).toMatchObject([200, { content: answer.content }]);
  });

  test.each([
    { name: 'by another API', app: () => appOver(first, 'openai', targetOver(first, 'gemini', 'second')) },
    { name: 'where a filter changed the request', app: () => filteredApp(filter('ford', 'input'), false, 'anthropic') },
    { name: 'where a filter reads the answer', app: () => filteredApp(filter('ford', 'output'), false, 'anthropic') },
  ])('are refused by name $name', async ({ app }) => {
    const reply = await send(app(), '/v1/messages', { model: 'test', ...body });
    expect([reply.status, await reply.json()]).toMatchObject([
      400,
      { error: { message: expect.stringContaining('citations') } },
    ]);
  });
});

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
