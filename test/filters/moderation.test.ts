import { expect, test } from 'vitest';
import { createGuard } from '../../providers/guard.ts';
import { scoreByClassifier, scoreByJudge } from '../../src/filters/moderation.ts';
import { joinTokens } from '../../src/filters/transformers.node.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { appWith } from '../app.ts';
import { post } from '../http/post.ts';
import { scripted } from '../scripted.ts';

const appOf = (score: Parameters<typeof createGuard>[0]['score']) => {
  const provider = createGuard({ score, model: 'judge', threshold: 0.5 });
  const routing = createRouting([
    { name: 'test', filters: [], targets: [{ name: 'scripted/m', provider: scripted(['x']), model: 'm' }] },
    { name: 'omni-moderation-latest', filters: [], targets: [{ name: 'guard/judge', provider, model: 'judge' }] },
  ]);
  return appWith(provider, { routing });
};

test('a judge model answers moderations in OpenAI’s shape, one result for each input', async () => {
  const app = appOf(
    scoreByJudge(
      async ({ variables }) => `{"violence": ${variables['text'] === 'bad' ? 0.9 : 0}, "hate": 0.2}`,
      'm',
      'guard/safety',
    ),
  );
  const response = await post(app, '/v1/moderations', { input: ['good', 'bad'] });
  expect(response.status).toBe(200);
  const { results } = await response.json();
  expect(results.map(({ flagged }: { flagged: boolean }) => flagged)).toEqual([false, true]);
  expect(results[1]).toMatchObject({ categories: { violence: true, hate: false }, category_scores: { violence: 0.9 } });
  expect(Object.keys(results[1].categories)).toHaveLength(13);
});

test('a judge that gives no scores is an upstream failure, never an all-clear', async () => {
  const app = appOf(scoreByJudge(async () => 'I cannot say.', 'm', 'guard/safety'));
  expect((await post(app, '/v1/moderations', { input: 'x' })).status).toBe(502);
});

test('a classifier’s labels are read as the category they mean', async () => {
  const score = scoreByClassifier(
    async () => [
      { label: 'toxic', score: 0.7 },
      { label: 'S3', score: 0.6 },
      { label: 'OK', score: 0.1 },
    ],
    'm',
  );
  expect(await score('x', new AbortController().signal)).toEqual({ harassment: 0.7, 'sexual/minors': 0.6 });
});

test('word pieces with BIO labels are parts of the text', () => {
  const tokens = [
    { entity: 'O', word: 'Hi', score: 1 },
    { entity: 'B-PER', word: 'Jo', score: 0.9 },
    { entity: 'I-PER', word: '##hn', score: 0.95 },
    { entity: 'I-PER', word: 'O', score: 0.9 },
    { entity: 'I-PER', word: "'", score: 0.9 },
    { entity: 'I-PER', word: 'Neil', score: 0.9 },
    { entity: 'B-LOC', word: 'Paris', score: 0.8 },
    { entity: 'B-ORG', word: 'ACME', score: 0.8 },
  ];
  expect(joinTokens("Hi John O'Neil from Paris, ACME", tokens)).toEqual([
    { label: 'person', text: "John O'Neil", score: 0.9 },
    { label: 'place', text: 'Paris', score: 0.8 },
  ]);
});
