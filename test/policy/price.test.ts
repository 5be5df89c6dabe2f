import { describe, expect, test } from 'vitest';
import { createPrices } from '../../src/policy/price.ts';
import { genaiPrices } from '../../src/policy/price-catalogue.ts';

const million = 1_000_000;

describe('prices of the configuration', () => {
  const prices = createPrices({
    overrides: {
      'up/exact': { input: 10, output: 40, cachedInput: 1, cacheWrite: 12.5 },
      'up/*': { input: 2, output: 4 },
      anywhere: { input: 1, output: 1 },
    },
    usdPerKwh: 0.36,
  });
  test.each([
    ['the target’s own', 'up/exact', { promptTokens: million, completionTokens: million }, 50],
    [
      'cached tokens at theirs',
      'up/exact',
      { promptTokens: million, completionTokens: 0, cachedTokens: million / 2 },
      5.5,
    ],
    ['written ones too', 'up/exact', { promptTokens: million, completionTokens: 0, cacheWriteTokens: million }, 12.5],
    [
      'no more cached than there were',
      'up/exact',
      { promptTokens: million, completionTokens: 0, cachedTokens: 9 * million },
      1,
    ],
    [
      'cached as fresh where no price is said',
      'up/other',
      { promptTokens: million, completionTokens: 0, cachedTokens: million },
      2,
    ],
    [
      'reasoning as the completion it is part of',
      'up/other',
      { promptTokens: 0, completionTokens: million, reasoningTokens: million },
      4,
    ],
    ['by the model’s name alone', 'else/anywhere', { promptTokens: million, completionTokens: 0 }, 1],
    ['energy beside tokens', 'up/other', { promptTokens: million, completionTokens: 0, energyJoules: 3.6e6 }, 2.36],
    ['energy alone', 'local/m', { promptTokens: 5, completionTokens: 5, energyJoules: 3.6e6 }, 0.36],
    ['unknown', 'local/m', { promptTokens: 5, completionTokens: 5 }, undefined],
  ])('%s', (_name, target, usage, usd) => {
    const found = prices.usd(target, usage);
    if (usd === undefined) expect(found).toBeUndefined();
    else expect(found).toBeCloseTo(usd, 9);
  });
});

describe('published prices', async () => {
  const prices = createPrices({ catalogue: await genaiPrices() });
  const usd = (target: string, usage: Parameters<typeof prices.usd>[1]) => prices.usd(target, usage) ?? Number.NaN;

  test('cached tokens cost less than fresh ones, never nothing', () => {
    const fresh = usd('openai/gpt-4o', { promptTokens: million, completionTokens: 0 });
    const cached = usd('openai/gpt-4o', { promptTokens: million, completionTokens: 0, cachedTokens: million });
    expect(fresh).toBeGreaterThan(0);
    expect(cached).toBeGreaterThan(0);
    expect(cached).toBeLessThan(fresh);
  });

  test('a long prompt costs its higher tier', () => {
    const per = (tokens: number) =>
      usd('google/gemini-2.5-pro', { promptTokens: tokens, completionTokens: 0 }) / tokens;
    expect(per(300_000)).toBeGreaterThan(per(100_000) * 1.2);
  });

  test('a name that nobody knows has no price, rather than a wrong one', () => {
    expect(prices.usd('up/no-such-model', { promptTokens: 5, completionTokens: 5 })).toBeUndefined();
    expect(prices.perToken('up/no-such-model')).toEqual({ prompt: 0, completion: 0 });
  });
});
