import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const text = readFileSync(join(root, 'SECURITY.md'), 'utf8');

/** The rows of the two OWASP tables: risk, what holds it, which test shows it. */
const rows = text
  .split('\n')
  .filter((line) => /^\| (API|LLM)\d+ /.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, risk = '', holds = '', shows = '']) => ({ risk, holds, shows }));

/** `test/….ts` as it is named anywhere, with the names of tests that follow it in quotes. */
const named = [...text.matchAll(/`((?:test|bench)\/[\w./-]+\.tsx?)`((?:,? "[^"]+")*)/g)].map(
  ([, file = '', names = '']) => ({
    file,
    names: [...names.matchAll(/"([^"]+)"/g)].map(([, name = '']) => name),
  }),
);

describe('SECURITY.md', () => {
  test('goes through both lists of OWASP, row by row', () => {
    expect(rows.map(({ risk }) => risk.split(' ')[0])).toEqual([
      ...Array.from({ length: 10 }, (_, i) => `API${i + 1}`),
      ...Array.from({ length: 10 }, (_, i) => `LLM${String(i + 1).padStart(2, '0')}`),
    ]);
  });

  test.each(rows)('$risk: names what holds it and the test that shows it', ({ holds, shows }) => {
    if (holds === 'out of scope' || /^as API\d/.test(holds)) return;
    expect(holds.length).toBeGreaterThan(10);
    expect(shows).toMatch(/`(test|bench)\//);
  });

  test.each(named)('$file is there, with the tests $names', ({ file, names }) => {
    expect(existsSync(join(root, file))).toBe(true);
    const source = readFileSync(join(root, file), 'utf8');
    for (const name of names) expect(source).toContain(name);
  });

  test('names sources that are there', () => {
    for (const [, file = ''] of text.matchAll(/`(src\/[\w./-]+)`/g))
      expect([file, existsSync(join(root, file))]).toEqual([file, true]);
  });
});
