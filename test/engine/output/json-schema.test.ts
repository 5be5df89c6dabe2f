import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../../src/core/json.ts';
import { readGrammar } from '../../../src/engine/output/gbnf-reader.ts';
import { grammarProblem } from '../../../src/engine/output/grammar-cost.ts';
import { createGrammarTexts, createRandom } from './grammar-texts.ts';
import { schemaGrammar } from './schema-grammar.ts';

const ajv = new Ajv2020({ strict: false, validateFormats: false, multipleOfPrecision: 6 });

/** All texts of the letters, up to a length. */
const words = (letters: string, length: number): string[] => {
  let all = [''];
  for (let i = 0; i < length; i++) all = ['', ...all.flatMap((word) => [...letters].map((letter) => word + letter))];
  return [...new Set(all)];
};
const numbers = [
  ...Array.from({ length: 260 }, (_, i) => i - 130),
  ...Array.from({ length: 400 }, (_, i) => (i - 200) / 8),
  ...[0.01, 0.02, 0.05, 0.1, 0.15, 0.3, 0.7, 1.15, 2.35, 99.99, 100.01, 1000, 12_345, 99_999, 1e6, 123_456_789, 1e12],
];
const someTexts = [...words('ab1-', 4), 'hello', 'x-y', 'A', 'Zoë', '😀', '"', '\\', 'a\nb', ' ', 'ab12', '12ab'];
/** Objects of a few properties, in this order. */
const objects = (values: Readonly<Record<string, readonly Json[]>>): JsonObject[] => {
  let all: JsonObject[] = [{}];
  for (const [name, some] of Object.entries(values)) {
    all = all.flatMap((object) => [object, ...some.map((value) => ({ ...object, [name]: value }))]);
  }
  return all;
};
const lists = (values: readonly Json[], length: number): Json[][] => {
  let all: Json[][] = [[]];
  for (let i = 0; i < length; i++) all = [[], ...all.flatMap((list) => values.map((value) => [...list, value]))];
  return [...new Map(all.map((list) => [JSON.stringify(list), list])).values()];
};

/** `if`, `then` and `else`; a literal with a `then` of its own looks like a promise to the linter. */
const when = (condition: Json, yes: Json, no: Json): JsonObject =>
  Object.fromEntries([
    ['if', condition],
    ['then', yes],
    ['else', no],
  ]);

interface Case {
  readonly schema: JsonObject;
  /** Of these the grammar must allow exactly the valid ones. */
  readonly values: readonly Json[];
}

