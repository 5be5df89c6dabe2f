import { beforeAll, describe, expect, test } from 'vitest';
import { createTransformers } from '../../src/filters/transformers.node.ts';
import { writeTinyOnnx } from '../providers/tiny-onnx.ts';
import { filtersOf, finish, said, user } from './harness.ts';

const installed = await import('@huggingface/transformers').then(
  () => true,
  (error: unknown) => {
    if (process.env['CI']) throw error;
    console.warn('skipped: the optional package @huggingface/transformers is not installed');
    return false;
  },
);

const words = ['<unk>', '<eos>', 'harmlessly', 'horrible', 'Lovelace', 'Stockholm'];
const encoder = { model_type: 'distilbert', n_layers: 1, n_heads: 1, dim: 2 };

describe.skipIf(!installed)('filters with real models of @huggingface/transformers', () => {
  const models = createTransformers();
  let rude: string;
  let names: string;
  beforeAll(async () => {
    rude = await writeTinyOnnx({
      words,
      table: words.map((word) => (word === 'horrible' ? [-40, 40] : [1, -1])),
      output: 'logits',
      average: true,
      config: {
        ...encoder,
        architectures: ['DistilBertForSequenceClassification'],
        id2label: { 0: 'safe', 1: 'rude' },
        label2id: { safe: 0, rude: 1 },
      },
    });
    const labels = ['O', 'B-PER', 'B-LOC'];
    const label = (word: string) => (word === 'Lovelace' ? 1 : word === 'Stockholm' ? 2 : 0);
    names = await writeTinyOnnx({
      words,
      table: words.map((word) => labels.map((_, id) => (id === label(word) ? 9 : -9))),
      output: 'logits',
      config: {
        ...encoder,
        architectures: ['DistilBertForTokenClassification'],
        id2label: Object.fromEntries(labels.map((name, id) => [id, name])),
        label2id: Object.fromEntries(labels.map((name, id) => [name, id])),
      },
    });
  });

  const long = 'harmlessly '.repeat(300); // more than a model reads at once

  test('a classifier blocks what its weights say, at the end of a long text too, and lets the rest pass', async () => {
    const filters = filtersOf({ tone: { kind: 'classifier', model: rude, on: 'output' } }, models);
    const bad = await filters.answer([...said(long, 'horrible'), finish]);
    expect(bad.choice).toMatchObject({ text: '', finishReason: 'content-filter' });
    expect(bad.decisions[0]?.detail).toMatch(/^output: rude [01]\.\d\d$/);
    expect((await filters.answer([...said(long), finish])).choice?.text).toBe(long);
  });

  test('names and places are masked before a request leaves, wherever they stand, and restored', async () => {
    const filters = filtersOf({ pii: { kind: 'pii', kinds: ['email'], ner: { model: names }, restore: true } }, models);
    const { request } = await filters.apply(user(`${long}Lovelace harmlessly in Stockholm`));
    const text = JSON.stringify(request.messages);
    expect(text).not.toMatch(/Lovelace|Stockholm/);
    expect(text).toMatch(/\[PERSON_1\] harmlessly in \[PLACE_1\]/);
    const { choice } = await filters.answer([...said('Dear [PERSON_1]'), finish], user('Lovelace harmlessly'));
    expect(choice?.text).toBe('Dear Lovelace');
  });

  test('a model that is not there closes the filter, with the reason on record', async () => {
    const filters = filtersOf({ tone: { kind: 'classifier', model: `${rude}-gone/none`, on: 'output' } }, models);
    const { choice, decisions } = await filters.answer([...said('harmlessly'), finish]);
    expect(choice).toMatchObject({ text: '', finishReason: 'content-filter' });
    expect(decisions[0]?.detail).toContain('no verdict');
  });
});
