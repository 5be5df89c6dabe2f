import { expect, test } from 'vitest';
import { rulesOf } from '../../src/filters/compile.ts';
import { filterSchema } from '../../src/filters/config.ts';
import { compileRules } from '../../src/filters/rules.ts';
import { rewriteText } from '../../src/filters/whole.ts';
import { labelledKinds, labelledSet } from './labelled.ts';

const rules = compileRules(rulesOf('pii', filterSchema.parse({ kind: 'pii', action: 'mask' })));
const found = (text: string) => {
  const values: { kind: string; value: string }[] = [];
  rewriteText(rules, text, {
    replace: (rule, value) => {
      values.push({ kind: rule.label, value });
      return '';
    },
  });
  return values;
};

test('precision and recall per kind on a labelled set in several languages and formats', () => {
  const counts = new Map(labelledKinds.map((kind) => [kind, { right: 0, missed: 0, wrong: 0 }]));
  const misses: string[] = [];
  const count = (kind: string) => counts.get(kind) ?? { right: 0, missed: 0, wrong: 0 };
  for (const { text, values } of labelledSet(20_241_122, 120)) {
    const got = found(text);
    const same = (a: { kind: string; value: string }) => (b: { kind: string; value: string }) =>
      a.kind === b.kind && a.value === b.value;
    for (const wanted of values) {
      if (got.some(same(wanted))) count(wanted.kind).right++;
      else {
        count(wanted.kind).missed++;
        misses.push(
          `missed ${wanted.kind} ${JSON.stringify(wanted.value)} in ${JSON.stringify(text)}, found ${JSON.stringify(got)}`,
        );
      }
    }
    for (const extra of got) {
      if (values.some(same(extra))) continue;
      const entry = counts.get(extra.kind);
      if (entry) entry.wrong++;
      if (values.length === 0 || values.every(({ value }) => value !== extra.value))
        misses.push(`wrong ${extra.kind} ${JSON.stringify(extra.value)} in ${JSON.stringify(text)}`);
    }
  }
  const rows = [...counts].map(([kind, { right, missed, wrong }]) => ({
    kind,
    precision: right / Math.max(1, right + wrong),
    recall: right / Math.max(1, right + missed),
  }));
  console.log(
    rows
      .map(
        ({ kind, precision, recall }) =>
          `${kind.padEnd(12)} precision ${precision.toFixed(3)}  recall ${recall.toFixed(3)}`,
      )
      .join('\n'),
  );
  console.log(misses.join('\n'));
  for (const { kind, precision, recall } of rows) {
    expect(recall, `recall of ${kind}`).toBeGreaterThanOrEqual(0.95);
    expect(precision, `precision of ${kind}`).toBeGreaterThanOrEqual(0.9);
  }
});
