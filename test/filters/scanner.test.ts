import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileRules, type Rule } from '../../src/filters/rules.ts';
import { createScanner } from '../../src/filters/scanner.ts';
import { seeded } from './labelled.ts';
import { expectedOutput, forbidden, spelledRules, text } from './oracle.ts';

const mask = (match: Rule['match'], more: Partial<Rule> = {}): Rule => ({
  filter: 'test',
  label: 'x',
  action: 'mask',
  replacement: () => '[x]',
  match,
  ...more,
});
/** What comes out of a scanner; the same of a later one, which finds built what the first one had to build. */
const run = (rules: readonly Rule[], pieces: readonly string[], json = false) => {
  const set = compileRules(rules);
  const scan = () => {
    const scanner = createScanner(set, { json });
    const sent = pieces.map((piece) => scanner.push(piece));
    return { sent: [...sent, scanner.end()], ended: scanner.ended };
  };
  const first = scan();
  expect(scan()).toEqual(first);
  return first;
};
const whole = (rules: readonly Rule[], input: string, json = false) => run(rules, [input], json).sent.join('');

test('streamed text equals the definition at every cut, with no delay beyond a live prefix', () => {
  const sizes = fc.infiniteStream(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(24)));
  fc.assert(
    fc.property(spelledRules, text, sizes, (rules, input, sizes) => {
      const set = compileRules(rules.map(({ rule }) => rule));
      for (let time = 0; time < 2; time++) {
        const scanner = createScanner(set);
        let sent = '';
        for (let at = 0; at < input.length; ) {
          const size = sizes.next().value ?? 1;
          sent += scanner.push(input.slice(at, at + size));
          at = Math.min(input.length, at + size);
          expect(sent).toBe(expectedOutput(rules, input.slice(0, at), false).sent);
        }
        sent += scanner.end();
        const expected = expectedOutput(rules, input, true);
        expect(sent).toBe(expected.sent);
        expect(scanner.ended !== undefined).toBe(expected.ended);
        for (const bad of forbidden(rules)) expect(sent).not.toContain(bad);
      }
    }),
    { numRuns: 5_000 },
  );
});

test.each([
  ['case is folded', 'PassWord', 'say [x]!', 'say PASSWORD!'],
  ['compatibility forms are folded', 'file', '[x]', 'ﬁlｅ'],
  ['a decomposed letter equals the composed one', 'café', 'un [x].', 'un cafe\u0301.'],
  ['a composed letter is not its base', 'cafe', 'un café.', 'un café.'],
  ['invisible characters hide nothing', 'secret', 'a [x] b', 'a s\u200be\u00adc\u2060ret b'],
  ['any white space is a space', 'top secret', '[x]', 'top\u00a0secret'],
  ['ß is ss', 'strasse', '[x]', 'STRAßE'],
  ['overlapping matches are one region', 'aba', 'x[x]y', 'xababay'],
])('%s', (_name, phrase, expected, input) => {
  expect(whole([mask({ phrase })], input)).toBe(expected);
  expect(run([mask({ phrase })], [...input]).sent.join('')).toBe(expected);
  expect(run([mask({ phrase })], input.split('')).sent.join('')).toBe(expected);
});

test('clean text passes byte for byte, whatever it is made of', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' })), (pieces) => {
      const { sent } = run([mask({ phrase: 'zqzqzq' }), mask({ regex: '\\bzq\\d{2,4}zq\\b' })], pieces);
      // More than 64 invisible characters in a row are cut; such text is not made here.
      expect(sent.join('')).toBe(pieces.join(''));
    }),
  );
});

test('a run of invisible characters cannot fill the memory', () => {
  const { sent } = run([mask({ phrase: 'secret' })], ['sec', ...Array(1_000).fill('\u200b'), 'ret']);
  expect(sent.join('')).toBe('[x]');
});

test.each([
  ['whole words only', 'cat', 'a [x], concat cats [x]', 'a cat, concat cats cat'],
  ['scripts without spaces have no boundaries', 'cat', '我[x]你', '我cat你'],
])('%s', (_name, phrase, expected, input) => {
  expect(run([mask({ phrase, wholeWords: true })], input.split('')).sent.join('')).toBe(expected);
});

test.each([
  ['a string', '{"a":"my [x]"}', '{"a":"my pass\\u0077ord"}'],
  ['escapes of every unit', '["[x]"]', '["\\u0070\\u0061\\u0073\\u0073\\u0077\\u006f\\u0072\\u0064"]'],
  ['separate strings do not join', '["pass","word"]', '["pass","word"]'],
  ['a match with an escaped quote beside it', '{"a":"\\"[x]\\""}', '{"a":"\\"password\\""}'],
  ['a replaced value outside a string stays JSON', '{"n":0}', '{"n":4111111111111111}'],
  ['a key', '{"[x]":1}', '{"password":1}'],
  ['clean escapes stay as they are', '{"a":"\\u00e9\\n\\ud83d\\ude00"}', '{"a":"\\u00e9\\n\\ud83d\\ude00"}'],
])('tool-call arguments: %s', (_name, expected, input) => {
  const rules = [mask({ phrase: 'password' }), mask({ regex: '4\\d{15}' })];
  for (let cut = 0; cut <= input.length; cut++) {
    expect(run(rules, [input.slice(0, cut), input.slice(cut)], true).sent.join('')).toBe(expected);
  }
  expect(run(rules, input.split(''), true).sent.join('')).toBe(expected);
});