const abc = { a: [1, 'x'], b: [2, true], c: [null] };
const kinds: Json[] = [1, -1, 1.5, 'a', '', true, false, null, [], [1], {}, { a: 1 }];
const exact: Record<string, Case> = {
  'multiples of 5': { schema: { type: 'integer', multipleOf: 5 }, values: numbers },
  'multiples of 7 within bounds': {
    schema: { type: 'integer', multipleOf: 7, minimum: -22, exclusiveMaximum: 99 },
    values: numbers,
  },
  'multiples of a cent': { schema: { type: 'number', multipleOf: 0.01, minimum: 0, maximum: 100 }, values: numbers },
  'multiples of a half': { schema: { type: 'number', multipleOf: 0.5, exclusiveMinimum: -3 }, values: numbers },
  'whole multiples of 1.5': { schema: { type: 'integer', multipleOf: 1.5 }, values: numbers },
  'multiples of a thousand': { schema: { type: 'integer', multipleOf: 1000, maximum: 10_000 }, values: numbers },
  'numbers from a quarter to two and a half': {
    schema: { type: 'number', minimum: 0.25, maximum: 2.5 },
    values: numbers,
  },
  'numbers between two others': {
    schema: { type: 'number', exclusiveMinimum: -2.5, exclusiveMaximum: 3.125 },
    values: numbers,
  },
  'numbers above zero': { schema: { type: 'number', exclusiveMinimum: 0 }, values: numbers },
  'numbers below minus one': { schema: { type: 'number', maximum: -1 }, values: numbers },
  'a byte': { schema: { type: 'integer', minimum: 0, maximum: 255 }, values: numbers },
  'integers with bounds that are none': {
    schema: { type: 'integer', minimum: -0.5, maximum: 12.5 },
    values: numbers,
  },
  'bounds beyond what a number holds': {
    schema: { type: 'integer', minimum: -(2 ** 63), maximum: 2 ** 63 },
    values: numbers,
  },
  'a pattern with lengths': {
    schema: { type: 'string', pattern: '^[ab]+-?1*$', minLength: 2, maxLength: 3 },
    values: someTexts,
  },
  'a pattern found anywhere': { schema: { type: 'string', pattern: 'b1', maxLength: 4 }, values: someTexts },
  'anchors in alternatives': { schema: { type: 'string', pattern: '^a|b$|1-1' }, values: someTexts },
  'a password': {
    schema: { type: 'string', pattern: '^(?=.*[0-9])(?=.*[a-z])(?!.*-).{3,4}$' },
    values: someTexts,
  },
  'classes and escapes': { schema: { type: 'string', pattern: '^[^\\d\\s"]{1,3}$' }, values: someTexts },
  'unicode classes': { schema: { type: 'string', pattern: '^\\p{Lu}\\p{L}*$' }, values: someTexts },
  'line breaks and quotes': { schema: { type: 'string', pattern: '^(?:a\\n?b|["\\\\])$' }, values: someTexts },
  'two patterns': {
    schema: {
      allOf: [
        { type: 'string', pattern: '^a' },
        { pattern: '1$', minLength: 3 },
      ],
    },
    values: someTexts,
  },
  'not a pattern': { schema: { type: 'string', maxLength: 4, not: { pattern: 'a' } }, values: someTexts },
  'not some texts': { schema: { type: 'string', maxLength: 4, not: { enum: ['a', 'ab', '1-'] } }, values: someTexts },
  'not a type': { schema: { not: { type: ['object', 'array', 'string'] } }, values: kinds },
  'not a number': { schema: { type: 'integer', not: { enum: [3, 5] }, minimum: 0 }, values: numbers },
  'an enum with bounds': {
    schema: { enum: [1, 5, 'a', 'abc', null], minimum: 2, maxLength: 2 },
    values: [1, 5, 'a', 'abc', null],
  },
  'different items of a few': {
    schema: { type: 'array', items: { enum: ['a', 'b', 1] }, uniqueItems: true },
    values: lists(['a', 'b', 1], 3),
  },
  'different items, so many': {
    schema: { type: 'array', items: { type: 'boolean' }, uniqueItems: true, minItems: 1, maxItems: 2 },
    values: lists([true, false], 3),
  },
  'a tuple that may end sooner': {
    schema: {
      type: 'array',
      prefixItems: [{ type: 'integer' }, { type: 'boolean' }],
      items: { type: 'null' },
      minItems: 1,
      maxItems: 4,
    },
    values: lists([1, true, null], 5),
  },
  'a list that holds a one': {
    schema: { type: 'array', items: { enum: [0, 1] }, contains: { const: 1 } },
    values: lists([0, 1], 4),
  },
  'names by pattern': {
    schema: {
      type: 'object',
      patternProperties: { '^n': { type: 'integer' }, s$: { type: 'string' } },
      additionalProperties: false,
    },
    values: objects({ n1: [1, 'x'], s: ['x', 1], ns: ['x', 1], other: [1] }),
  },
  'names by pattern beside declared ones': {
    schema: {
      type: 'object',
      properties: { name: { type: 'string' } },
      patternProperties: { '^x-': { type: 'integer' } },
      additionalProperties: { type: 'boolean' },
      required: ['name'],
    },
    values: objects({ name: ['a', 1], 'x-a': [1, true], z: [true, 1] }),
  },
  'names of a kind': {
    schema: { type: 'object', propertyNames: { pattern: '^[a-c]$' }, additionalProperties: { type: 'integer' } },
    values: objects({ a: [1, 'x'], bb: [1], c: [2] }),
  },
  'names of a list': {
    schema: { type: 'object', propertyNames: { enum: ['a', 'c'] }, additionalProperties: { type: 'integer' } },
    values: objects({ a: [1, 'x'], b: [1], c: [2] }),
  },
  'so many properties': {
    schema: {
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: 'boolean' }, c: { type: 'null' } },
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 2,
    },
    values: objects(abc),
  },
  'a map that is not empty': {
    schema: { type: 'object', additionalProperties: { type: 'integer' }, minProperties: 1, maxProperties: 2 },
    values: objects({ a: [1], b: [1], c: [1] }),
  },
  'properties that need others': {
    schema: {
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: 'boolean' }, c: { type: 'null' } },
      additionalProperties: false,
      dependentRequired: { a: ['b'], c: ['a'] },
    },
    values: objects(abc),
  },
  'a schema where a property is there': {
    schema: {
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: ['boolean', 'integer'] } },
      additionalProperties: false,
      dependentSchemas: { a: { properties: { b: { type: 'boolean' } }, required: ['b'] } },
    },
    values: objects({ a: [1], b: [true, 2] }),
  },
  'one thing if another, else a third': {
    schema: {
      type: 'object',
      properties: { a: { enum: [1, 'x'] }, b: { type: 'integer' }, c: { type: 'null' } },
      additionalProperties: false,
      ...when({ properties: { a: { const: 1 } }, required: ['a'] }, { required: ['b'] }, { required: ['c'] }),
    },
    values: objects(abc),
  },
  'then without else': {
    schema: {
      type: 'object',
      properties: { a: { enum: [1, 'x'] }, b: { type: 'integer' } },
      required: ['a'],
      additionalProperties: false,
      ...when({ properties: { a: { const: 1 } } }, { required: ['b'] }, true),
    },
    values: objects(abc),
  },
  'not both': {
    schema: {
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: 'integer' } },
      additionalProperties: false,
      not: { required: ['a', 'b'] },
    },
    values: objects(abc),
  },
  'exactly one of two that overlap': {
    schema: {
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: 'integer' } },
      additionalProperties: false,
      oneOf: [{ required: ['a'] }, { required: ['b'] }],
    },
    values: objects({ a: [1], b: [1] }),
  },
  'numbers of exactly one kind': {
    schema: { type: 'integer', oneOf: [{ minimum: 10 }, { maximum: 20 }] },
    values: numbers,
  },
  'all of two closed objects': {
    schema: {
      allOf: [
        { type: 'object', properties: { a: { type: 'integer' }, b: {} }, additionalProperties: false },
        { properties: { b: { type: 'boolean' }, c: {} } },
      ],
    },
    values: objects(abc),
  },
  'references beside other keywords': {
    schema: {
      $defs: { small: { type: 'integer', maximum: 10 } },
      $ref: '#/$defs/small',
      minimum: 3,
    },
    values: numbers,
  },
  'an anchor': { schema: { $defs: { s: { $anchor: 'here', type: 'boolean' } }, $ref: '#here' }, values: kinds },
  'several types': { schema: { type: ['integer', 'null', 'boolean'] }, values: kinds.filter((value) => value !== 1.5) },
};

