import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { drawScreen } from '../../src/cli/top/screen.ts';
import type { EngineStatus } from '../../src/core/status.ts';
import type { LiveSnapshot } from '../../src/observability/live.ts';
import { openaiServer } from './openai-server.ts';
import { type Finished, tidegate } from './run-cli.ts';

const home = mkdtempSync(join(tmpdir(), 'tidegate-top-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

test('top shows the requests of a running gateway while they run', { timeout: 60_000 }, async () => {
  const upstream = await openaiServer({ answer: () => Array(400).fill('word '), gapMs: 50, models: ['m'] });
  const config = `providers: { up: { type: openai-compatible, baseUrl: ${upstream.url}/v1 } }\nmodels: { m: { targets: [{ provider: up }] } }\n`;
  writeFileSync(join(home, 'tidegate.yaml'), config);
  const env = { HOME: home };
  let looked: Promise<Finished[]> | undefined;
  await tidegate(['serve', '--port', '0', '--log', 'silent'], {
    env,
    cwd: home,
    onOutput: (text, child) => {
      const url = /serves (http:\/\/[\d.]+:\d+)\/v1/.exec(text)?.[1];
      if (!url || looked) return;
      looked = (async () => {
        const running = tidegate(['run', '--url', url, 'm', 'x'], { env });
        await expect.poll(() => upstream.asked.length, { timeout: 10_000 }).toBe(1);
        const results = await Promise.all([
          tidegate(['top', '--once', '--url', url], { env }),
          tidegate(['top', '--once', '--json', '--url', `${url}/v1`], { env }),
        ]);
        upstream.close(); // enough seen: the answer need not come to its end
        await running;
        return results;
      })().finally(() => child.kill('SIGINT'));
    },
  });
  const [picture, json] = (await looked) ?? [];
  expect(picture?.stdout).toMatch(/in flight +1/);
  expect(picture?.stdout).toMatch(/REQUEST +TARGET.*\n +m +up\/m +writing +\d+ tokens/);
  expect(JSON.parse(json?.stdout ?? '')).toMatchObject({ requests: [{ model: 'm', phase: 'writing' }] });
});

test('an address without a gateway is told', async () => {
  const upstream = await openaiServer();
  const absent = await tidegate(['top', '--url', 'http://127.0.0.1:1'], { env: { HOME: home } });
  expect(absent).toMatchObject({ code: 1, stderr: expect.stringMatching(/cannot be reached/) });
  const locked = await openaiServer({ key: 'k' });
  const refused = await tidegate(['top', '--url', locked.url], { env: { HOME: home } });
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/wants an admin key/) });
  upstream.close();
  locked.close();
});

const engine: EngineStatus = {
  ...{ model: 'smollm2', state: 'ready', waiting: 2, running: 1, batchWidth: 1 },
  slots: [
    { id: 0, state: 'decode', usedTokens: 2048, contextTokens: 4096, prefixTokens: 1024 },
    { id: 1, state: 'idle', usedTokens: 0, contextTokens: 4096, prefixTokens: 0 },
    { id: 2, state: 'idle', usedTokens: 9999, contextTokens: 4096, prefixTokens: 0 },
  ],
  kv: [{ tier: 'memory', used: 5e8, capacity: 1e9, unit: 'bytes' }],
  ...{ prefillTokensPerSecond: 0, decodeTokensPerSecond: 0 },
  counters: {
    ...{ promptTokens: 200, prefixHitTokens: 50, prefillTokens: 150, decodeTokens: 10, draftedTokens: 0 },
    ...{ acceptedTokens: 0, restarts: 0, preemptions: 0 },
  },
};
const snapshot: LiveSnapshot = {
  point: {
    ...{ at: 1, inFlight: 1, waiting: 2, requestsPerSecond: 1, errorsPerSecond: 0, tokensPerSecond: 40 },
    ...{ prefillPerSecond: 0, ttftP50: 120, ttftP95: null, itlP50: null, itlP95: null },
  },
  requests: [],
  engines: [engine],
  targets: [{ target: 'up/m', breaker: 'open', inFlight: 0, healthy: false }],
  totals: { requests: 3, failed: 1, tokens: 90, cacheHits: 0 },
  startedAt: 0,
};
const paint = Object.fromEntries(
  ['bold', 'dim', 'red', 'green', 'yellow', 'cyan'].map((style) => [style, (text: string) => text]),
) as Record<'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', (text: string) => string>; // all six are there

test('slots show their fill and what of it was reused; empty ones are only counted', () => {
  const screen = drawScreen(snapshot, [snapshot.point], {
    paint,
    size: { columns: 80, rows: 50 },
    where: 'here',
    now: 65_000,
  });
  expect(stripVTControlCharacters(screen)).toMatch(/up 1m 05s, 3 requests, 1 failed/);
  expect(screen).toMatch(/0 decode {2}▓{6}█{6}░{12} 2048 of 4096/);
  expect(screen).toMatch(/2 idle {4}█{24} 9999 of 4096/);
  expect(screen).toMatch(/1 empty slots/);
  expect(screen).toMatch(/25% of prompt tokens from the KV cache/);
  expect(screen).toMatch(/up\/m.*breaker open/);
});

test('a small terminal gets what fits and the count of the rest', () => {
  const screen = drawScreen(snapshot, [], { paint, size: { columns: 40, rows: 8 }, where: 'here', now: 1 });
  expect(screen.split('\n')).toHaveLength(7);
  expect(screen).toMatch(/… \d+ more lines$/);
});
