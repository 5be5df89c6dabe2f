import { expect, test } from 'vitest';
import type { Json } from '../../../src/core/json.ts';
import { readGrammar } from '../../../src/engine/output/gbnf-reader.ts';
import { grammarProblem } from '../../../src/engine/output/grammar-cost.ts';
import { schemaGrammar } from './schema-grammar.ts';

/** Each definition is ten times the one before: 10¹¹ paths in two kilobytes. */
const schemaBomb: Json = {
  $ref: '#/$defs/l11',
  $defs: Object.fromEntries(
    Array.from({ length: 12 }, (_, i) => [
      `l${i}`,
      i === 0
        ? { type: 'string' }
        : { anyOf: Array.from({ length: 10 }, (__, k) => ({ anyOf: [{ $ref: `#/$defs/l${i - 1}` }, { const: k }] })) },
    ]),
  ),
};
const letters = 'abcdefghijklmnopqrst';
const doubling = [...letters].map((letter, i) => `${letter} ::= (${letters[i + 1]} | ${letters[i + 1]})`).slice(0, -1);
const emptyChain = Array.from({ length: 3000 }, (_, i) => `r${i} ::= r${(i * 7 + 3) % 3001} |`);

test.each([
  { name: 'a schema of references that multiply', text: () => schemaGrammar(schemaBomb, 'p'), says: /too many ways/ },
  {
    name: 'rules that double twenty times',
    text: () => `root ::= a\n${doubling.join('\n')}\nt ::= "x"`,
    says: /too many ways/,
  },
  {
    name: 'a text with two meanings for each letter',
    text: () => 'root ::= "a" root "b" | "a" root "c" | "x"',
    says: /at once/,
  },
  {
    name: 'ten thousand alternatives',
    text: () => `root ::= ${Array.from({ length: 10_000 }, (_, i) => `"x${i}"`).join(' | ')}`,
    says: /at once/,
  },
  { name: 'left recursion', text: () => 'root ::= root "a" | "b"', says: /begins with itself/ },
  {
    name: 'left recursion by two rules',
    text: () => 'root ::= a\na ::= b "x" | "y"\nb ::= a "z"',
    says: /begins with itself/,
  },
  {
    name: 'left recursion behind nothing',
    text: () => 'root ::= e root "x" | "y"\ne ::= f\nf ::= ""',
    says: /begins with itself/,
  },
  {
    name: 'copies that fill the memory',
    text: () => `root ::= "${'a'.repeat(100_000)}"{1900}`,
    says: /repeats too much/,
  },
  { name: 'counts of counts', text: () => 'root ::= ((("a"{1000}){1000}){1000})', says: /too many repetitions/ },
  {
    name: 'rules that wait for each other in a long row',
    text: () => `root ::= r0\n${emptyChain.join('\n')}\nr3000 ::= "x"`,
    says: /./,
  },
  {
    name: 'a text that does not end',
    text: () => 'root ::= "a',
    says: /line 1: a text or a character class does not end/,
  },
  { name: 'a rule that is not there', text: () => 'root ::= foo', says: /'foo' is not defined/ },
  { name: 'no root', text: () => 'x ::= "a"', says: /'root' is not defined/ },
  { name: 'no ::=', text: () => 'root ::= "a"\nb = "c"', says: /line 2: '::=' is missing after 'b'/ },
])('$name is refused within a second', ({ text, says }) => {
  const startedMs = performance.now();
  const judge = () => {
    const problem = grammarProblem(readGrammar(text()));
    if (problem) throw new Error(problem);
  };
  expect(judge).toThrow(says);
  expect(performance.now() - startedMs).toBeLessThan(1000);
});

const properties = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${i}`, { type: 'integer' }]));
const words = Array.from({ length: 5000 }, (_, i) => `word ${(i * 7919) % 100_003}`);
test.each([
  { name: 'any JSON', text: () => schemaGrammar({}, 'p') },
  { name: 'three hundred optional properties', text: () => schemaGrammar({ type: 'object', properties }, 'p') },
  { name: 'one of five thousand texts', text: () => schemaGrammar({ enum: words }, 'p') },
  {
    name: 'a list of lists of a thousand',
    text: () => schemaGrammar({ type: 'array', minItems: 1000, items: { type: 'array', minItems: 1000 } }, 'p'),
  },
  { name: 'a pattern of stars in stars', text: () => schemaGrammar({ type: 'string', pattern: '(a*)*b+(a|b)*' }, 'p') },
  { name: 'thirty optional optionals', text: () => `root ::= ${'a? '.repeat(30)}\na ::= "x"?` },
  { name: 'blanks beside blanks', text: () => 'root ::= ws ws ws ws "x" # four\nws ::= [ \\t\\x0a]* | .' },
  { name: 'tail recursion', text: () => 'root ::= "a" root |\n  "b"' },
])('$name is fine', ({ text }) => {
  expect(grammarProblem(readGrammar(text()))).toBeUndefined();
});

test('a long enumeration allows its texts and nothing else', () => {
  const { rules, root } = readGrammar(schemaGrammar({ enum: ['a', 'ab', 'abc', 'b😀', 'b😁', 1, 12, '"', null] }, 'p'));
  const all: string[] = [];
  const write = (elements: readonly (typeof rules)[number][number][number][], text: string): void => {
    const [first, ...rest] = elements;
    if (first === undefined) all.push(text);
    else if (typeof first !== 'number') write(rest, text + String.fromCodePoint(first.ranges[0]?.[0] ?? 0));
    else for (const alternative of rules[first] ?? []) write([...alternative, ...rest], text);
  };
  write([root], '');
  expect(all.sort()).toEqual(['"a"', '"ab"', '"abc"', '"b😀"', '"b😁"', '1', '12', '"\\""', 'null'].sort());
});
