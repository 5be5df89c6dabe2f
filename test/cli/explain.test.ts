import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultyUpstream, faultyUpstream } from '../faulty-upstream.ts';
import { hangs, realGateway, says } from '../routing/real-gateway.ts';
import { tidegate } from './run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-explain-'));
let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream(says('live'));
  writeFileSync(
    join(folder, 'tidegate.yaml'),
    `providers:
  openai: { type: openai, apiKey: not-used }
  cluster: { type: vllm, replicas: [http://127.0.0.1:9/v1, http://127.0.0.1:10/v1] }
models:
  chat:
    targets:
      - { when: 'request.promptTokens > 500', provider: openai, model: gpt-4o }
      - { provider: cluster, model: qwen }
    fallback: [{ local: smollm2-135m-instruct }]
    require: [{ when: '"personal-data" in request.labels', local: true }]
    hedge: { after: 400ms }
`,
  );
  writeFileSync(
    join(folder, 'request.json'),
    JSON.stringify({ model: 'chat', messages: [{ role: 'user', content: 'long '.repeat(1000) }] }),
  );
});
afterAll(async () => {
  await upstream.close();
  rmSync(folder, { recursive: true });
});

const explain = (...args: string[]) => tidegate(['explain', ...args], { cwd: folder });

test('a request in a file is explained: who, why, at what price, and what happens when one fails', async () => {
  const { code, stdout } = await explain('--file', 'request.json');
  expect(stdout).toMatch(/1\. openai\/gpt-4o {2}ordered; ≤ \$0\.0\d+/);
  expect(stdout).toMatch(/2\. cluster#\d\/qwen {2}.*prefix-affinity; takes over broken answers/);
  expect(stdout).toMatch(/4\. local\/smollm2-135m-instruct {2}fallback/);
  expect(stdout).toContain('after 400 ms without a token');
  expect(code).toBe(0);
});

test('personal data has one way to go, and JSON says the rest was excluded', async () => {
  const { code, stdout } = await explain(
    '--model',
    'chat',
    '--prompt',
    'My name is …',
    '--found',
    'personal-data',
    '--json',
  );
  const plan = JSON.parse(stdout);
  expect(plan.targets).toMatchObject([{ target: 'local/smollm2-135m-instruct', local: true }]);
  expect(plan.excluded).toContainEqual({ target: 'openai/gpt-4o', reason: 'not when request.promptTokens > 500' });
  expect(code).toBe(0);
});

test.each([
  { name: 'a model that does not exist', args: ['--model', 'chta'], says: /Did you mean 'chat'/ },
  { name: 'a file that is no request', args: ['--file', 'tidegate.yaml'], says: /no JSON/ },
])('$name is told, with what to change', async ({ args, says }) => {
  const { code, stderr } = await explain(...args);
  expect([code === 0, stderr]).toEqual([false, expect.stringMatching(says)]);
});

test('a running gateway is asked with --url: circuits, load and latencies as they are now', async () => {
  await using it = await realGateway(
    `providers:
  dead: { type: vllm, baseUrl: "http://127.0.0.1:9/v1" }
  live: { type: vllm, baseUrl: "${upstream.baseUrl}" }
models: { m: { targets: [{ provider: dead }, { provider: live }], retry: { attempts: 0 } } }\n`,
  );
  for (let i = 0; i < 6; i++) expect((await it.chat()).status).toBe(200); // the dead one's circuit opens
  upstream.answer(hangs);
  const running = await it.chat('hi', { stream: true });
  const asked = ['--url', it.gateway.url, '--model', 'm'];
  const { code, stdout } = await explain(...asked);
  expect(stdout).toMatch(/1\. live\/m {2}ordered; circuit closed, 1 in flight \(\d+ tokens\), first token \d+ ms/);
  expect(stdout).toMatch(/✗ {2}dead\/m {2}circuit open; may be asked again in \d+ ms/);
  expect(code).toBe(0);
  const plan = JSON.parse((await explain(...asked, '--team', 'red', '--found', 'personal-data', '--json')).stdout);
  expect(plan).toMatchObject({
    request: { labels: ['personal-data'] },
    targets: [{ target: 'live/m', live: { circuit: 'closed', healthy: true, inFlight: 1 } }],
    excluded: [{ target: 'dead/m', live: { circuit: 'open' }, retryInMs: expect.any(Number) }],
    fallbackBudget: expect.any(Number),
  });
  const wrong = await explain('--url', it.gateway.url, '--model', 'nope');
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("'nope' does not exist")]);
  await running.body?.cancel();
}, 30_000);

test('only an admin may ask', async () => {
  await using it = await realGateway(
    `keys: { fixed: [{ name: a, key: "${'caller-key-of-this-test-0123456789'}" }] }
models: { m: { targets: [{ local: x }] } }\n`,
  );
  const ask = (headers: Record<string, string>) =>
    it.post('/admin/explain', { request: { messages: [{ role: 'user', content: 'hi' }] } }, headers);
  expect((await ask({})).status).toBe(401);
  expect((await ask({ authorization: 'Bearer caller-key-of-this-test-0123456789' })).status).toBe(403);
});
