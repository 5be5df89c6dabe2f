import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { openaiServer, sse } from '../../faulty-upstream.ts';
import { gatewayOf, user, words } from './harness.ts';

describe('limits', () => {
  test('answers at once: retry-after-ms is true, waiting it out helps and half of it does not', async () => {
    const { chat } = await gatewayOf('limits: { perKey: { streams: 1 } }\n', words(1, 800));
    for (let i = 0; i < 3; i++) await (await chat({ stream: true })).text(); // it learns how long they take
    const running = (await chat({ stream: true })).text();
    const refused = await chat();
    expect(refused.status).toBe(429);
    const waitMs = Number(refused.headers.get('retry-after-ms'));
    expect(waitMs).toBeGreaterThan(400);
    expect(waitMs).toBeLessThan(2000);
    expect(refused.headers.get('retry-after')).toBe(String(Math.ceil(waitMs / 1000)));
    await sleep(waitMs / 2);
    expect((await chat()).status).toBe(429);
    await sleep(waitMs / 2 + 150);
    expect((await chat({ stream: true })).status).toBe(200);
    await running;
  });

  test('tokens are settled from what was used when a client hangs up, and when the upstream breaks off', async () => {
    const { chat, upstream, gateway } = await gatewayOf(
      'limits: { perKey: { tokensPerMinute: 10000 } }\n',
      words(100, 20),
    );
    const remaining = async (): Promise<number> => {
      upstream.answer(openaiServer(['x']));
      const response = await chat({ max_tokens: 1 });
      await response.text();
      return Number(response.headers.get('x-ratelimit-remaining-tokens'));
    };
    const start = await remaining();
    upstream.answer(words(100, 20));
    const leaving = new AbortController();
    const response = await fetch(`${gateway().url}/v1/chat/completions`, {
      method: 'POST',
      signal: leaving.signal,
      headers: { authorization: `Bearer ${user}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'demo',
        max_tokens: 4000,
        stream: true,
        messages: [{ role: 'user', content: 'hi' }],
      }),
    });
    const reader = response.body?.getReader();
    await reader?.read();
    leaving.abort();
    await reader?.cancel().catch(() => {});
    upstream.answer(() => ({ body: [sse({ choices: [{ index: 0, delta: { content: 'Hel' } }] }), 'reset'] }));
    await (await chat({ max_tokens: 4000, stream: true })).text().catch(() => {});
    await expect.poll(remaining, { timeout: 5000 }).toBeGreaterThan(start - 5300);
    expect(await remaining()).toBeLessThan(start);
  });

  test('a moderation counts as one request, however many models were looked through for one that can', async () => {
    const { call } = await gatewayOf(
      `providers:
  cannot: { type: anthropic, baseUrl: "UP", apiKey: sk-cannot }
  up: { type: openai-compatible, baseUrl: "UP", apiKey: sk-up }
models:
  one: { targets: [{ provider: cannot, model: a }] }
  two: { targets: [{ provider: cannot, model: b }] }
  three: { targets: [{ provider: up, model: c }] }
limits: { perKey: { requestsPerMinute: 10 } }
`,
    );
    for (const left of ['9', '8', '7']) {
      const response = await call('POST', '/v1/moderations', { input: 'hi' });
      expect([response.status, response.headers.get('x-ratelimit-remaining-requests')]).toEqual([200, left]);
    }
  });

  test('Anthropic’s clients get its own headers beside OpenAI’s, on answers and refusals', async () => {
    const { call } = await gatewayOf('limits: { perKey: { requestsPerMinute: 1, tokensPerMinute: 1000 } }\n');
    const ask = () =>
      call('POST', '/v1/messages', { model: 'demo', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }] });
    const [first, second] = [await ask(), await ask()];
    expect([first.status, second.status]).toEqual([200, 429]);
    for (const [response, left] of [
      [first, '0'],
      [second, '0'],
    ] as const) {
      expect(response.headers.get('anthropic-ratelimit-requests-limit')).toBe('1');
      expect(response.headers.get('anthropic-ratelimit-requests-remaining')).toBe(left);
      expect(response.headers.get('x-ratelimit-remaining-requests')).toBe(left);
      const reset = response.headers.get('anthropic-ratelimit-requests-reset') ?? '';
      expect(reset).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(Date.parse(reset) - Date.now()).toBeGreaterThan(30_000);
      expect(Date.parse(reset) - Date.now()).toBeLessThan(63_000);
    }
    expect(Number(first.headers.get('anthropic-ratelimit-tokens-remaining'))).toBeLessThan(1000);
    expect(((await second.json()) as { error: { type: string } }).error.type).toBe('rate_limit_error');
  });
});
