import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tidegate } from './run-cli.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-prompt-'));
  mkdirSync(join(folder, 'prompts/chat'), { recursive: true });
  writeFileSync(
    join(folder, 'prompts/chat/hello@2.md'),
    '---\nvariables: { name: { type: string } }\ntests:\n  - { variables: { name: Ann }, contains: Hi Bob }\n---\nHi {{ name }}\n',
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('render prints the messages, with prompts of the folder beside the package’s own', async () => {
  const own = await tidegate(['prompt', 'render', 'chat/hello', '--var', 'name=Ann', '--json'], { cwd: folder });
  expect(JSON.parse(own.stdout)).toEqual({ messages: [{ role: 'system', content: 'Hi Ann' }] });
  const packaged = await tidegate(['prompt', 'render', 'system/concise@1'], { cwd: folder });
  expect(packaged.stdout).toContain('@system\nAnswer in the language');
});

test('render names the variable that is missing', async () => {
  const { code, stderr } = await tidegate(['prompt', 'render', 'chat/hello'], { cwd: folder });
  expect(code).toBe(1);
  expect(stderr).toContain("The variable 'name' of the prompt 'chat/hello' is missing.");
});

test('test says which prompt fails and ends with 1', async () => {
  const { code, stdout } = await tidegate(['prompt', 'test'], { cwd: folder });
  expect(code).toBe(1);
  expect(stdout).toContain("FAIL chat/hello@2 #1: does not contain 'Hi Bob'");
  expect(stdout).toMatch(/1\d passed, 1 failed/);
});
