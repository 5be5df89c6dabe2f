import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { afterwards, chatOrEmbedding, gatewayOf, priced, words } from './harness.ts';

describe('budgets', () => {
  test('thresholds are told to the webhook and the log, once each', async () => {
    const told: { alerts: { status: string; labels: Record<string, string> }[] }[] = [];
    const receiver = createServer((request, response) => {
      let text = '';
      request.on('data', (piece: Buffer) => {
        text += piece;
      });
      request.on('end', () => {
        told.push(JSON.parse(text) as (typeof told)[number]);
        response.end();
      });
    });
    await new Promise<void>((ready) => receiver.listen(0, '127.0.0.1', ready));
    afterwards(() => receiver.close());
    const webhook = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`; // a TCP server's address
    const { chat, lines } = await gatewayOf(
      `${priced}
budgets: [{ name: purse, per: key, usd: 0.008, warnAt: [0.5, 0.75, 1] }]
observability: { alerts: { webhook: "${webhook}", every: 50ms, hold: 0s, budgetShare: 0 } }
`,
    );
    const thresholds = () =>
      told
        .flatMap(({ alerts }) => alerts)
        .filter(({ labels, status }) => labels['alertname'] === 'TidegateBudgetThreshold' && status === 'firing')
        .map(({ labels }) => [labels['budget'], labels['threshold']]);
    const logged = () => lines.filter((line) => line.includes('a budget has reached')).length;
    for (const [sent, reached] of [
      [1, []],
      [1, [['purse', '0.5']]],
      [
        1,
        [
          ['purse', '0.5'],
          ['purse', '0.75'],
        ],
      ],
      [
        1,
        [
          ['purse', '0.5'],
          ['purse', '0.75'],
          ['purse', '1'],
        ],
      ],
    ] as const) {
      for (let i = 0; i < sent; i++) await (await chat({ max_tokens: 2 })).text(); // two tokens of a tenth of a cent
      await expect.poll(thresholds, { timeout: 5000 }).toEqual(reached);
      await expect.poll(logged).toBe(reached.length);
    }
  });

  test.each([
    ['/v1/chat/completions', /"finish_reason":"length","finish_message":"[^"]*budget[^"]*"/, /\[DONE\]/],
    ['/v1/messages', /"stop_reason":"max_tokens"/, /message_stop/],
  ])('%s without a bound is cut where the money ends, says why, and costs what is left', async (path, reason, end) => {
    const { call, admin } = await gatewayOf(
      `${priced}
budgets: [{ name: purse, per: key, usd: 0.05 }]
limits: { assumedTokens: 16 }
ledger: {}
`,
      words(400),
    );
    const bound = path === '/v1/messages' ? { max_tokens: 4000 } : {};
    const response = await call('POST', path, {
      model: 'demo',
      stream: true,
      messages: [{ role: 'user', content: 'hi' }],
      ...bound,
    });
    if (path === '/v1/messages') {
      // Anthropic's requests always set a bound: what can't be paid for is refused before it is spent.
      expect(response.status).toBe(429);
      return;
    }
    const text = await response.text();
    expect(text).toMatch(reason);
    expect(text).toMatch(end);
    const pieces = text.match(/" tide"/g)?.length ?? 0;
    expect(pieces).toBeGreaterThanOrEqual(24);
    expect(pieces).toBeLessThanOrEqual(50);
    const { data } = (await admin('/v1/usage?by=key')) as { data: { cost_usd: number }[] };
    expect(data[0]?.cost_usd).toBeGreaterThan(0.045);
    expect(data[0]?.cost_usd).toBeLessThanOrEqual(0.052); // the piece that was over the edge had gone out
  });

  test('an answer out of the cache takes nothing from the budget', async () => {
    const { chat } = await gatewayOf(
      `${priced}
models: { demo: { targets: [{ provider: up, model: m }], cache: { ttl: 1m } } }
budgets: [{ name: purse, per: key, usd: 0.005 }]
`,
    );
    const statuses: number[] = [];
    for (const user of ['hi', 'hi', 'hi', 'hi', 'ho', 'hu']) {
      const response = await chat({ max_tokens: 2, messages: [{ role: 'user', content: user }] });
      await response.text();
      statuses.push(response.status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]); // two tokens of a tenth of a cent, twice
  });

  test('a spent budget leads to the cheaper model, and the answer says who gave it', async () => {
    const { chat } = await gatewayOf(
      `${priced}
providers:
  up: { type: openai-compatible, baseUrl: "UP", apiKey: sk-up }
  cheap: { type: openai-compatible, baseUrl: "UP", apiKey: sk-cheap }
models:
  demo: { targets: [{ provider: up, model: m }] }
  small: { targets: [{ provider: cheap, model: s }] }
budgets: [{ name: purse, per: key, usd: 0.005, reroute: small }]
`,
    );
    const targets: (string | null)[] = [];
    for (let i = 0; i < 4; i++) {
      const response = await chat({ max_tokens: 2 });
      await response.text();
      targets.push(response.headers.get('x-tidegate-target'));
    }
    expect(targets).toEqual(['up/m', 'up/m', 'cheap/s', 'cheap/s']);
  });

  test('what was spent before a restart counts after it, embeddings too', async () => {
    const { call, restart, admin } = await gatewayOf(
      `prices: { overrides: { "up/*": { input: 1000, output: 0 } } }
budgets: [{ name: purse, per: key, usd: 0.01 }]
limits: { perKey: { requestsPerMinute: 10 } }
ledger: {}
`,
      chatOrEmbedding,
    );
    const ask = async () => {
      const response = await call('POST', '/v1/embeddings', { model: 'demo', input: 'four tokens' });
      await response.text();
      return [response.status, response.headers.get('x-ratelimit-remaining-requests')];
    };
    expect([await ask(), await ask()]).toEqual([
      [200, '9'],
      [200, '8'],
    ]);
    const { data } = (await admin('/v1/usage?by=key')) as { data: Record<string, number>[] };
    expect(data[0]).toMatchObject({ requests: 2, prompt_tokens: 8, cost_usd: 0.008 });
    await restart();
    expect((await ask())[0]).toBe(429);
  });
});
