import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type BatchCandidate,
  planStep,
  prefillBudget,
  prefillPiece,
  promptGrain,
} from '../../src/engine/batch-policy.ts';

const sequence = (slot: number, pendingTokens: number, rest: Partial<BatchCandidate> = {}): BatchCandidate => ({
  slot,
  pendingTokens,
  decoding: pendingTokens === 1,
  order: slot,
  adapters: '',
  alone: false,
  lastStep: 0,
  ...rest,
});

test.each([
  {
    name: 'decodes all in ascending slot order',
    in: [sequence(3, 1), sequence(0, 1)],
    out: [
      [0, 1],
      [3, 1],
    ],
  },
  {
    name: 'reads a prompt in bounded pieces beside decoding',
    in: [sequence(0, 1), sequence(1, 900)],
    out: [
      [0, 1],
      [1, 32],
    ],
  },
  { name: 'reads a prompt alone in pieces too', in: [sequence(1, 900)], out: [[1, 32]] },
  { name: 'takes the short rest of a prompt along', in: [sequence(1, 45), sequence(2, 45)], out: [[1, 45]] },
  {
    name: 'reads prompts in order of arrival',
    in: [sequence(0, 1), sequence(1, 900, { order: 9 }), sequence(2, 20, { order: 1 })],
    out: [
      [0, 1],
      [1, 8],
      [2, 20],
    ],
  },
  {
    name: 'keeps adapters apart',
    in: [sequence(0, 1, { lastStep: 4 }), sequence(1, 1, { adapters: 'x' })],
    out: [[1, 1]],
  },
  {
    name: 'gives a sequence that wants to be alone its own step',
    in: [sequence(0, 1, { lastStep: 4 }), sequence(1, 1, { alone: true })],
    out: [[1, 1]],
  },
  {
    name: 'reads the end of a prompt as it is read when the rest is cached',
    in: [sequence(0, 90)],
    prefillTokens: 128,
    out: [[0, 64]],
  },
  {
    name: 'reads no tile of attention at the end of a prompt of whole tiles',
    in: [sequence(0, 128)],
    prefillTokens: 128,
    out: [[0, 72]],
  },
  {
    name: 'reads a sequence that wants to be alone in pieces that do not depend on speed',
    in: [sequence(0, 900, { alone: true })],
    prefillTokens: 256,
    out: [[0, 40]],
  },
  { name: 'has nothing to do for nobody', in: [], out: [] },
])('$name', ({ in: candidates, prefillTokens = 32, out }) => {
  expect(planStep(candidates, { batchTokens: 512, prefillTokens }).map(({ slot, tokens }) => [slot, tokens])).toEqual(
    out,
  );
});

test('a step never exceeds the batch and always makes progress', () => {
  const any = fc.array(fc.tuple(fc.integer({ min: 1, max: 2000 }), fc.boolean()), { minLength: 1, maxLength: 16 });
  fc.assert(
    fc.property(any, fc.integer({ min: 16, max: 512 }), (shapes, batchTokens) => {
      const candidates = shapes.map(([pending, decoding], slot) =>
        sequence(slot, decoding ? 1 : pending, { decoding }),
      );
      const plan = planStep(candidates, { batchTokens, prefillTokens: 32 });
      const total = plan.reduce((sum, { tokens }) => sum + tokens, 0);
      expect(total).toBeGreaterThan(0);
      expect(total).toBeLessThanOrEqual(batchTokens);
      expect(plan.map(({ slot }) => slot)).toEqual([...plan.map(({ slot }) => slot)].sort((a, b) => a - b));
    }),
  );
});

test.each([
  { name: 'spends the allowed slowdown on prompt tokens', speed: { decodeMs: 60, prefillMsPerToken: 3 }, tokens: 24 },
  { name: 'always lets a prompt go on', speed: { decodeMs: 5, prefillMsPerToken: 50 }, tokens: promptGrain },
  { name: 'stays below the batch', speed: { decodeMs: 1000, prefillMsPerToken: 0.01 }, tokens: 512 },
])('the budget of a mixed step $name', ({ speed, tokens }) => {
  expect(prefillBudget(speed, 2.4, 512)).toBe(tokens);
});

test.each([
  { fitting: 400, tokens: 384, name: 'is whole tiles of llama.cpp’s attention' },
  {
    fitting: 63,
    tokens: 64,
    name: 'is a tile where almost one fits, lest slow pieces make the next ones shorter still',
  },
  { fitting: 31, tokens: 24, name: 'is shorter where even half a tile takes too long' },
  { fitting: 0.4, tokens: 16, name: 'lets the slowest model go on' },
])('a piece of a prompt $name', ({ fitting, tokens }) => {
  expect(prefillPiece(fitting)).toBe(tokens);
});

test('a sequence that wants to be alone stays out of the others’ step', () => {
  const plan = planStep([sequence(0, 1), sequence(1, 1, { alone: true, lastStep: 4 })], {
    batchTokens: 64,
    prefillTokens: 32,
  });
  expect(plan).toEqual([{ slot: 0, tokens: 1 }]);
});

test('a step never takes more than its tokens, and has no share of none', () => {
  const drafted = { decoding: true };
  const candidates = [sequence(0, 3, drafted), sequence(1, 3, drafted), sequence(2, 3, drafted), sequence(3, 900)];
  expect(planStep(candidates, { batchTokens: 4, prefillTokens: 32 })).toEqual([
    { slot: 0, tokens: 3 },
    { slot: 1, tokens: 1 },
  ]);
});