test('arguments with random strings stay valid JSON and hide the phrase in every spelling', () => {
  const spelling = fc.constantFrom('raw', 'escaped');
  const char = fc.tuple(fc.constantFrom('a', 'b', 'c', '"', '\\', 'é', '😀'), spelling).map(([value, how]) =>
    how === 'raw'
      ? JSON.stringify(value).slice(1, -1)
      : value
          .split('')
          .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
          .join(''),
  );
  const json = fc
    .array(fc.array(char, { maxLength: 12 }), { maxLength: 4 })
    .map((strings) => `{${strings.map((chars, i) => `"k${i}":"${chars.join('')}"`).join(',')}}`);
  fc.assert(
    fc.property(json, fc.infiniteStream(fc.integer({ min: 1, max: 5 })), (input, sizes) => {
      const rules = [mask({ phrase: 'ab' }), mask({ regex: 'b(?:c|"|\\\\|é){1,2}c' })];
      const pieces: string[] = [];
      for (let at = 0; at < input.length; ) {
        const size = sizes.next().value ?? 1;
        pieces.push(input.slice(at, at + size));
        at += size;
      }
      const out = run(rules, pieces, true).sent.join('');
      expect(out).toBe(whole(rules, input, true));
      const before = JSON.parse(input) as Record<string, string>;
      const after = JSON.parse(out) as Record<string, string>;
      for (const [key, value] of Object.entries(before)) expect(after[key]).toBe(whole(rules, value));
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['a+', "'+'"],
  ['a{2,}', "'{2,}'"],
  ['(a*)', "'*'"],
  ['(?=a)b', 'lookaround'],
  ['(a)\\1', 'back-reference'],
  ['a?', 'empty text'],
  ['[', 'not valid'],
  ['a{9000}', '9000 characters'],
])('the expression %s is refused with the reason', (regex, reason) => {
  expect(() => compileRules([mask({ regex })])).toThrow(reason);
});

test.each([
  ['(?<!\\d )\\b7\\d\\b', '71 72, 73', '[x] 72, [x]'],
  ['(?<![a-c]-|x)dd', 'dd a-dd xdd -dd d-dd', '[x] a-dd xdd -[x] d-[x]'],
  ['(?<=#)\\d{2}', '#12 34 #56', '#[x] 34 #[x]'],
])('the lookbehind of %s sees what stands in front, however the text is cut', (regex, input, expected) => {
  for (let cut = 0; cut <= input.length; cut++) {
    expect(run([mask({ regex })], [input.slice(0, cut), input.slice(cut)]).sent.join('')).toBe(expected);
  }
});

test('where several starts match up to one place, a check gets to see each', () => {
  const rule = mask({ regex: '\\b\\d(?: ?\\d){2,6}\\b' }, { check: (found) => found === '456' });
  expect(whole([rule], '1 2 456')).toBe('1 2 [x]');
});

test('text that leads to ever new states is read by groups of expressions, to the same end', () => {
  const kinds = ['a(?:b?[ab]){1,9}c', '\\b[ab]{2}-?(?:[abc]-?){3,8}d', 'b[abd-]{4,12}a', '(?<!a-)c[ab-]{1,9}b'];
  const rules = kinds.map((regex, index) => mask({ regex }, { action: 'flag', group: `g${index}` }));
  const { pick } = seeded(3);
  const input = Array.from({ length: 20_000 }, () => pick([...'abcd- '])).join('');
  const matches = (chosen: readonly Rule[]) => {
    const counts: Record<string, number> = {};
    const onMatch = ({ group = '' }: Rule) => {
      counts[group] = (counts[group] ?? 0) + 1;
    };
    const set = compileRules(chosen);
    const scanner = createScanner(set, { onMatch });
    const sent = input.match(/.{1,7}/gs)?.map((piece) => scanner.push(piece)) ?? [];
    expect(sent.join('') + scanner.end() === input).toBe(true);
    return { counts, divided: set.automaton.groups().some(({ count }) => count > 1) };
  };
  const together = matches(rules);
  expect(together.divided).toBe(true);
  expect(together.counts).toEqual(Object.assign({}, ...rules.map((rule) => matches([rule]).counts)));
});

test('where states are forgotten to bound the memory, readers under way miss nothing', () => {
  const { pick } = seeded(5);
  const letters = [...'ab'.repeat(16), 'c'];
  const inputs = [1, 2].map(() => Array.from({ length: 50_000 }, () => pick(letters)).join(''));
  const found = [0, 0];
  const set = compileRules([mask({ regex: 'a[ab]{15}c' }, { action: 'flag' })]);
  const scanners = inputs.map((_, which) =>
    createScanner(set, {
      onMatch: () => {
        found[which] = (found[which] ?? 0) + 1;
      },
    }),
  );
  const [states] = set.automaton.groups();
  let known = 0;
  let forgotten = 0;
  for (let at = 0; at < 50_000; at += 5) {
    for (const [which, input] of inputs.entries()) scanners[which]?.push(input.slice(at, at + 5));
    const count = states?.count ?? 0;
    if (count < known) forgotten++;
    known = count;
  }
  expect(forgotten).toBeGreaterThan(0);
  expect(found).toEqual(inputs.map((input) => [...input.matchAll(/(?=a[ab]{15}c)/g)].length));
});

test('a match that needs the end of the text waits for it', () => {
  expect(run([mask({ regex: 'bye$' })], ['bye b', 'ye']).sent).toEqual(['bye ', '', '[x]']);
});