/** Valid always, though not every valid value: dots of a format, names that nobody declared. */
const sound: Record<string, JsonObject> = {
  'many different words': {
    type: 'array',
    items: { enum: Array.from({ length: 40 }, (_, i) => `word ${i}`) },
    uniqueItems: true,
    minItems: 3,
    maxItems: 6,
  },
  'a map beside declared properties': {
    type: 'object',
    properties: { id: { type: 'integer' }, identity: { type: 'string' } },
    additionalProperties: { type: 'boolean' },
    required: ['id'],
  },
  'a bounded list with two of a kind': {
    type: 'array',
    items: { type: 'integer', minimum: 0, maximum: 9 },
    contains: { minimum: 8 },
    minContains: 2,
    minItems: 3,
    maxItems: 5,
  },
  'a discriminated union whose tag is optional': {
    oneOf: [
      { $ref: '#/$defs/cat' },
      {
        type: 'object',
        properties: { kind: { const: 'dog' }, name: { type: 'string', maxLength: 3 } },
        required: ['name'],
      },
    ],
    $defs: {
      cat: {
        type: 'object',
        properties: { kind: { const: 'cat' }, name: { type: 'string', maxLength: 3 } },
        required: ['name'],
      },
    },
  },
  'a tree with a condition at each node': {
    type: 'object',
    properties: {
      kind: { enum: ['leaf', 'node'] },
      value: { type: 'integer' },
      children: { type: 'array', items: { $ref: '#' }, maxItems: 2 },
    },
    required: ['kind'],
    ...when({ properties: { kind: { const: 'leaf' } } }, { required: ['value'] }, { required: ['children'] }),
  },
  'a list by reference and allOf': {
    $defs: {
      node: {
        allOf: [
          { type: 'object', properties: { n: { type: 'integer', multipleOf: 3 } }, required: ['n'] },
          { properties: { next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } }, required: ['next'] },
        ],
      },
    },
    $ref: '#/$defs/node',
  },
  'a null that is allowed beside': { type: 'string', enum: ['a', 'b'], nullable: true, not: { const: 'b' } },
  'a date with a length, a mail address with a bound': {
    type: 'object',
    properties: {
      at: { type: 'string', format: 'date-time', maxLength: 20 },
      mail: { type: 'string', format: 'email', maxLength: 12, pattern: 'org$' },
    },
    required: ['at', 'mail'],
  },
};

describe('a schema’s grammar', () => {
  test.each(Object.entries(exact))('%s: it allows exactly the valid values', (_, { schema, values }) => {
    const validate = ajv.compile(schema);
    const texts = createGrammarTexts(schemaGrammar(schema, 'p'));
    const wrong = values.filter((value) => texts.accepts(JSON.stringify(value)) !== validate(value));
    expect(wrong).toEqual([]);
    expect(values.some((value) => validate(value))).toBe(true);
  });

  const all = { ...Object.fromEntries(Object.entries(exact).map(([name, { schema }]) => [name, schema])), ...sound };
  test.each(Object.entries(all))('%s: whatever it allows is valid', (_, schema) => {
    const validate = ajv.compile(schema);
    const gbnf = schemaGrammar(schema, 'p');
    expect(grammarProblem(readGrammar(gbnf))).toBeUndefined();
    const { sample } = createGrammarTexts(gbnf);
    const random = createRandom(7);
    const seen = new Set<string>();
    for (let i = 0; i < 150; i++) {
      const text = sample(random);
      if (schema['nullable'] !== true || text !== 'null') expect(validate(JSON.parse(text)), text).toBe(true);
      seen.add(text);
    }
    expect(seen.size).toBeGreaterThan(1);
  });
});
