import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { jensenShannon, populationStability } from '../../src/observability/drift.ts';
import { createQuality } from '../../src/observability/quality.ts';
import { looksRefusing } from '../../src/observability/text-signals.ts';
import { ask, contextOf } from '../request.ts';
import { drain, gatewayWith, scripted } from './harness.ts';

test.each([
  { name: 'equal distributions', reference: [50, 50], current: [500, 500], psi: 0, js: 0 },
  { name: 'a shift', reference: [90, 10], current: [50, 50], psi: 0.8789, js: 0.1468 },
  { name: 'disjoint ones', reference: [100, 0], current: [0, 100], psi: 10.4921, js: 1 },
])('$name have their textbook drift', ({ reference, current, psi, js }) => {
  expect(populationStability(reference, current)).toBeCloseTo(psi, 2);
  expect(jensenShannon(reference, current)).toBeCloseTo(js, 3);
});

test.each([
  ["I'm sorry, but I can't help with that.", true],
  ['I cannot assist with this request.', true],
  ['Sorry seems to be the hardest word, wrote Elton John.', false],
  ['The tide cannot be stopped.', false],
])('%s refuses: %s', (text, refuses) => {
  expect(looksRefusing(text)).toBe(refuses);
});

test('answers that change their language, length and wording are seen to drift, and steady ones are not', async () => {
  const quality = createQuality({ referenceSize: 60, currentSize: 60 });
  const answers = async (text: string, tokens: number, times: number) => {
    const events: CompletionEvent[] = [
      { type: 'text-delta', choice: 0, text, logprobs: [{ token: text, logprob: -0.1, bytes: null, top: [] }] },
      { type: 'finish', choice: 0, reason: 'stop' },
      { type: 'usage', usage: { promptTokens: 30, completionTokens: tokens } },
    ];
    const gateway = gatewayWith({ providers: [scripted('up', events)], watchers: [quality.watch] });
    for (let i = 0; i < times; i++) await drain((await gateway.stream(ask(), contextOf())).events);
  };
  const verdicts = () =>
    Object.fromEntries(quality.report().versions[0]?.signals.map(({ name, verdict }) => [name, verdict]) ?? []);

  await answers('The tide is in and the harbour is full.', 20, 60);
  expect(verdicts()).toMatchObject({ language: 'gathering', 'answer length': 'gathering' });
  await answers('The tide is in and the harbour is full.', 20, 40);
  expect(verdicts()).toMatchObject({
    language: 'steady',
    'answer length': 'steady',
    refusal: 'steady',
    confidence: 'steady',
  });
  await answers('Es tut mir leid, das ist nicht möglich und die Frage ist nicht klar.', 900, 60);
  expect(verdicts()).toMatchObject({
    language: 'drifted',
    'answer length': 'drifted',
    refusal: 'drifted',
    'prompt length': 'steady',
    confidence: 'steady',
  });
});

test('failures, broken JSON and feedback are counted for the version they belong to', async () => {
  const quality = createQuality();
  const json = ask({ responseFormat: { type: 'json-object' } });
  for (const text of ['{"a":1}', '{"a":']) {
    const events: CompletionEvent[] = [
      { type: 'text-delta', choice: 0, text },
      { type: 'finish', choice: 0, reason: 'stop' },
    ];
    const gateway = gatewayWith({ providers: [scripted('up', events)], watchers: [quality.watch] });
    await drain((await gateway.stream(json, contextOf())).events);
  }
  const failing = gatewayWith({
    providers: [scripted('up', [{ type: 'text-delta', choice: 0, text: 'a' }, new Error('gone')])],
    watchers: [quality.watch],
  });
  await expect(failing.stream(ask(), contextOf()).then(({ events }) => drain(events))).rejects.toThrow();
  quality.feedback({ model: 'demo', target: 'up/m', score: 1 });
  quality.feedback({ model: 'demo', target: 'up/m', score: 0 });
  const [version] = quality.report().versions;
  expect(version).toMatchObject({
    model: 'demo',
    target: 'up/m',
    samples: 3,
    errors: 1,
    feedback: { count: 2, mean: 0.5 },
  });
  expect(version?.signals.find(({ name }) => name === 'JSON validity')?.bins).toEqual([
    { label: 'valid', reference: 0.5, current: 0 },
    { label: 'broken', reference: 0.5, current: 0 },
  ]);
});

test('what a client did wrong is no failure of a version', async () => {
  const quality = createQuality();
  for (const kind of ['upstream_rejected', 'unsupported', 'cancelled'] as const) {
    const gateway = gatewayWith({
      providers: [scripted('up', [new GatewayError(kind, 'Not so.')])],
      watchers: [quality.watch],
    });
    await expect(gateway.stream(ask(), contextOf())).rejects.toThrow();
  }
  expect(quality.report().versions).toEqual([]);
});

test('answers far from the usual ones are seen by their embeddings', async () => {
  const embed = async (text: string) => (text.includes('tide') ? [1, 0.05] : [0, 1]);
  const quality = createQuality({ referenceSize: 10, currentSize: 60, embed, embedShare: 1 });
  const say = async (text: string, times: number) => {
    const gateway = gatewayWith({
      providers: [
        scripted('up', [
          { type: 'text-delta', choice: 0, text },
          { type: 'finish', choice: 0, reason: 'stop' },
        ]),
      ],
      watchers: [quality.watch],
    });
    for (let i = 0; i < times; i++) await drain((await gateway.stream(ask(), contextOf())).events);
    await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await say('the tide', 20);
  await say('something else', 40);
  const signal = quality.report().versions[0]?.signals.find(({ name }) => name === 'distance from usual');
  expect(signal?.verdict).toBe('drifted');
});
