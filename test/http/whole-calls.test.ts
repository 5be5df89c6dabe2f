import { expect, test } from 'vitest';
import type { EmbeddingRequest, ModerationRequest } from '../../src/core/provider.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { type Answer, post } from './post.ts';

const usage = { promptTokens: 4, completionTokens: 0 };
const seen: EmbeddingRequest[] = [];
const able = {
  ...scripted(['x']),
  embed: async (request: EmbeddingRequest) => {
    seen.push(request);
    return { vectors: request.inputs.map((_, index) => [index, 0.5]), usage };
  },
  rerank: async () => ({
    results: [
      { index: 1, score: 0.9 },
      { index: 0, score: 0.1 },
    ],
    usage,
  }),
  moderate: async () => ({
    model: 'm',
    results: [{ flagged: true, categories: { violence: true }, scores: { violence: 0.9 } }],
  }),
  tokenize: async () => [1, 2, 3],
  detokenize: async () => 'abc',
  applyTemplate: async () => '<|user|>Hi',
};
const app = appWith(able);
const answer = async (path: string, body: object): Promise<Answer> => (await post(app, path, body)).json();

test.each([
  { name: 'a text', input: 'a', inputs: ['a'] },
  { name: 'texts', input: ['a', 'b'], inputs: ['a', 'b'] },
  { name: 'token ids', input: [1, 2], inputs: [[1, 2]] },
  { name: 'lists of token ids', input: [[1], [2]], inputs: [[1], [2]] },
])('$name is embedded', async ({ input, inputs }) => {
  const body = await answer('/v1/embeddings', { model: 'test', input });
  expect(seen.at(-1)?.inputs).toEqual(inputs);
  expect(body).toMatchObject({ object: 'list', model: 'test', usage: { prompt_tokens: 4, total_tokens: 4 } });
  expect(body.data.map((one: Answer) => [one.object, one.index, one.embedding])).toEqual(
    inputs.map((_, index) => ['embedding', index, [index, 0.5]]),
  );
});

test('what vectors and scores were made without is told', async () => {
  const ignored = ["field 'truncate'"];
  const made = { ...able, embed: async () => ({ vectors: [[1]], usage, ignored }) };
  const reply = await post(appWith(made), '/v1/embeddings', { model: 'test', input: 'a', truncate: 'END' });
  expect([reply.status, reply.headers.get('x-tidegate-warning')]).toEqual([200, "ignored: field 'truncate'"]);
});

test('base64 embeddings are little-endian float32', async () => {
  const body = await answer('/v1/embeddings', { model: 'test', input: ['a', 'b'], encoding_format: 'base64' });
  const bytes = Buffer.from(body.data[1].embedding, 'base64');
  expect([bytes.readFloatLE(0), bytes.readFloatLE(4)]).toEqual([1, 0.5]);
});

test('documents are ranked, given back when asked for', async () => {
  const body = await answer('/v1/rerank', {
    model: 'test',
    query: 'q',
    documents: ['a', { text: 'b' }],
    top_n: 1,
    return_documents: true,
  });
  expect(body.results).toEqual([{ index: 1, relevance_score: 0.9, document: { text: 'b' } }]);
});

test('moderation always tells all thirteen categories', async () => {
  const body = await answer('/v1/moderations', { input: 'x' });
  expect(body.results[0]).toMatchObject({ flagged: true, categories: { violence: true, 'hate/threatening': false } });
  expect(Object.keys(body.results[0].category_scores)).toHaveLength(13);
});

const picture = { type: 'image_url', image_url: { url: 'https://a.example/b.png' } };
test('pictures are moderated by who can see them, and never called harmless unseen', async () => {
  const input = [{ type: 'text', text: 'x' }, picture];
  const blind = await post(app, '/v1/moderations', { input });
  expect([blind.status, ((await blind.json()) as Answer).error.param]).toEqual([400, 'input']);

  const asked: unknown[] = [];
  const inputTypes = { violence: ['text', 'image'] };
  const seeing = {
    ...able,
    capabilities: { ...able.capabilities, images: true },
    moderate: async (request: ModerationRequest) => {
      asked.push(request.parts);
      return { model: 'm', results: [{ flagged: false, categories: {}, scores: {}, inputTypes }] };
    },
  };
  const body: Answer = await (await post(appWith(seeing), '/v1/moderations', { input })).json();
  expect([asked, body.results[0].category_applied_input_types]).toMatchObject([[input], inputTypes]);
});

test('the engine’s own routes answer without a model name', async () => {
  expect(await answer('/tokenize', { content: 'abc' })).toEqual({ tokens: [1, 2, 3], count: 3 });
  expect(await answer('/detokenize', { tokens: [1, 2, 3] })).toMatchObject({ content: 'abc' });
  expect(await answer('/apply-template', { messages: [{ role: 'user', content: 'Hi' }] })).toEqual({
    prompt: '<|user|>Hi',
  });
});

test.each([
  { name: 'no input', path: '/v1/embeddings', body: { model: 'test' }, param: 'input' },
  { name: 'an empty list', path: '/v1/embeddings', body: { model: 'test', input: [] }, param: 'input' },
  { name: 'an empty text', path: '/v1/embeddings', body: { model: 'test', input: '' }, param: 'input' },
  { name: 'no documents', path: '/v1/rerank', body: { model: 'test', query: 'q' }, param: 'documents' },
  { name: 'nothing to tokenise', path: '/tokenize', body: {}, param: 'content' },
  { name: 'an unknown model', path: '/v1/embeddings', body: { model: 'nope', input: 'a' }, param: 'model' },
])('$name is refused, naming $param', async ({ path, body, param }) => {
  const response = await post(app, path, body);
  expect(response.status).toBeGreaterThanOrEqual(400);
  expect(response.status).toBeLessThan(500);
  expect(((await response.json()) as Answer).error.param).toBe(param);
});

test('a model that can’t is refused openly', async () => {
  const response = await post(appWith(scripted(['x'])), '/v1/embeddings', { model: 'test', input: 'a' });
  expect([response.status, ((await response.json()) as Answer).error.code]).toEqual([400, 'unsupported_value']);
});
