import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tidegate } from './run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-explain-'));
beforeAll(() => {
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
afterAll(() => rmSync(folder, { recursive: true }));

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
