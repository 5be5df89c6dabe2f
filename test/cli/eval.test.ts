import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import type { Answer } from '../../src/cli/answer.ts';
import type { Checks } from '../../src/cli/eval/cases.ts';
import { failedChecks } from '../../src/cli/eval/checks.ts';
import { openaiServer } from './openai-server.ts';
import { tidegate } from './run-cli.ts';

const home = mkdtempSync(join(tmpdir(), 'tidegate-eval-'));
const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const answer = (text: string): Answer => ({
  ...{ text, finishReason: 'stop', promptTokens: 1, cachedTokens: 0, completionTokens: 1, ttftMs: 50, totalMs: 100 },
});

const schema = { type: 'object', required: ['a'], properties: { a: { type: 'number' } } };
const table: { text: string; checks: Checks; failed: readonly RegExp[] }[] = [
  { text: ' blue \n', checks: { equals: 'blue' }, failed: [] },
  { text: 'blue', checks: { equals: ['red', 'blue'] }, failed: [] },
  { text: 'green', checks: { equals: ['red', 'blue'] }, failed: [/equals "red"/] },
  { text: 'The SKY', checks: { contains: ['sky', 'the'] }, failed: [] },
  {
    text: 'The sky',
    checks: { contains: ['sea'], notContains: 'sky' },
    failed: [/contains "sea"/, /not contain "sky"/],
  },
  { text: 'call 555-1234', checks: { matches: '\\d{3}-\\d{4}$' }, failed: [] },
  { text: 'none', checks: { matches: '\\d' }, failed: [/matches/] },
  { text: '```json\n{"a":1}\n```', checks: { jsonSchema: schema }, failed: [] },
  { text: '{"a":"x"}', checks: { jsonSchema: schema }, failed: [/fits the schema \(.*number/] },
  { text: '{"a":', checks: { json: true }, failed: [/is JSON/] },
  { text: 'null', checks: { json: true }, failed: [] },
  { text: 'one two three', checks: { minWords: 3, maxWords: 3 }, failed: [] },
  { text: '', checks: { minWords: 1 }, failed: [/at least 1 words \(0\)/] },
  { text: 'a', checks: { finish: 'length' }, failed: [/finish length \(stop\)/] },
  { text: 'a', checks: { maxTtftMs: 10, maxTotalMs: 200 }, failed: [/first token in 10 ms/] },
  { text: 'kind', checks: { judge: 'It is kind.' }, failed: [] },
  { text: 'rude', checks: { judge: 'It is kind.' }, failed: [/judged: It is kind/] },
];
test.each(table)('the answer "$text" against $checks', async ({ text, checks, failed }) => {
  const found = await failedChecks(checks, answer(text), async (_, said) => said === 'kind');
  expect(found).toHaveLength(failed.length);
  for (const [at, pattern] of failed.entries()) expect(found[at]).toMatch(pattern);
});

async function evaluation(
  lines: readonly unknown[],
  args: readonly string[],
  options: Parameters<typeof openaiServer>[0] = {},
) {
  const server = await openaiServer(options);
  open.push(server.close);
  writeFileSync(
    join(home, 'cases.jsonl'),
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  );
  const run = await tidegate(['eval', '--url', server.url, 'cases.jsonl', ...args], { env: { HOME: home }, cwd: home });
  return { ...run, asked: server.asked };
}

const sky = { id: 'sky', prompt: 'Sky?', checks: { contains: 'blue' } };
const grass = {
  id: 'grass',
  system: 'Terse.',
  prompt: 'Grass?',
  params: { top_p: 0.5 },
  checks: { contains: 'green' },
};

test('targets are compared side by side, with quality, latency and cost', async () => {
  const run = await evaluation([sky, grass], ['alpha', 'beta', '--price', 'beta=1/2', '-o', 'r.json'], {
    answer: ({ model, messages }) =>
      model === 'beta' && messages[0]?.content === 'Sky?' ? ['grey'] : ['blue and ', 'green'],
  });
  expect(run.stdout).toMatch(/CASE +alpha +beta\nsky +✓ +✗\ngrass +✓ +✓/);
  expect(run.stdout).toMatch(/✗ sky · beta: contains "blue"/);
  expect(run.stdout).toMatch(/alpha +2\/2 \(100%\)/);
  expect(run.stdout).toMatch(/beta +1\/2 \(50%\).*\$0\.0000200/);
  expect(run.asked.find(({ model, messages }) => model === 'alpha' && messages.length === 2)).toMatchObject({
    ...{ temperature: 0, max_tokens: 256, top_p: 0.5 },
    messages: [
      { role: 'system', content: 'Terse.' },
      { role: 'user', content: 'Grass?' },
    ],
  });
  const result = JSON.parse(readFileSync(join(home, 'r.json'), 'utf8')) as { outcomes: unknown[] };
  expect(result.outcomes).toHaveLength(4);
  expect(run.code).toBe(0);
});

test('another server is a target too, and a model may judge', async () => {
  const judge = await openaiServer({
    models: ['wise'],
    answer: ({ messages }) => [messages[1]?.content.includes('blue') ? 'Yes.' : 'No.'],
  });
  open.push(judge.close);
  const judged = { prompt: 'Sky?', checks: { judge: 'The answer names a colour.' } };
  const run = await evaluation([judged], ['alpha', `wise@${judge.url}`, '--judge', `wise@${judge.url}`], {
    answer: () => ['blue'],
  });
  expect(run.stdout).toMatch(/line 1 +✓ +✗/);
  expect(run.code).toBe(0);
});

test('a threshold makes the exit code, and repeats are counted', async () => {
  const options = { answer: (_: unknown, count: number) => [count % 2 ? 'blue' : 'grey'] };
  const passing = await evaluation([sky], ['alpha', '--repeat', '4', '--threshold', '0.5'], options);
  expect(passing).toMatchObject({ code: 0, stdout: expect.stringMatching(/sky +2\/4/) });
  const failing = await evaluation([sky], ['alpha', '--repeat', '4', '--threshold', '0.6'], options);
  expect(failing).toMatchObject({ code: 1, stderr: expect.stringMatching(/below the threshold of 0\.6: alpha/) });
});

test('a target that fails is an error in the table and does not stop the others', async () => {
  const run = await evaluation([sky], ['alpha', 'beta'], {
    answer: ({ model }) => (model === 'alpha' ? { status: 500, message: 'broken' } : ['blue']),
  });
  expect(run.stdout).toMatch(/✗ sky · alpha: .*broken/);
  expect(run.stdout).toMatch(/beta +1\/1/);
  expect(run.code).toBe(0);
});

const wrong = [
  { name: 'no JSON', lines: ['{"prompt"'], says: /line 1: / },
  { name: 'an unknown check', lines: [{ prompt: 'x', checks: { contain: 'y' } }], says: /line 1: checks.*contain/ },
  { name: 'neither prompt nor messages', lines: [{ checks: {} }], says: /either "prompt" or "messages"/ },
  { name: 'nothing', lines: ['', '// only a remark'], says: /holds no cases/ },
  { name: 'an id twice', lines: [sky, sky], says: /"sky" is there twice/ },
];
test.each(wrong)('a file with $name is refused with its line', async ({ lines, says }) => {
  const run = await evaluation(lines, ['alpha']);
  expect(run).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(says) });
  expect(run.asked).toEqual([]);
});
