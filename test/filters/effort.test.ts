import { expect, test } from 'vitest';
import { rulesOf } from '../../src/filters/compile.ts';
import { filterSchema } from '../../src/filters/config.ts';
import { compileRules } from '../../src/filters/rules.ts';
import { createScanner } from '../../src/filters/scanner.ts';
import { hardTexts } from './adversarial.ts';

const presets = {
  pii: compileRules(rulesOf('pii', filterSchema().parse({ kind: 'pii' }))),
  secrets: compileRules(rulesOf('secrets', filterSchema().parse({ kind: 'patterns', preset: 'secrets' }))),
};

test.each(Object.entries(hardTexts(60_000)))(
  '%s lead to few states: reading them costs as reading prose',
  (_name, text) => {
    for (const rules of Object.values(presets)) {
      const { automaton } = rules;
      const scanner = createScanner(rules);
      for (let at = 0; at < text.length; at += 500) scanner.push(text.slice(at, at + 500));
      scanner.end();
      const half = automaton.groups().reduce((sum, { count }) => sum + count, automaton.expressions?.count ?? 0);
      // States are kept: what is built once is there for all texts. Without bounds it was one in nearly every symbol.
      expect(half).toBeLessThan(25_000);
      const again = createScanner(rules);
      for (let at = 0; at < text.length; at += 500) again.push(text.slice(at, at + 500));
      again.end();
      const whole = automaton.groups().reduce((sum, { count }) => sum + count, automaton.expressions?.count ?? 0);
      expect(whole - half).toBeLessThan(3_000);
    }
  },
);
