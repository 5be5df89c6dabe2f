import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { operations } from '../../src/http/operations.ts';
import { docsAsset } from '../../src/node/docs-assets.ts';
import * as answers from '../../src/wire/openai/answers.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { type Answer, post } from './post.ts';

const app = appWith(scripted(['Hello']), { docsAsset });

test('the reference names every route and no other', () => {
  const served = new Set(
    app.routes
      .filter(({ method, path }) => method !== 'ALL' && method !== 'OPTIONS' && path !== '/*')
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`),
  );
  // paths below /v1 answer without it too, and are listed once
  const listed = new Set(
    Object.keys(operations).flatMap((key) => (key.includes(' /v1/') ? [key, key.replace(' /v1/', ' /')] : [key])),
  );
  expect([...served].filter((key) => !listed.has(key))).toEqual([]);
  expect([...listed].filter((key) => !served.has(key))).toEqual([]);
});

test('its page names every header of ours that clients send or get', () => {
  const root = join(import.meta.dirname, '../..');
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.ts$/.test(name),
  );
  const code = files.map((name) => readFileSync(join(root, 'src', name), 'utf8')).join('\n');
  const page = readFileSync(join(root, 'docs/api.md'), 'utf8');
  // between gateways, and between the parts of one at the edge
  const inner = ['x-tidegate-content-sha256', 'x-tidegate-answer'];
  const names = new Set(code.match(/(?<=['"])x-tidegate-[a-z0-9-]+(?=['"])/g));
  expect([...names].filter((name) => !inner.includes(name) && !page.includes(`\`${name}`))).toEqual([]);
});

test('it is OpenAPI 3.1, made of the schemas that parse', async () => {
  const document: Answer = await (await app.request('/openapi.json')).json();
  expect(document.openapi).toBe('3.1.0');
  const chat = document.paths['/v1/chat/completions'].post;
  const body = chat.requestBody.content['application/json'].schema;
  expect(body.required).toEqual(['messages', 'model']);
  expect(body.properties.n.anyOf[0]).toMatchObject({ type: 'integer', minimum: 1, maximum: 128 });
  expect(Object.keys(chat.responses['200'].content)).toEqual(['application/json', 'text/event-stream']);
  const ids = Object.values(document.paths).flatMap((path) =>
    Object.values(path as object).map((one) => one.operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
  const { links } = document.paths['/v1/files'].post.responses['200'];
  expect(Object.values(links as object).every(({ operationId }) => ids.includes(operationId))).toBe(true);
});

test('it tells what each route takes and answers besides JSON', async () => {
  const { paths, servers }: Answer = await (await app.request('/openapi.json')).json();
  expect(servers).toEqual([{ url: '/' }]);
  const limit = paths['/v1/batches'].get.parameters.find(({ name }: Answer) => name === 'limit');
  expect(limit.schema).toEqual({ type: 'integer', minimum: 1, maximum: 100 });
  expect(paths['/v1/streams/{id}'].get.responses['204']).toBeDefined();
  expect(paths['/v1/conversations'].post.requestBody.required).toBe(false);
  const { requestBody, responses } = paths['/v1/audio/transcriptions'].post;
  expect(Object.keys(requestBody.content)).toEqual(['application/json', 'multipart/form-data']);
  expect(Object.keys(responses['200'].content)).toEqual(['*/*']);
});

test.each(['/v1/chat/completions', '/v1/messages', '/api/chat'])(
  'a fault of %s has the form that it tells',
  async (path) => {
    const { paths }: Answer = await (await app.request('/openapi.json')).json();
    const { schema } = paths[path].post.responses['4XX'].content['application/json'];
    z.fromJSONSchema(schema).parse(await (await post(app, path, {})).json());
  },
);

test('an upstream that adds to its answer, or leaves out what may be null, fits the form of a chat completion', async () => {
  const { paths }: Answer = await (await app.request('/openapi.json')).json();
  const { schema } = paths['/v1/chat/completions'].post.responses['200'].content['application/json'];
  const choice = { index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop', stop_reason: null };
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, cost: 0.1 };
  const answer = { id: 'c', object: 'chat.completion', created: 1, model: 'm', choices: [choice], usage };
  expect(z.fromJSONSchema(schema).safeParse(answer).error).toBeUndefined();
});

test('its examples are bodies that are answered', async () => {
  const able = appWith(
    {
      ...scripted(['Hello']),
      embed: async () => ({ vectors: [[1]], usage: { promptTokens: 1, completionTokens: 0 } }),
    },
    { docsAsset },
  );
  const refused: string[] = [];
  for (const [key, { example }] of Object.entries(operations)) {
    if (!example) continue;
    const response = await post(able, key.replace('POST ', ''), { ...example, model: 'test' });
    const { error } = (await response.json()) as Answer;
    // what this small provider can't is refused as unsupported, never as malformed
    if (response.status !== 200 && error.code !== 'unsupported_value') refused.push(key);
  }
  expect(refused).toEqual([]);
});

test('the page and its files come from here', async () => {
  const page = await app.request('/docs');
  expect(page.headers.get('content-type')).toContain('text/html');
  for (const [, file] of (await page.text()).matchAll(/(?:src|href)="(\/docs\/[^"]+)"/g)) {
    const response = await app.request(file ?? '');
    expect([file, response.status]).toEqual([file, 200]);
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(50);
  }
  expect((await app.request('/docs/package.json')).status).toBe(404);
  expect((await app.request('/docs/..%2fpackage.json')).status).toBe(404);
});

const hello = { model: 'test', messages: [{ role: 'user', content: 'Hi' }] };
test.each([
  { path: '/v1/chat/completions', body: hello, form: answers.chatCompletionAnswer() },
  { path: '/v1/completions', body: { model: 'test', prompt: 'x' }, form: answers.completionAnswer() },
  { path: '/v1/responses', body: { model: 'test', input: 'x' }, form: answers.responseAnswerSchema() },
  {
    path: '/v1/responses',
    body: { model: 'test', input: 'x', background: true },
    form: answers.responseAnswerSchema(),
  },
  { path: '/v1/conversations', body: {}, form: answers.conversationAnswer() },
  { path: '/v1/chat/completions', body: {}, form: answers.errorAnswer() },
  { path: '/v1/nowhere', body: {}, form: answers.errorAnswer() },
])('$path answers in the form that the reference tells', async ({ path, body, form }) => {
  form.parse(await (await post(app, path, body)).json());
});

test('models are listed in the form that the reference tells', async () => {
  answers.listOf(answers.modelAnswer()).parse(await (await app.request('/v1/models')).json());
  expect(z.toJSONSchema(answers.modelAnswer())).toMatchObject({ required: expect.arrayContaining(['id', 'owned_by']) });
});
