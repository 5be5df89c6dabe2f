import type OpenAI from 'openai';
import { toFile } from 'openai';
import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { memoryObjects } from '../../src/core/objects.ts';
import { anonymous } from '../../src/core/run.ts';
import { createActiveRequests } from '../../src/http/active.ts';
import { createBatchRunner } from '../../src/http/batch-runner.ts';
import { defaultHttpOptions } from '../../src/http/env.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { type Answer, post, sdkOf } from './post.ts';

type App = ReturnType<typeof appWith>;
const line = (custom_id: string, body: object = {}, url = '/v1/chat/completions') =>
  JSON.stringify({
    custom_id,
    method: 'POST',
    url,
    body: { model: 'test', messages: [{ role: 'user', content: 'Hi' }], ...body },
  });
async function uploaded(app: App, text: string, purpose: 'batch' | 'user_data' = 'batch') {
  return sdkOf(app).files.create({ file: await toFile(new TextEncoder().encode(text), 'in.jsonl'), purpose });
}
async function ended(app: App, id: string) {
  for (;;) {
    const batch = await sdkOf(app).batches.retrieve(id);
    if (['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) return batch;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
const jsonl = async (app: App, id: string | null | undefined): Promise<Answer[]> =>
  (await (await sdkOf(app).files.content(id ?? '')).text())
    .trim()
    .split('\n')
    .map((text) => JSON.parse(text));
const begin = async (app: App, text: string, endpoint: OpenAI.BatchCreateParams['endpoint'] = '/v1/chat/completions') =>
  sdkOf(app).batches.create({
    input_file_id: (await uploaded(app, text)).id,
    endpoint,
    completion_window: '24h',
    metadata: { job: 'a' },
  });

test('lists hold the caller’s own objects only, in memory too', async () => {
  const objects = memoryObjects();
  await uploaded(appWith(scripted([]), { objects }), 'mine');
  const other = appWith(scripted([]), { objects, policy: openPolicy({ ...anonymous, id: 'other' }) });
  expect((await sdkOf(other).files.list()).data).toEqual([]);
});

test('a file is kept, listed, read byte for byte and deleted', async () => {
  const app = appWith(scripted([]));
  const content = 'a\r\n--boundary\u0000😀';
  const file = await uploaded(app, content, 'user_data');
  expect(file).toMatchObject({
    id: expect.stringMatching(/^file-/),
    object: 'file',
    filename: 'in.jsonl',
    purpose: 'user_data',
    status: 'processed',
    bytes: new TextEncoder().encode(content).length,
  });
  const sent = await sdkOf(app).files.content(file.id);
  expect(await sent.text()).toBe(content);
  // A browser that is led there neither shows nor runs what somebody uploaded.
  expect(sent.headers.get('content-disposition')).toBe('attachment');
  expect(sent.headers.get('x-content-type-options')).toBe('nosniff');
  await uploaded(app, 'b', 'batch');
  expect((await sdkOf(app).files.list({ purpose: 'user_data' })).data.map((one) => one.id)).toEqual([file.id]);
  expect(await sdkOf(app).files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true });
  await expect(sdkOf(app).files.retrieve(file.id)).rejects.toMatchObject({ status: 404 });
});

test.each([
  { name: 'no form', body: '{}', type: 'application/json', status: 415, param: null },
  { name: 'a broken form', body: 'x', type: 'multipart/form-data; boundary=tidegateform', status: 400, param: null },
  {
    name: 'no file',
    body: '--tidegateform\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--tidegateform--\r\n',
    type: 'multipart/form-data; boundary=tidegateform',
    status: 400,
    param: 'file',
  },
  {
    name: 'an unknown purpose',
    body: '--tidegateform\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfun\r\n--tidegateform\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--tidegateform--\r\n',
    type: 'multipart/form-data; boundary=tidegateform',
    status: 400,
    param: 'purpose',
  },
])('$name is refused', async ({ body, type, status, param }) => {
  const response = await appWith(scripted([])).request('/v1/files', {
    method: 'POST',
    headers: { 'content-type': type },
    body,
  });
  expect([response.status, ((await response.json()) as Answer).error.param]).toEqual([status, param]);
});

test('a batch answers every line, in the order of its input, at batch priority', async () => {
  const provider = scripted(['Hello']);
  const app = appWith(provider);
  const batch = await begin(app, `${line('a')}\n\n${line('b')}\r\n${line('c', { model: 'nope' })}\n`);
  expect(batch).toMatchObject({ object: 'batch', status: 'validating', metadata: { job: 'a' }, output_file_id: null });
  expect(batch).not.toHaveProperty('caller');
  const done = await ended(app, batch.id);
  expect(done).toMatchObject({
    status: 'completed',
    request_counts: { total: 3, completed: 2, failed: 1 },
    usage: { total_tokens: 8 },
  });
  expect(
    (await jsonl(app, done.output_file_id)).map((one) => [
      one.custom_id,
      one.response.status_code,
      one.response.body.choices[0].message.content,
    ]),
  ).toEqual([
    ['a', 200, 'Hello'],
    ['b', 200, 'Hello'],
  ]);
  expect(await jsonl(app, done.error_file_id)).toMatchObject([
    { custom_id: 'c', response: { status_code: 404, body: { error: { code: 'model_not_found' } } } },
  ]);
  expect(provider.requests.map((request) => request.priority)).toEqual(['batch', 'batch']);
  expect((await sdkOf(app).batches.list()).data.map((one) => one.id)).toEqual([batch.id]);
});

test.each([
  { endpoint: '/v1/responses' as const, body: { input: 'Hi', messages: undefined }, answer: { object: 'response' } },
  {
    endpoint: '/v1/completions' as const,
    body: { prompt: 'Hi', messages: undefined },
    answer: { object: 'text_completion' },
  },
])('$endpoint runs in batches too', async ({ endpoint, body, answer }) => {
  const app = appWith(scripted(['Hello']));
  const done = await ended(app, (await begin(app, line('a', body, endpoint), endpoint)).id);
  expect(await jsonl(app, done.output_file_id)).toMatchObject([{ response: { status_code: 200, body: answer } }]);
});

test('a bad line fails the whole batch before anything is spent, naming line and fault', async () => {
  const provider = scripted(['Hello']);
  const app = appWith(provider);
  const lines = [
    line('a'),
    '{',
    line('a'),
    line('b', {}, '/v1/embeddings'),
    '{"custom_id":"c","method":"GET"}',
    line('d', { stream: true }),
  ];
  const done = await ended(app, (await begin(app, lines.join('\n'))).id);
  expect(done.status).toBe('failed');
  expect(done.errors?.data?.map((one) => [one.line, one.code])).toEqual([
    [2, 'invalid_json_line'],
    [3, 'duplicate_custom_id'],
    [4, 'mismatched_endpoint'],
    [5, 'invalid_method'],
    [6, 'invalid_value'],
  ]);
  expect(provider.requests).toHaveLength(0);
});

test('a cancelled batch keeps what was done', async () => {
  let calls = 0;
  const provider = {
    ...scripted([]),
    stream: (...args: Parameters<ReturnType<typeof scripted>['stream']>) =>
      scripted(calls++ === 0 ? ['Hello'] : ['x', 60_000]).stream(...args),
  };
  const objects = memoryObjects();
  const app = appWith(provider, { objects });
  const batch = await begin(app, [line('a'), line('b'), line('c')].join('\n'));
  const page = { limit: 10, order: 'asc' } as const;
  while ((await objects.list('batch-line', 'anonymous', page)).items.length < 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect((await sdkOf(app).batches.cancel(batch.id)).status).toBe('cancelling');
  const done = await ended(app, batch.id);
  expect(done).toMatchObject({ status: 'cancelled', request_counts: { total: 3, completed: 1 }, error_file_id: null });
  expect((await jsonl(app, done.output_file_id)).map((one) => one.custom_id)).toEqual(['a']);
  await expect(sdkOf(app).batches.cancel(batch.id)).rejects.toMatchObject({ status: 409 });
});

test('a batch ends when its key is taken back, and is not begun after that', async () => {
  const objects = memoryObjects();
  let revoked = false;
  const provider = scripted(['x', 60_000]);
  const { gateway } = appWith(provider, { objects });
  const batches = createBatchRunner({
    ...{ gateway, policy: openPolicy(anonymous), active: createActiveRequests(), options: defaultHttpOptions, objects },
    leaseMs: 60,
    isRevoked: async (id) => revoked && id === 'anonymous',
  });
  const app = appWith(provider, { objects, batches });
  const batch = await begin(app, [line('a'), line('b')].join('\n'));
  while (provider.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  revoked = true;
  expect(await ended(app, batch.id)).toMatchObject({ status: 'cancelled', request_counts: { completed: 0 } });
  expect(await ended(app, (await begin(app, line('c'))).id)).toMatchObject({ status: 'cancelled' });
  expect(provider.requests).toHaveLength(2);
});

test('a batch that a stop cut short goes on afterwards: nothing lost, nothing twice', async () => {
  const objects = memoryObjects();
  const asked: string[] = [];
  let stopAfter = 5;
  const provider = {
    ...scripted([]),
    stream: (...args: Parameters<ReturnType<typeof scripted>['stream']>) => {
      asked.push(args[0].user ?? '');
      return scripted(--stopAfter < 0 ? ['x', 60_000] : ['Hello']).stream(...args);
    },
  };
  const active = createActiveRequests();
  const before = appWith(provider, { objects, active });
  const lines = Array.from({ length: 20 }, (_, index) => line(`r${index}`, { user: `u${index}` }));
  const batch = await begin(before, lines.join('\n'));
  while (stopAfter > -4) await new Promise((resolve) => setTimeout(resolve, 5));
  active.close();
  active.abortAll();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const kept = await objects.list('batch-line', 'anonymous', { limit: 100, order: 'asc' });
  expect(kept.items).toHaveLength(5);

  stopAfter = 1000;
  const cut = asked.splice(0);
  const after = appWith(provider, { objects });
  const batches = createBatchRunner({
    gateway: after.gateway,
    policy: openPolicy(anonymous),
    active: createActiveRequests(),
    options: defaultHttpOptions,
    objects,
  });
  await batches.resume();
  const done = await ended(after, batch.id);
  expect(done).toMatchObject({ status: 'completed', request_counts: { total: 20, completed: 20, failed: 0 } });
  expect((await jsonl(after, done.output_file_id)).map((one) => one.custom_id)).toEqual(
    lines.map((_, index) => `r${index}`),
  );
  expect(cut.slice(0, 5).some((user) => asked.includes(user))).toBe(false);
  expect((await objects.list('batch-line', 'anonymous', { limit: 100, order: 'asc' })).items).toEqual([]);
});

test('a line that finds no room is tried again', async () => {
  let calls = 0;
  const provider = {
    ...scripted([]),
    stream: (...args: Parameters<ReturnType<typeof scripted>['stream']>) =>
      scripted(calls++ === 0 ? [new GatewayError('rate_limited', 'Wait.', { retryAfterMs: 5 })] : ['Hello']).stream(
        ...args,
      ),
  };
  const app = appWith(provider);
  expect(await ended(app, (await begin(app, line('a'))).id)).toMatchObject({
    request_counts: { completed: 1, failed: 0 },
  });
});

test.each([
  { name: 'an unknown file', body: { input_file_id: 'file-x' }, status: 404, param: 'input_file_id' },
  { name: 'an unknown endpoint', body: { endpoint: '/v1/audio/speech' }, status: 400, param: 'endpoint' },
  { name: 'another window', body: { completion_window: '1h' }, status: 400, param: 'completion_window' },
])('$name is refused', async ({ body, status, param }) => {
  const app = appWith(scripted([]));
  const { id } = await uploaded(app, line('a'));
  const response = await post(app, '/v1/batches', {
    input_file_id: id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    ...body,
  });
  expect([response.status, ((await response.json()) as Answer).error.param]).toEqual([status, param]);
});

test('a file that was uploaded for something else is no batch', async () => {
  const app = appWith(scripted([]));
  const { id } = await uploaded(app, line('a'), 'user_data');
  const asked = { input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' };
  const response = await post(app, '/v1/batches', asked);
  expect([response.status, ((await response.json()) as Answer).error.param]).toEqual([400, 'input_file_id']);
});

test('stored chats can be listed by model and metadata, changed, read with their messages, and deleted', async () => {
  const app = appWith(scripted(['Hello']));
  const client = sdkOf(app);
  const ask = (metadata: Record<string, string>, stream: boolean) =>
    client.chat.completions.create({
      model: 'test',
      store: true,
      metadata,
      stream,
      messages: [{ role: 'user', content: 'Hi' }],
    } as OpenAI.ChatCompletionCreateParamsNonStreaming);
  const one = await ask({ topic: 'a' }, false);
  const streamed: Answer[] = [];
  for await (const chunk of (await ask({ topic: 'b' }, true)) as Answer) streamed.push(chunk);
  const listed = await client.chat.completions.list({ model: 'test' });
  expect(listed.data.map((completion) => completion.id)).toEqual([one.id, streamed[0].id]);
  expect(
    (await client.chat.completions.list({ metadata: { topic: 'b' } })).data.map(
      (completion) => completion.choices[0]?.message.content,
    ),
  ).toEqual(['Hello']);
  await client.chat.completions.update(one.id, { metadata: { topic: 'c' } });
  const { metadata: _, ...kept } = (await client.chat.completions.retrieve(one.id)) as Answer;
  expect(kept).toEqual(one);
  expect((await client.chat.completions.messages.list(one.id)).data).toMatchObject([{ role: 'user', content: 'Hi' }]);
  expect(await client.chat.completions.delete(one.id)).toMatchObject({ deleted: true });
  await expect(client.chat.completions.retrieve(one.id)).rejects.toMatchObject({ status: 404 });
});
