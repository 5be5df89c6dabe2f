import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../../src/core/json.ts';
import { readGrammar } from '../../../src/engine/output/gbnf-reader.ts';
import { grammarProblem } from '../../../src/engine/output/grammar-cost.ts';
import { schemaGrammar } from './schema-grammar.ts';

/** `count` definitions that each name the one before several times. */
const chain = (count: number, step: (before: Json, i: number) => JsonObject): JsonObject => ({
  $defs: Object.fromEntries(
    Array.from({ length: count }, (_, i) => [
      `d${i}`,
      i === 0 ? { type: 'string' } : step({ $ref: `#/$defs/d${i - 1}` }, i),
    ]),
  ),
  $ref: `#/$defs/d${count - 1}`,
});
const many = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
const named = (count: number, make: (i: number) => Json) => Object.fromEntries(many(count, (i) => [`p${i}`, make(i)]));
const wide = `(?:${many(60, (i) => `a${i}.*b`).join('|')})`;

describe('a schema made to blow up', () => {
  test.each<[string, JsonObject]>([
    ['contraries of contraries', chain(14, (before) => ({ not: { allOf: many(10, () => before) } }))],
    [
      'conditions in conditions',
      chain(30, (before) =>
        Object.fromEntries([
          ['if', before],
          ['then', before],
          ['else', { not: before }],
        ]),
      ),
    ],
    [
      'all of all',
      chain(30, (before, i) => ({ allOf: many(10, (k) => ({ allOf: [before, { description: `${i} ${k}` }] })) })),
    ],
    ['exactly one of many', { oneOf: many(2000, (i) => ({ properties: { [`k${i}`]: { type: 'integer' } } })) }],
    [
      'constants and alternatives',
      chain(12, (before) => ({ enum: ['a'], allOf: many(10, () => ({ anyOf: [before, before] })) })),
    ],
    [
      'dependencies on each other',
      { properties: named(40, () => true), dependentRequired: named(39, (i) => [`p${i + 1}`]) },
    ],
    ['patterns of names', { patternProperties: Object.fromEntries(many(5, (i) => [`${wide}${i}`, { minimum: i }])) }],
    ['ten thousand required names', { type: 'object', required: many(10_000, (i) => `name ${i}`) }],
    ['two long lists', { allOf: many(2, (k) => ({ enum: many(6000, (i) => `${i * (k + 1)}`) })) }],
    [
      'a hundred large patterns',
      { type: 'object', properties: named(100, (i) => ({ type: 'string', pattern: `${wide}{2}${i}` })) },
    ],
    [
      'a hundred odd steps',
      { type: 'object', properties: named(100, (i) => ({ type: 'integer', multipleOf: 211 + 2 * i })) },
    ],
    [
      'large lengths',
      { type: 'object', properties: named(60, (i) => ({ type: 'string', pattern: '^[a-z]*$', minLength: 3000 + i })) },
    ],
    [
      'different ones of a thousand',
      { type: 'array', items: { enum: many(1000, (i) => i) }, uniqueItems: true, minItems: 500 },
    ],
    ['counted properties', { type: 'object', properties: named(900, () => true), minProperties: 450 }],
    [
      'alternatives times alternatives',
      { allOf: many(8, (k) => ({ anyOf: many(16, (i) => ({ title: `${k} ${i}`, minimum: i })) })) },
    ],
  ])('%s is compiled or refused within a second', (_, schema) => {
    const startedMs = performance.now();
    let outcome = '';
    try {
      outcome = grammarProblem(readGrammar(schemaGrammar(schema, 'p'))) ?? 'compiled';
    } catch (error) {
      outcome = String(error);
    }
    expect(outcome).toMatch(/compiled|schema keyword|too many/);
    expect(performance.now() - startedMs, outcome).toBeLessThan(2000);
  });
});
