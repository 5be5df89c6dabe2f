import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OnnxHost } from '../../providers/onnx/host.node.ts';
import { createOnnxProvider } from '../../providers/onnx.ts';
import type { Provider } from '../../src/core/provider.ts';
import { always, ask, completion } from '../engine/requests.ts';
import { writeTinyOnnx } from './tiny-onnx.ts';

const installed = await import('@huggingface/transformers').then(
  () => true,
  (error: unknown) => {
    if (process.env['CI']) throw error;
    console.warn('skipped: the optional package @huggingface/transformers is not installed');
    return false;
  },
);

const words = ['<unk>', '<eos>', 'one', 'two', 'three', 'four', 'five'];
/** Each word is followed by the next, the last by the end. */
const follow = words.map((_, i) => words.map((__, j) => (j === (i === words.length - 1 ? 1 : i + 1) ? 9 : 0)));
/** And the last by the first: no end. */
const circle = words.map((_, i) => words.map((__, j) => (j === (i === words.length - 1 ? 2 : i + 1) ? 9 : 0)));
const decoder = { model_type: 'gpt2', architectures: ['GPT2LMHeadModel'], n_layer: 0, n_head: 1, n_embd: 4 };
const encoder = { model_type: 'distilbert', n_layers: 1, n_heads: 1, dim: 2 };

describe.skipIf(!installed)('ONNX models', () => {
  let provider: Provider;
  const hosts = new Map<string, OnnxHost>();
  beforeAll(async () => {
    const counting = await writeTinyOnnx({ words, table: follow, output: 'logits', config: decoder });
    const vectors = words.map((_, i) => [i % 2, 1, (i * i) % 5]);
    const embedding = await writeTinyOnnx({
      words,
      table: vectors,
      output: 'last_hidden_state',
      config: { ...encoder, architectures: ['DistilBertModel'] },
    });
    const scores = words.map((_, i) => (i === 6 ? [-4, 4] : [4, -4]));
    const classifying = await writeTinyOnnx({
      words,
      table: scores,
      output: 'logits',
      average: true,
      config: {
        ...encoder,
        architectures: ['DistilBertForSequenceClassification'],
        id2label: { 0: 'harmless', 1: 'rude' },
        label2id: { harmless: 0, rude: 1 },
      },
    });
    const endless = await writeTinyOnnx({ words, table: circle, output: 'logits', config: decoder });
    provider = createOnnxProvider({
      silenceMs: 8000,
      onStart: (model, host) => hosts.set(model, host),
      models: {
        endless: { path: endless, task: 'text-generation' },
        counting: { path: counting, task: 'text-generation' },
        embedding: { path: embedding, task: 'feature-extraction' },
        classifying: { path: classifying, task: 'text-classification' },
        missing: { path: '/nowhere/at/all', task: 'text-generation' },
      },
    });
  });
  afterAll(() => provider.close?.());

  const count = (rest = {}) => ask(provider, completion('one two', { model: 'counting', maxTokens: 16, ...rest }));

  test('generate text until their end token', async () => {
    const { choices, usage } = await count();
    expect(choices[0]?.text.trim().split(/\s+/)).toEqual(['three', 'four', 'five']);
    expect(choices[0]?.finishReason).toBe('stop');
    expect(usage?.promptTokens).toBe(2);
  });

  test('stop at the token limit', async () => {
    const { choices, usage } = await count({ maxTokens: 2 });
    expect(choices[0]).toMatchObject({ finishReason: 'length' });
    expect(usage?.completionTokens).toBe(2);
  });

  test('stop at a stop text', async () => {
    const { choices } = await count({ stop: ['four'] });
    expect(choices[0]).toMatchObject({
      text: expect.not.stringContaining('four'),
      finishReason: 'stop',
      stopSequence: 'four',
    });
  });

  test('answer several requests, each whole', async () => {
    const answers = await Promise.all([count(), count(), count()]);
    for (const { choices } of answers) expect(choices[0]?.text).toContain('five');
  });

  test('make embeddings of unit length', async () => {
    const result = await provider.embed?.(
      { model: 'embedding', inputs: ['one two', 'five'], extensions: {} },
      always(),
    );
    expect(result?.vectors).toHaveLength(2);
    expect(Math.hypot(...(result?.vectors[0] ?? []))).toBeCloseTo(1, 5);
    expect(result?.usage.promptTokens).toBe(3);
  });

  test('flag a text by its labels, whatever score a harmless one has', async () => {
    const result = await provider.moderate?.({ model: 'classifying', inputs: ['one two', 'five'] }, always());
    expect(result?.results.map(({ flagged, categories }) => [flagged, categories['rude']])).toEqual([
      [true, false], // `harmless` is a label too, and its score is high
      [true, true],
    ]);
    expect(result?.results[1]?.scores['rude']).toBeGreaterThan(0.9);
  });

  test.each([
    { name: 'a folder that is not there', model: 'missing', kind: 'model_unavailable' },
    { name: 'a name that is not there', model: 'none', kind: 'model_not_found' },
    { name: 'a model for another task', model: 'embedding', kind: 'unsupported' },
  ])('refuse $name', async ({ model, kind }) => {
    await expect(ask(provider, completion('one', { model }))).rejects.toMatchObject({ kind });
  });

  test.each([
    { param: 'n', asked: { choices: 2 } },
    { param: 'logprobs', asked: { logprobs: { top: 1 } } },
    { param: 'response_format', asked: { responseFormat: { type: 'json-object' } } },
    { param: 'frequency_penalty', asked: { sampling: { frequencyPenalty: 1 } } },
  ])('refuse $param, which they have no word for', async ({ param, asked }) => {
    await expect(count(asked)).rejects.toMatchObject({ kind: 'unsupported', param });
  });

  test('end when the client leaves', async () => {
    const stop = new AbortController();
    stop.abort();
    await expect(
      ask(provider, completion('one', { model: 'counting' }), { signal: stop.signal }),
    ).rejects.toMatchObject({ kind: 'cancelled' });
  });

  test.each([
    { name: 'killed', signal: 'SIGKILL' },
    { name: 'aborted by native code', signal: 'SIGABRT' },
    { name: 'hung', signal: 'SIGSTOP' },
  ] as const)('fail what ran in a $name child, and nothing else; the next request works', async ({ signal }) => {
    const other = hosts.get('counting')?.pid();
    const events = provider.stream(completion('one', { model: 'endless', maxTokens: 100_000 }), always());
    const answer = (async () => {
      for await (const event of events) {
        if (event.type !== 'text-delta') continue;
        const pid = hosts.get('endless')?.pid();
        if (pid !== undefined) process.kill(pid, signal);
      }
    })();
    await expect(answer).rejects.toMatchObject({ kind: 'engine_failed', retryable: true });
    const { usage } = await ask(provider, completion('one two', { model: 'endless', maxTokens: 4 }));
    expect(usage?.completionTokens).toBe(4);
    expect((await count()).usage?.completionTokens).toBe(4);
    expect(hosts.get('counting')?.pid()).toBe(other);
  });
});
