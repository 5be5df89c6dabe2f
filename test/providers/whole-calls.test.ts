import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLocalProvider } from '../../providers/local.ts';
import { createOnnxProvider } from '../../providers/onnx.ts';
import { createProvider } from '../../providers/registry.ts';
import type { Provider } from '../../src/core/provider.ts';
import { readable } from '../../src/core/request.ts';
import { chunk, done, type FaultyUpstream, faultyUpstream, finishChunk, json, sse } from '../faulty-upstream.ts';
import { chatRequest, hear, never, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

const of = (entry: object) => createProvider('up', { ...entry, baseUrl: upstream.baseUrl }, { transport });
const options = { signal: never };
const last = () => upstream.requests.at(-1);
const embedding = { model: 'e', inputs: ['a', 'b'], dimensions: 2, extensions: {} };

describe('embeddings', () => {
  const float = (...values: number[]) => Buffer.from(Float32Array.from(values).buffer).toString('base64');
  test.each([
    {
      name: 'OpenAI, in any order',
      entry: { type: 'openai' },
      path: '/v1/embeddings',
      sent: { model: 'e', input: ['a', 'b'], dimensions: 2, encoding_format: 'float' },
      answer: {
        model: 'e1',
        data: [
          { index: 1, embedding: [3, 4] },
          { index: 0, embedding: [1, 2] },
        ],
        usage: { prompt_tokens: 5 },
      },
      tokens: 5,
    },
    {
      name: 'OpenAI, in base64',
      entry: { type: 'openai-compatible' },
      path: '/v1/embeddings',
      sent: { model: 'e', input: ['a', 'b'], dimensions: 2, encoding_format: 'float' },
      answer: { data: [{ embedding: float(1, 2) }, { embedding: float(3, 4) }], usage: { total_tokens: 5 } },
      tokens: 5,
    },
    {
      name: 'Gemini',
      entry: { type: 'gemini' },
      path: '/v1/models/e:batchEmbedContents',
      sent: {
        requests: ['a', 'b'].map((text) => ({
          model: 'models/e',
          content: { parts: [{ text }] },
          outputDimensionality: 2,
        })),
      },
      answer: { embeddings: [{ values: [1, 2] }, { values: [3, 4] }] },
      tokens: 1,
    },
    {
      name: 'Cohere',
      entry: { type: 'cohere' },
      path: '/v1/embed',
      sent: {
        model: 'e',
        texts: ['a', 'b'],
        input_type: 'search_document',
        embedding_types: ['float'],
        output_dimension: 2,
      },
      answer: {
        embeddings: {
          float: [
            [1, 2],
            [3, 4],
          ],
        },
        meta: { billed_units: { input_tokens: 5 } },
      },
      tokens: 5,
    },
  ])('$name', async ({ entry, path, sent, answer, tokens }) => {
    upstream.answer(json(answer));
    const result = await of(entry).embed?.(embedding, options);
    expect([last()?.path, last()?.json]).toEqual([path, sent]);
    expect(result?.vectors.map((vector) => [...vector])).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(result?.usage.promptTokens).toBe(tokens);
  });

  // https://docs.cohere.com/reference/embed, https://ai.google.dev/api/embeddings, https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
  const extra = { input_type: 'query', truncate: 'END', priority: 1, title: 't' };
  test.each([
    { type: 'openai', answer: { data: [{ embedding: [1] }, { embedding: [2] }] }, sent: extra, ignored: undefined },
    {
      type: 'cohere',
      answer: { embeddings: { float: [[1], [2]] } },
      sent: { input_type: 'search_query', truncate: 'END', priority: 1 },
      ignored: ["field 'title'"],
    },
    {
      type: 'gemini',
      answer: { embeddings: [{ values: [1] }, { values: [2] }] },
      sent: {
        requests: [
          { taskType: 'RETRIEVAL_QUERY', title: 't' },
          { taskType: 'RETRIEVAL_QUERY', title: 't' },
        ],
      },
      ignored: ["field 'truncate'", "field 'priority'"],
    },
  ])('fields beside OpenAI’s are carried or told by $type', async ({ type, answer, sent, ignored }) => {
    upstream.answer(json(answer));
    const result = await of({ type }).embed?.({ ...embedding, extensions: extra }, options);
    expect([last()?.json, result?.ignored]).toMatchObject([sent, ignored]);
  });

  test.each([
    { type: 'cohere', extensions: { embedding_types: ['int8'] }, param: 'embedding_types' },
    { type: 'gemini', extensions: { truncate_prompt_tokens: 9 }, param: 'truncate_prompt_tokens' },
    { type: 'local', extensions: { embd_normalize: -1 }, param: 'embd_normalize' },
    { type: 'onnx', extensions: { normalize: false }, param: 'normalize' },
  ])('$type refuses $param, which makes other vectors', async ({ type, extensions, param }) => {
    const here: Readonly<Record<string, () => Provider>> = {
      local: () => createLocalProvider({ models: {} }),
      onnx: () => createOnnxProvider({ models: {} }),
    };
    const provider = here[type]?.() ?? of({ type });
    const asked = provider.embed?.({ ...embedding, extensions }, options);
    await expect(asked).rejects.toMatchObject({ kind: 'unsupported', param });
  });

  test('a vector too few is an error', async () => {
    upstream.answer(json({ data: [{ index: 0, embedding: [1] }] }));
    await expect(of({ type: 'openai' }).embed?.(embedding, options)).rejects.toMatchObject({ kind: 'upstream_failed' });
  });
});

test('texts and pictures are moderated at /moderations', async () => {
  upstream.answer(
    json({ model: 'omni', results: [{ flagged: true, categories: { hate: true }, category_scores: { hate: 0.9 } }] }),
  );
  expect(await of({ type: 'openai' }).moderate?.({ inputs: ['x'] }, options)).toEqual({
    model: 'omni',
    results: [{ flagged: true, categories: { hate: true }, scores: { hate: 0.9 } }],
  });
  expect([last()?.path, last()?.json]).toEqual(['/v1/moderations', { input: ['x'] }]);
  const parts = [{ type: 'image_url', image_url: { url: 'https://a.example/b.png' } }];
  await of({ type: 'openai' }).moderate?.({ inputs: [''], parts }, options);
  expect(last()?.json).toEqual({ input: parts });
});

test('what a server of its own takes of a rerank request reaches it', async () => {
  upstream.answer(json({ results: [{ index: 0, relevance_score: 0.9 }] }));
  const asked = { model: 'r', query: 'q', documents: ['a'], extensions: { truncate_prompt_tokens: 9 } };
  await of({ type: 'vllm' }).rerank?.(asked, options);
  expect(last()?.json).toEqual({ model: 'r', query: 'q', documents: ['a'], truncate_prompt_tokens: 9 });
  await expect(of({ type: 'cohere' }).rerank?.(asked, options)).rejects.toMatchObject({
    param: 'truncate_prompt_tokens',
  });
});

test.each([{ type: 'vllm' }, { type: 'cohere' }])('rerank by $type', async (entry) => {
  upstream.answer(
    json({
      results: [
        { index: 1, relevance_score: 0.9 },
        { index: 0, relevance_score: 0.1 },
      ],
    }),
  );
  const request = { model: 'r', query: 'q', documents: ['a', 'b'], topN: 2 };
  expect((await of(entry).rerank?.(request, options))?.results).toEqual([
    { index: 1, score: 0.9 },
    { index: 0, score: 0.1 },
  ]);
  expect([last()?.path, last()?.json]).toEqual([
    '/v1/rerank',
    { model: 'r', query: 'q', documents: ['a', 'b'], top_n: 2 },
  ]);
});

test('tokens are counted without spending', async () => {
  upstream.answer(json({ input_tokens: 14 }));
  const request = readable(chatRequest({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }));
  expect(await of({ type: 'anthropic' }).countTokens?.(request, options)).toBe(14);
  expect(last()?.json).toEqual({ model: 'm', messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }] });
  upstream.answer(json({ totalTokens: 15 }));
  expect(await of({ type: 'gemini' }).countTokens?.(request, options)).toBe(15);
});

