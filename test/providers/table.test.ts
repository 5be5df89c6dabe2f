import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { providerRows, providerTable } from './provider-table.ts';

const root = join(import.meta.dirname, '..', '..');
const page = `# What each provider is able to do

Written by \`npx vitest run test/providers/table.test.ts -u\` from the capabilities in the code. An empty cell is refused with a 400 that
names the field, unless \`capabilities:\` of the entry says that this server can. "By a tool": asked for through a tool that must be
called. "Passes through": a client of that dialect gets the upstream's own bytes.

${providerTable(providerRows)}
`;

test('providers/README.md says what the code does', async () => {
  await expect(page).toMatchFileSnapshot(join(root, 'providers', 'README.md'));
});

test('the table between the README’s markers is this one', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const marked = /<!-- providers -->\n([\s\S]*?)\n<!-- \/providers -->/.exec(readme)?.[1];
  expect(marked?.trim()).toBe(providerTable(providerRows));
});

test('each provider is listed once, with what it is for', () => {
  const types = providerRows.map(({ type }) => type);
  expect(new Set(types).size).toBe(types.length);
  expect(types).toEqual(
    expect.arrayContaining(['openai', 'anthropic', 'gemini', 'vertex', 'bedrock', 'cohere', 'vllm']),
  );
});
