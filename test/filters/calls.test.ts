import { expect, test } from 'vitest';
import { json } from '../faulty-upstream.ts';
import { post } from '../http/post.ts';
import { filteredApp, upstream } from './upstream.ts';

/** In every text of a request: none may reach the upstream, whatever is asked of it. */
const mail = 'jane.planted@example.org';

const scored = { results: [{ index: 0, relevance_score: 1 }] };
const vectors = {
  object: 'list',
  data: [{ index: 0, embedding: [1, 2] }],
  usage: { prompt_tokens: 1, total_tokens: 1 },
};

const asked: readonly (readonly [string, string, object, object])[] = [
  ['openai-compatible', '/v1/embeddings', { input: [`to ${mail}`], user: mail, other: { mail } }, vectors],
  ['openai-compatible', '/api/embed', { input: mail }, vectors],
  ['openai-compatible', '/v1/audio/speech', { input: mail, voice: 'alloy' }, {}],
  ['openai-compatible', '/v1/images/generations', { prompt: mail, n: 1 }, {}],
  ['openai-compatible', '/v1/moderations', { input: mail }, { model: 'm', results: [{ flagged: false }] }],
  ['cohere', '/v1/rerank', { query: mail, documents: [mail, 'x'] }, scored],
  ['anthropic', '/v1/messages/count_tokens', { messages: [{ role: 'user', content: mail }] }, { input_tokens: 3 }],
];

test.each(asked)('%s: what personal data %s holds stays here', async (type, path, body, answer) => {
  upstream.answer(json(answer));
  const before = upstream.requests.length;
  const response = await post(filteredApp({ pii: { kind: 'pii', restore: true } }, false, type), path, {
    ...body,
    model: 'test',
  });
  const sent = upstream.requests.slice(before).map(({ text }) => text);
  expect(sent.join('')).not.toContain('planted');
  expect(sent.join('')).toContain('[EMAIL_1]');
  expect(response.status).toBe(200);
});

test('the fields of a form are read too, and its files go as they are', async () => {
  upstream.answer(json({ text: 'ok' }));
  const form = new FormData();
  form.set('model', 'test');
  form.set('prompt', `from ${mail}`);
  form.set('file', new File([mail], 'a.wav'));
  const app = filteredApp({ pii: { kind: 'pii', restore: true } });
  expect((await app.request('/v1/audio/transcriptions', { method: 'POST', body: form })).status).toBe(200);
  const sent = upstream.requests.at(-1)?.text ?? '';
  expect(sent).toContain('from [EMAIL_1]');
  expect(sent.match(/planted/g)).toHaveLength(1);
  expect(sent).toContain('filename="a.wav"');
});

test.each([['/v1/embeddings'], ['/v1/audio/speech'], ['/v1/moderations']])(
  '%s: a filter that refuses a request refuses this one, before it leaves',
  async (path) => {
    const app = filteredApp({ words: { kind: 'patterns', phrases: ['planted'], action: 'block', on: 'input' } });
    const before = upstream.requests.length;
    const response = await post(app, path, { model: 'test', input: mail });
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: object }).error).toMatchObject({ code: 'content_policy_violation' });
    expect(upstream.requests).toHaveLength(before);
  },
);

test('token ids, which no filter can read, are refused where one must', async () => {
  const app = filteredApp({ pii: { kind: 'pii', action: 'mask' } });
  expect((await post(app, '/v1/embeddings', { model: 'test', input: [1, 2] })).status).toBe(400);
});

test('a chat’s schema and cache key hold none either', async () => {
  upstream.answer(json({ choices: [{ message: { content: '{}' }, finish_reason: 'stop' }] }));
  const schema = { type: 'object', properties: { to: { enum: [mail] } } };
  await post(filteredApp({ pii: { kind: 'pii', restore: true } }), '/v1/chat/completions', {
    model: 'test',
    messages: [{ role: 'user', content: 'Hi' }],
    prompt_cache_key: mail,
    response_format: { type: 'json_schema', json_schema: { name: 'x', description: mail, schema } },
  });
  expect(upstream.requests.at(-1)?.json).toMatchObject({
    prompt_cache_key: '[EMAIL_1]',
    response_format: {
      json_schema: { description: '[EMAIL_1]', schema: { properties: { to: { enum: ['[EMAIL_1]'] } } } },
    },
  });
});
