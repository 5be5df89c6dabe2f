import { expect, test } from 'vitest';
import { compileCondition } from '../../src/routing/conditions.ts';
import { factsOf } from '../../src/routing/facts.ts';
import { ask, contextOf } from '../request.ts';

const facts = factsOf(
  ask({ metadata: { tier: 'gold' }, tools: [{ kind: 'function', name: 'search' }], labels: ['personal-data'] }),
  contextOf({ caller: { id: 'key_1', role: 'caller', team: 'red', tags: ['eu'], tenant: 't' } }),
  'code',
);

test.each([
  ['metadata.tier == "gold"', true],
  ['metadata.nothing == "gold"', false],
  ['has(metadata.nothing) || caller.team == "red"', true],
  ['"eu" in caller.tags && "search" in request.tools', true],
  ['request.text.found("(?i)TIDE")', true],
  ['request.promptTokens > 1000', false],
  ['"personal-data" in request.labels', true],
  ['caller.tags.exists(tag, tag.startsWith("e"))', true],
  ['label == "code" && language == "en"', true],
  ['request.stream && !request.images', true],
])('%s is %s', (source, holds) => {
  expect(compileCondition(source).holds(facts)).toBe(holds);
});

test.each([
  ['request.text.matches("a")', /found/],
  ['caller.tags.exists(a, caller.tags.exists(b, a == b))', /loop inside a loop/],
  ['1 + 1', /not true or false/],
  ['nope', /Unknown variable/],
  [`"${'x'.repeat(3000)}" == "x"`, /longer than/],
  ['constructor.constructor("return 1")()', /./],
  [`${'('.repeat(100)}true${')'.repeat(100)}`, /./],
])('%s is refused', (source, why) => {
  expect(() => compileCondition(source)).toThrow(why);
});

test('a pattern is matched in linear time, whatever the client sends', () => {
  const condition = compileCondition('request.text.found("^(a+)+$")');
  const text = `${'a'.repeat(16_000)}b`;
  const evil = factsOf(ask({ messages: [{ role: 'user', content: [{ type: 'text', text }] }] }), contextOf());
  const startedMs = performance.now();
  expect(condition.holds(evil)).toBe(false);
  expect(performance.now() - startedMs).toBeLessThan(1000);
});
