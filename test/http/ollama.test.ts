import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { anonymous } from '../../src/core/run.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { type Answer, lines, post } from './post.ts';

const hello = { model: 'test:latest', messages: [{ role: 'user', content: 'Hi' }] };

test('chat streams lines by default, the last one with counts', async () => {
  const response = await post(appWith(scripted(['Hel', 'lo'])), '/api/chat', hello);
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  const all = await lines(response);
  expect(all.map((line) => [line.message.content, line.done])).toEqual([
    ['Hel', false],
    ['lo', false],
    ['', true],
  ]);
  expect(all.at(-1)).toMatchObject({
    model: 'test:latest',
    done_reason: 'stop',
    prompt_eval_count: 3,
    eval_count: 2,
    total_duration: expect.any(Number),
  });
});

test('tool calls come whole, with their arguments as an object', async () => {
  const app = appWith(
    scripted([
      { type: 'tool-call-start', choice: 0, index: 0, id: 'c', name: 'lookup', kind: 'function' },
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"q"' },
      { type: 'tool-call-delta', choice: 0, index: 0, arguments: ':1}' },
    ]),
  );
  const [part] = await lines(await post(app, '/api/chat', hello));
  expect(part.message.tool_calls).toEqual([{ id: 'c', function: { name: 'lookup', arguments: { q: 1 } } }]);
});

test('options, format, history and think are understood', async () => {
  const provider = scripted(['ok']);
  await post(appWith(provider), '/api/chat', {
    model: 'test',
    stream: false,
    think: false,
    format: { type: 'object' },
    options: { temperature: 0, num_predict: 5, stop: ['\n'], repeat_penalty: 1.1, num_ctx: 4096, mirostat: 2 },
    messages: [
      { role: 'user', content: 'Look', images: ['/9j/AAAA'] },
      { role: 'assistant', content: '', tool_calls: [{ function: { name: 'lookup', arguments: { q: 1 } } }] },
      { role: 'tool', tool_name: 'lookup', content: 'found' },
    ],
  });
  const [request] = provider.requests;
  expect(request).toMatchObject({
    stream: false,
    maxTokens: 5,
    stop: ['\n'],
    sampling: { temperature: 0, repeatPenalty: 1.1 },
    responseFormat: { type: 'json-schema', schema: { type: 'object' } },
    reasoning: { enabled: false },
    extensions: { mirostat: 2 },
  });
  const [user, assistant, tool] = request?.messages ?? [];
  expect(user?.content).toEqual([
    { type: 'text', text: 'Look' },
    { type: 'image', url: 'data:image/jpeg;base64,/9j/AAAA' },
  ]);
  expect(assistant).toMatchObject({ toolCalls: [{ name: 'lookup', arguments: '{"q":1}' }] });
  expect(tool).toMatchObject({
    role: 'tool',
    toolCallId: assistant?.role === 'assistant' ? assistant.toolCalls[0]?.id : '',
  });
});

test('generate answers with a text; raw skips the template', async () => {
  const provider = scripted(['ok']);
  const response = await post(appWith(provider), '/api/generate', {
    model: 'test',
    prompt: 'Hi',
    raw: true,
    stream: false,
  });
  expect(await response.json()).toMatchObject({ response: 'ok', done: true, done_reason: 'stop' });
  expect(provider.requests[0]).toMatchObject({ messages: [], prompt: { text: 'Hi', echo: false } });
});

test.each([
  { field: 'template', body: { template: '{{ .Prompt }}' } },
  { field: 'context', body: { context: [1, 2] } },
  { field: 'system', body: { system: 'Be kind.', raw: true } },
  { field: 'images', body: { images: ['/9j/AAAA'], suffix: 'end' } },
])('$field of generate is refused by name where it cannot be kept', async ({ field, body }) => {
  const response = await post(appWith(scripted(['ok'])), '/api/generate', { model: 'test', prompt: 'Hi', ...body });
  expect([response.status, await response.json()]).toEqual([400, { error: expect.stringContaining(`'${field}'`) }]);
});

test('nothing to answer loads the model', async () => {
  const app = appWith(scripted([]));
  expect(await (await post(app, '/api/generate', { model: 'test' })).json()).toMatchObject({
    done: true,
    done_reason: 'load',
  });
  expect((await post(app, '/api/generate', { model: 'nope' })).status).toBe(404);
});

