import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { detectLanguage } from '../../src/core/language.ts';
import { backoffMs, retryDelayMs } from '../../src/routing/backoff.ts';
import { createBreaker } from '../../src/routing/breaker.ts';
import { createLatency } from '../../src/routing/latency.ts';
import { createRetryBudget } from '../../src/routing/retry-budget.ts';
import { similarity } from '../../src/routing/shadow.ts';

describe('the breaker', () => {
  test('opens after five failures in a row, lets one probe through after five seconds, and closes on its success', () => {
    const breaker = createBreaker();
    for (let i = 0; i < 4; i++) breaker.failure(i);
    expect(breaker.state(4)).toBe('closed');
    breaker.failure(4);
    expect([breaker.state(4), breaker.take(4), breaker.take(5003)]).toEqual(['open', false, false]);
    expect(breaker.retryAtMs()).toBe(5004);
    expect([breaker.take(5004), breaker.take(5004)]).toEqual([true, false]);
    breaker.success(5100);
    expect([breaker.state(5100), breaker.take(5100), breaker.take(5100)]).toEqual(['closed', true, true]);
  });

  test('opens again when the probe fails, and gives the probe back when it says nothing', () => {
    const breaker = createBreaker();
    for (let i = 0; i < 5; i++) breaker.failure(0);
    expect(breaker.take(5000)).toBe(true);
    breaker.failure(5010);
    expect([breaker.state(5010), breaker.retryAtMs()]).toEqual(['open', 10_010]);
    expect(breaker.take(10_010)).toBe(true);
    breaker.neutral();
    expect(breaker.take(10_011)).toBe(true);
  });

  test('takes calls that end together for one failure, and each that begins after it for another', () => {
    const breaker = createBreaker();
    for (let i = 0; i < 50; i++) breaker.failure(1000 + i, 500 + i);
    expect(breaker.state(1050)).toBe('closed');
    for (let i = 0; i < 3; i++) breaker.failure(1052 + 2 * i, 1051 + 2 * i);
    expect(breaker.state(1056)).toBe('closed');
    breaker.failure(1058, 1057);
    expect(breaker.state(1058)).toBe('open');
  });

  test('counts calls under way that hang each for itself', () => {
    const breaker = createBreaker();
    for (let i = 0; i < 5; i++) breaker.failure(30_000 + i * 200, i * 200);
    expect(breaker.state(30_800)).toBe('open');
  });

  test.each([
    { name: 'half of twenty within ten seconds opens it', failures: 10, successes: 10, spreadMs: 400, state: 'open' },
    { name: 'half of eighteen does not', failures: 9, successes: 9, spreadMs: 400, state: 'closed' },
    { name: 'less than half does not', failures: 9, successes: 13, spreadMs: 400, state: 'closed' },
    { name: 'failures long ago do not count', failures: 10, successes: 10, spreadMs: 2000, state: 'closed' },
  ])('$name', ({ failures, successes, spreadMs, state }) => {
    const breaker = createBreaker();
    let now = 0;
    for (let i = 0; i < Math.max(failures, successes); i++) {
      now += spreadMs;
      if (i < successes) breaker.success(now);
      if (i < failures) breaker.failure(now);
    }
    expect(breaker.state(now)).toBe(state);
  });

  test('a late success of an old call does not close it', () => {
    const breaker = createBreaker();
    for (let i = 0; i < 5; i++) breaker.failure(0);
    breaker.success(10);
    expect(breaker.state(10)).toBe('open');
  });

  test('counts from nothing once it has closed: calls and failures of before are forgotten', () => {
    const closed = () => {
      const breaker = createBreaker({ consecutive: 5, failureShare: 0.5, minCalls: 4, windowMs: 10_000, openMs: 1000 });
      for (let i = 0; i < 5; i++) breaker.failure(0);
      breaker.take(1000);
      breaker.success(1000);
      return breaker;
    };
    const mostlyWell = closed();
    for (let i = 0; i < 2; i++) mostlyWell.success(1001);
    mostlyWell.failure(1001);
    expect(mostlyWell.state(1001)).toBe('closed');
    const mostlyBroken = closed();
    for (let i = 0; i < 3; i++) mostlyBroken.failure(1001);
    expect(mostlyBroken.state(1001)).toBe('open');
  });

  test('never lets more than one call through while it is not closed, whatever happens', () => {
    const step = fc.record({
      op: fc.constantFrom('take', 'success', 'failure', 'neutral'),
      ms: fc.integer({ min: 0, max: 3000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const breaker = createBreaker();
        let now = 0;
        let probes = 0;
        for (const { op, ms } of steps) {
          now += ms;
          const before = breaker.state(now);
          if (op === 'take') {
            const taken = breaker.take(now);
            if (before === 'open') expect(taken).toBe(false);
            if (before === 'half-open' && taken) probes += 1;
          } else {
            if (op === 'neutral') breaker.neutral();
            else breaker[op as 'success' | 'failure'](now);
            probes = 0;
          }
          expect(probes).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});

describe('back-off', () => {
  test('is anything between nothing and a doubling cap', () => {
    const limits = { baseMs: 100, maxMs: 1000 };
    expect([0, 1, 2, 3, 4, 40].map((retry) => backoffMs(retry, limits, () => 1))).toEqual([
      100, 200, 400, 800, 1000, 1000,
    ]);
    expect(backoffMs(5, limits, () => 0)).toBe(0);
  });

  test.each([
    { asked: undefined, delay: 50 },
    { asked: 500, delay: 500 },
    { asked: 10, delay: 50 },
    { asked: 5000, delay: undefined },
    { asked: Number.NaN, delay: 50 },
    { asked: -1, delay: 50 },
    { asked: Number.POSITIVE_INFINITY, delay: 50 },
  ])('retry-after $asked means a pause of $delay ms', ({ asked, delay }) => {
    expect(retryDelayMs(asked, 50, 2000)).toBe(delay);
  });
});

test('a retry budget gives its burst, then one retry for ten requests', () => {
  const budget = createRetryBudget({ share: 0.1, burst: 3 });
  expect([1, 2, 3, 4].map(() => budget.withdraw())).toEqual([true, true, true, false]);
  let retries = 0;
  for (let request = 0; request < 1000; request++) {
    budget.deposit();
    if (budget.withdraw()) retries += 1;
  }
  expect(retries).toBeGreaterThanOrEqual(98);
  expect(retries).toBeLessThanOrEqual(100);
});

test('a retry budget saves up no more than its burst, and gives no retry for a part of one', () => {
  const budget = createRetryBudget({ share: 0.5, burst: 1 });
  for (let i = 0; i < 10; i++) budget.deposit();
  expect([budget.withdraw(), budget.withdraw()]).toEqual([true, false]);
  budget.deposit();
  expect([budget.balance, budget.withdraw()]).toEqual([0.5, false]);
});

test('latency jumps up at once, comes down slowly, and fades while nothing is heard', () => {
  const latency = createLatency(10_000);
  expect(latency.estimate(0)).toBe(0);
  latency.observe(100, 0);
  latency.observe(1000, 10);
  expect(latency.estimate(10)).toBe(1000);
  latency.observe(100, 1010);
  expect(latency.estimate(1010)).toBeGreaterThan(800);
  expect(latency.estimate(301_010)).toBeLessThan(100);
});

test.each([
  ['What is the weather like in the mountains today, and how do I get there?', 'en'],
  ['Wie ist das Wetter heute in den Bergen und was kann ich machen?', 'de'],
  ['Quel est le temps dans les montagnes et comment je fais pour y aller ?', 'fr'],
  ['¿Cómo es el tiempo en las montañas y qué puede hacer uno?', 'es'],
  ['今日の天気はどうですか', 'ja'],
  ['今天山里的天气怎么样', 'zh'],
  ['Какая сегодня погода в горах', 'ru'],
  ['오늘 날씨 어때요', 'ko'],
  ['The harbour is full of boats and the tide is coming in.', 'en'],
  ['Der Hafen ist voll und die Flut kommt mit dem Wind von See.', 'de'],
  ['Le port est plein et la marée monte avec le vent dans la nuit.', 'fr'],
  ['El puerto está lleno y la marea sube con el viento de la noche.', 'es'],
  ['港は船でいっぱいで、潮が満ちてきます。', 'ja'],
  ['Гавань полна лодок, и начинается прилив.', 'ru'],
  ['1234 !!', 'und'],
  ['', 'und'],
])('%s is %s', (text, language) => {
  expect(detectLanguage(text)).toBe(language);
});

test.each([
  ['the tide comes in', 'the tide comes in', 1],
  ['the tide comes in', 'the tide goes out', 1 / 3],
  ['one', 'two', 0],
  ['', 'x', 0],
])('"%s" and "%s" are alike by %d', (a, b, alike) => {
  expect(similarity(a, b)).toBeCloseTo(alike);
});
