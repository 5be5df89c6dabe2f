import { expect, test } from 'vitest';
import { webDigest } from '../../src/core/digest.ts';
import type { CompletionEvent, TokenLogprob } from '../../src/core/event.ts';
import { anonymous, type Caller } from '../../src/core/run.ts';
import { createKeyring } from '../../src/policy/keyring.ts';
import { createPolicy } from '../../src/policy/policy.ts';
import { appWith, sse } from '../app.ts';
import { scripted } from '../scripted.ts';
import { type Answer, post } from './post.ts';

const token = (text: string, logprob: number): TokenLogprob => ({
  token: text,
  logprob,
  bytes: null,
  top: [{ token: text, logprob, bytes: null }],
});
const said = (choice: number, text: string, logprob = -1): CompletionEvent => ({
  type: 'text-delta',
  choice,
  text,
  logprobs: [token(text, logprob)],
});
const end = (choice: number): CompletionEvent => ({ type: 'finish', choice, reason: 'stop' });
const complete = (app: ReturnType<typeof appWith>, body: object) =>
  post(app, '/v1/completions', { model: 'test', ...body });

test('a text is completed, sixteen tokens unless told otherwise', async () => {
  const provider = scripted(['a', 'b']);
  expect(await (await complete(appWith(provider), { prompt: 'x' })).json()).toMatchObject({
    id: expect.stringMatching(/^cmpl-/),
    object: 'text_completion',
    choices: [{ text: 'ab', index: 0, logprobs: null, finish_reason: 'stop' }],
    usage: { total_tokens: 5 },
  });
  expect(provider.requests[0]).toMatchObject({ prompt: { text: 'x', echo: false }, maxTokens: 16, messages: [] });
  await complete(appWith(provider), { prompt: 'x', n_predict: -1 });
  expect(provider.requests[1]?.maxTokens).toBeUndefined();
});

test('several prompts are numbered through, whole and streamed', async () => {
  const app = appWith(scripted([said(0, 'a'), said(1, 'b'), end(0), end(1)]));
  const whole = (await (await complete(app, { prompt: ['x', 'y'], n: 2 })).json()) as Answer;
  expect(whole.choices.map((choice: Answer) => [choice.index, choice.text])).toEqual([
    [0, 'a'],
    [1, 'b'],
    [2, 'a'],
    [3, 'b'],
  ]);
  expect(whole.usage.prompt_tokens).toBe(6);
  const chunks = (await sse(
    await complete(app, { prompt: ['x', 'y'], n: 2, stream: true, stream_options: { include_usage: true } }),
  )) as Answer[];
  expect(chunks.at(-1)).toBe('[DONE]');
  expect(chunks.at(-2)).toMatchObject({ choices: [], usage: { prompt_tokens: 6 } });
  const texts = ['', '', '', ''];
  for (const chunk of chunks.slice(0, -2)) for (const choice of chunk.choices) texts[choice.index] += choice.text;
  expect(texts).toEqual(['a', 'b', 'a', 'b']);
});

test('prompts that cannot all be begun leave nothing behind that was begun', async () => {
  const caller: Caller = { ...anonymous, limits: { streams: 1 } };
  const keyring = { ...createKeyring({ digest: webDigest() }), authenticate: () => caller };
  const provider = scripted(['a', 'b']);
  const app = appWith(provider, { policy: createPolicy({ keyring }) });
  const refused = await complete(app, { prompt: ['x', 'y'] });
  expect(refused.status).toBe(429);
  expect(provider.aborted).toBe(1);
  expect((await complete(app, { prompt: 'z' })).status).toBe(200);
});

test('token ids are a prompt, lists of them are several', async () => {
  const provider = scripted(['a']);
  await complete(appWith(provider), { prompt: [1, 2] });
  await complete(appWith(provider), { prompt: [[1], [2]] });
  expect(provider.requests.map((request) => request.prompt?.text)).toEqual([[1, 2], [1], [2]]);
});

test('log-probabilities have the legacy form', async () => {
  const app = appWith(scripted([said(0, 'He', -0.5), said(0, 'y', -Infinity), end(0)]));
  const body = (await (await complete(app, { prompt: 'x', logprobs: 1 })).json()) as Answer;
  expect(body.choices[0].logprobs).toEqual({
    tokens: ['He', 'y'],
    token_logprobs: [-0.5, -9999],
    top_logprobs: [{ He: -0.5 }, { y: -9999 }],
    text_offset: [0, 2],
  });
});

test('best_of gives the likeliest', async () => {
  const app = appWith(scripted([said(0, 'bad', -5), said(1, 'good', -0.1), end(0), end(1)]));
  const body = (await (await complete(app, { prompt: 'x', best_of: 2 })).json()) as Answer;
  expect(body.choices.map((choice: Answer) => choice.text)).toEqual(['good']);
});

test.each([
  { name: 'best_of below n', body: { n: 3, best_of: 2 }, param: 'best_of' },
  { name: 'best_of streamed', body: { best_of: 2, stream: true }, param: 'best_of' },
  { name: 'six log-probabilities', body: { logprobs: 6 }, param: 'logprobs' },
  { name: 'a prompt of mixed types', body: { prompt: ['a', 1] }, param: 'prompt[1]' },
])('$name is refused', async ({ body, param }) => {
  const response = await complete(appWith(scripted(['a'])), { prompt: 'x', ...body });
  expect(response.status).toBe(400);
  expect(((await response.json()) as Answer).error.param).toBe(param);
});