test('a failure is a line with its error', async () => {
  const app = appWith(scripted(['x', new GatewayError('upstream_failed', 'It broke.')]));
  expect((await lines(await post(app, '/api/chat', hello))).at(-1)).toEqual({ error: 'It broke.' });
  const refused = await post(app, '/api/chat', { model: 'nope', messages: hello.messages });
  expect([refused.status, await refused.json()]).toEqual([404, { error: expect.stringContaining('nope') }]);
});

test('tags, show, ps and version tell what apps ask before they chat', async () => {
  const info = {
    id: 'm',
    contextTokens: 2048,
    quantization: 'Q4_1',
    sizeBytes: 9,
    family: 'llama',
    parameters: '135M',
    state: 'ready' as const,
  };
  const app = appWith(scripted([]), {
    describeModel: async () => ({ ownedBy: 'local', created: 1_700_000_000, info }),
  });
  const get = async (path: string) => (await app.request(path)).json();
  const details = { family: 'llama', parameter_size: '135M', quantization_level: 'Q4_1' };
  expect(await get('/api/tags')).toMatchObject({ models: [{ name: 'test:latest', size: 9, details }] });
  expect(await get('/api/ps')).toMatchObject({ models: [{ name: 'test:latest', context_length: 2048 }] });
  expect(await get('/api/version')).toEqual({ version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
  expect(await (await post(app, '/api/show', { model: 'test:latest' })).json()).toMatchObject({
    details,
    model_info: { 'general.architecture': 'llama', 'llama.context_length': 2048 },
    capabilities: ['completion'],
  });
});

test.each([
  ['DELETE', '/api/delete'],
  ['POST', '/api/copy'],
  ['POST', '/api/create'],
  ['POST', '/api/push'],
])('%s %s says that it is not done here, and what is', async (method, path) => {
  const body = JSON.stringify({ model: 'test' });
  const response = await appWith(scripted([])).request(path, { method, body });
  expect([response.status, await response.json()]).toEqual([400, { error: expect.stringMatching(/not/) }]);
  const policy = openPolicy({ ...anonymous, role: 'caller' });
  expect((await appWith(scripted([]), { policy }).request(path, { method, body })).status).toBe(403);
});

test('an administrator’s pull tells its progress line by line, whoever else gets what is there already', async () => {
  async function* pullModel(name: string) {
    if (name === 'gone') throw new GatewayError('model_not_found', 'No such model.');
    yield { status: 'pulling manifest' };
    yield { status: `downloading ${name}`, digest: name, completed: 5, total: 10 };
  }
  const pull = (parts: object, body: object) => post(appWith(scripted([]), { pullModel, ...parts }), '/api/pull', body);
  expect(await lines(await pull({}, { model: 'tiny:latest' }))).toEqual([
    { status: 'pulling manifest' },
    { status: 'downloading tiny', digest: 'tiny', completed: 5, total: 10 },
    { status: 'success' },
  ]);
  expect(await (await pull({}, { model: 'tiny', stream: false })).json()).toEqual({ status: 'success' });
  const gone = await pull({}, { model: 'gone' });
  expect([gone.status, await gone.json()]).toEqual([404, { error: 'No such model.' }]);
  const caller = { policy: openPolicy({ ...anonymous, role: 'caller' as const }) };
  expect(await lines(await pull(caller, { name: 'test:latest' }))).toEqual([{ status: 'success' }]);
  expect((await pull(caller, { model: 'tiny' })).status).toBe(404);
});

test('a name as it is listed here answers in every dialect', async () => {
  const app = appWith(scripted(['Hello']));
  const { models }: Answer = await (await app.request('/api/tags')).json();
  const asked = { model: models[0].name, messages: [{ role: 'user', content: 'Hi' }], max_tokens: 5 };
  for (const path of ['/api/chat', '/v1/chat/completions', '/v1/messages']) {
    expect([path, (await post(app, path, asked)).status]).toEqual([path, 200]);
  }
  await post(app, '/v1/embeddings', { model: models[0].name, input: 'a' });
  expect(app.records.map(({ model }) => model)).toEqual(Array(4).fill('test')); // books and metrics know the route alone
  expect((await app.request(`/v1/models/${models[0].name}`)).status).toBe(200);
  expect((await post(app, '/v1/chat/completions', { ...asked, model: 'none:latest' })).status).toBe(404);
});