test('raw text completions, with their log-probabilities', async () => {
  const piece = {
    id: 'cmpl-1',
    object: 'text_completion',
    choices: [
      {
        index: 0,
        text: 'Hi',
        finish_reason: null,
        logprobs: { tokens: ['Hi'], token_logprobs: [-0.5], top_logprobs: [{ Ho: -1 }], text_offset: [0] },
      },
    ],
  };
  upstream.answer({ body: [sse(piece, { choices: [{ index: 0, text: '', finish_reason: 'stop' }] }) + done] });
  const base = readable(chatRequest({ model: 'm', messages: [{ role: 'user', content: 'x' }] }));
  const request = {
    ...base,
    messages: [],
    prompt: { text: 'def f(', suffix: ')', echo: false },
    logprobs: { top: 1 },
    maxTokens: 5,
  };
  const { events } = await hear(of({ type: 'vllm' }), request);
  expect(last()?.path).toBe('/v1/completions');
  expect(last()?.json).toMatchObject({ model: 'm', prompt: 'def f(', suffix: ')', max_tokens: 5, logprobs: 1 });
  expect(events).toContainEqual({
    type: 'text-delta',
    choice: 0,
    text: 'Hi',
    logprobs: [{ token: 'Hi', logprob: -0.5, bytes: null, top: [{ token: 'Ho', logprob: -1, bytes: null }] }],
  });
});

