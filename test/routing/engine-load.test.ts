import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { modelPath } from '../engine/model.ts';
import { type FaultyUpstream, faultyUpstream } from '../faulty-upstream.ts';
import { type RealGateway, realGateway, says } from './real-gateway.ts';

const path = await modelPath();
const words = (seed: number) => Array.from({ length: 20 }, (_, i) => `tide${(i * 7 + seed) % 97}`).join(' ');

describe.skipIf(path === null)('the own engine under load', () => {
  let upstream: FaultyUpstream;
  let it: RealGateway;
  beforeAll(async () => {
    upstream = await faultyUpstream(says('light'));
    const local = `targets: [{ local: "${path}" }], objective: { ttft: 3s`;
    it = await realGateway(`
engine: { slots: 1, contextTokens: 2048, threads: 1 }
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }
models:
  m: { ${local} }, overflow: [{ provider: up, model: light }] }
  alone: { ${local}, shed: true } }
`);
    expect((await it.chat('hi', { max_tokens: 16 })).status).toBe(200); // loaded and measured
  }, 120_000);
  afterAll(async () => {
    await it[Symbol.asyncDispose]();
    await upstream.close();
  });
  const target = (response: Response) => response.headers.get('x-tidegate-target');
  /** Many short answers: some begin in time on a slow machine, and not all of them do on a fast one. */
  const busy = (model: string, headers: Record<string, string> = {}) =>
    Promise.all(
      Array.from({ length: 24 }, async (_, i) => {
        await new Promise((resolve) => setTimeout(resolve, i * 60)); // what one brings is known when the next one comes
        const response = await it.chat(words(i), { model, max_tokens: 24 }, headers);
        await response.text();
        return response;
      }),
    );

  test('what it can not begin in time goes to the lighter target, and comes back by itself', async () => {
    const responses = await busy('m');
    const targets = responses.map(target);
    expect(responses.every(({ status }) => status === 200)).toBe(true);
    expect(targets[0]).toMatch(/^local\//);
    expect(targets).toContain('up/light');
    expect(Number(responses[0]?.headers.get('x-tidegate-predicted-ttft-ms'))).toBeGreaterThan(0);
    await expect
      .poll(async () => target(await it.chat('hi', { max_tokens: 4 })), { timeout: 20_000 })
      .toMatch(/^local\//);
  }, 90_000);

  test('with nobody else the least urgent are refused first, and served when they come back as told', async () => {
    const running = busy('alone', { 'x-tidegate-priority': 'interactive' });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const refused = await it.chat(words(99), { model: 'alone', max_tokens: 4 }, { 'x-tidegate-priority': 'batch' });
    const seconds = Number(refused.headers.get('retry-after'));
    expect([refused.status, seconds >= 1 && seconds < 60]).toEqual([429, true]);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const again = () => it.chat(words(99), { model: 'alone', max_tokens: 4 }, { 'x-tidegate-priority': 'batch' });
    const served = (await running).filter(({ status }) => status === 200);
    expect(served.length).toBeGreaterThan(1); // the urgent ones wait longer before they are turned away
    await expect.poll(async () => (await again()).status, { timeout: 5000 }).toBe(200); // told to within a few seconds
  }, 90_000);
});
