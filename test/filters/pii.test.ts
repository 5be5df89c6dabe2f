import { expect, test } from 'vitest';
import { rulesOf } from '../../src/filters/compile.ts';
import { filterSchema } from '../../src/filters/config.ts';
import { compileRules } from '../../src/filters/rules.ts';
import { rewriteText } from '../../src/filters/whole.ts';
import { heldOut } from './held-out.ts';
import { type Labelled, labelledSet } from './labelled.ts';

const rules = compileRules(rulesOf('pii', filterSchema().parse({ kind: 'pii', action: 'mask' })));

interface Value {
  readonly kind: string;
  readonly value: string;
}
const found = (text: string): readonly Value[] => {
  const values: Value[] = [];
  rewriteText(rules, text, {
    replace: (rule, value) => {
      values.push({ kind: rule.label, value });
      return '';
    },
  });
  return values;
};
const same = (a: Value) => (b: Value) => a.kind === b.kind && a.value === b.value;

/** Counts per kind, and a line for each miss. A value found under another kind or cut wrongly counts as both. */
function measure(texts: readonly Labelled[]) {
  const counts: Record<string, { right: number; missed: number; wrong: number }> = {};
  const count = (kind: string) => {
    counts[kind] ??= { right: 0, missed: 0, wrong: 0 };
    return counts[kind];
  };
  const misses: string[] = [];
  for (const { text, values } of texts) {
    const got = found(text);
    for (const wanted of values) {
      if (got.some(same(wanted))) count(wanted.kind).right++;
      else {
        count(wanted.kind).missed++;
        misses.push(`missed ${wanted.kind} ${JSON.stringify(wanted.value)} in ${JSON.stringify(text)}`);
      }
    }
    for (const extra of got) {
      if (values.some(same(extra))) continue;
      count(extra.kind).wrong++;
      misses.push(`wrong ${extra.kind} ${JSON.stringify(extra.value)} in ${JSON.stringify(text)}`);
    }
  }
  const rows = Object.entries(counts).map(([kind, { right, missed, wrong }]) => ({
    ...{ kind, right, missed, wrong },
    precision: right + wrong === 0 ? 1 : right / (right + wrong),
    recall: right + missed === 0 ? 1 : right / (right + missed),
  }));
  return { rows, misses };
}

function print(title: string, { rows, misses }: ReturnType<typeof measure>): void {
  const line = ({ kind, precision, recall, right, missed, wrong }: (typeof rows)[number]) =>
    `${kind.padEnd(12)} precision ${precision.toFixed(3)}  recall ${recall.toFixed(3)}  (${right} right, ${missed} missed, ${wrong} wrong)`;
  console.log([title, ...rows.map(line), ...misses].join('\n'));
}

test('precision and recall per kind on texts made from templates in several languages and formats', () => {
  const measured = measure(labelledSet(20_241_122, 120));
  print('made from templates', measured);
  for (const { kind, precision, recall } of measured.rows) {
    expect(recall, `recall of ${kind}`).toBeGreaterThanOrEqual(0.95);
    expect(precision, `precision of ${kind}`).toBeGreaterThanOrEqual(0.9);
  }
});

test('precision and recall on sentences written by hand, with much that only looks like data', () => {
  expect(heldOut.length).toBeGreaterThanOrEqual(150);
  const measured = measure(heldOut);
  print(`written by hand (${heldOut.length} sentences)`, measured);
  const sum = (field: 'right' | 'missed' | 'wrong') => measured.rows.reduce((total, row) => total + row[field], 0);
  const [right, missed, wrong] = [sum('right'), sum('missed'), sum('wrong')];
  console.log(
    `all kinds    precision ${(right / (right + wrong)).toFixed(3)}  recall ${(right / (right + missed)).toFixed(3)}`,
  );
  expect(right / (right + wrong), 'precision').toBeGreaterThanOrEqual(0.93);
  expect(right / (right + missed), 'recall').toBeGreaterThanOrEqual(0.93);
});