test('bodies of other endpoints go through unchanged', async () => {
  upstream.answer({ status: 200, headers: { 'content-type': 'audio/mpeg' }, body: [Uint8Array.of(1, 2, 3)] });
  const answer = await of({ type: 'openai', apiKey: 'k' }).forward?.(
    {
      path: '/audio/speech',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from('{"a":1}'),
    },
    options,
  );
  const bytes: number[] = [];
  for await (const piece of answer?.body ?? []) bytes.push(...piece);
  expect([last()?.path, last()?.text, last()?.headers.authorization, bytes]).toEqual([
    '/v1/audio/speech',
    '{"a":1}',
    'Bearer k',
    [1, 2, 3],
  ]);
});

describe('Workers AI through its binding', () => {
  const ai = (body: string, status = 200) => {
    const runs: { model: string; inputs: Record<string, unknown> }[] = [];
    return {
      runs,
      run: async (model: string, inputs: object) => {
        runs.push({ model, inputs: { ...inputs } });
        return new Response(body, { status, headers: { 'content-type': 'text/event-stream' } });
      },
    };
  };
  const request = readable(
    chatRequest({ model: '@cf/meta/x', stream: true, messages: [{ role: 'developer', content: 'hi' }] }),
  );
  test.each([
    {
      form: 'its own chunks',
      body: `${sse({ response: 'Hel' }, { response: 'lo', usage: { prompt_tokens: 3, completion_tokens: 2 } })}${done}`,
    },
    {
      form: 'chat chunks',
      body:
        sse(chunk({ content: 'Hello' }), finishChunk(), {
          choices: [],
          usage: { prompt_tokens: 3, completion_tokens: 2 },
        }) + done,
    },
  ])('reads $form', async ({ body }) => {
    const binding = ai(body);
    const provider = createProvider('cf', { type: 'workers-ai' }, { transport, ai: binding });
    const heard = await hear(provider, request);
    expect([heard.error, heard.text, heard.finish, heard.usage]).toEqual([
      undefined,
      'Hello',
      ['stop'],
      { promptTokens: 3, completionTokens: 2 },
    ]);
    expect(binding.runs[0]).toMatchObject({
      model: '@cf/meta/x',
      inputs: { messages: [{ role: 'system', content: 'hi' }], stream: true },
    });
  });
  test('an end without [DONE] is an error', async () => {
    const provider = createProvider('cf', { type: 'workers-ai' }, { transport, ai: ai(sse({ response: 'Hel' })) });
    expect((await hear(provider, request)).error?.kind).toBe('upstream_failed');
  });
});
