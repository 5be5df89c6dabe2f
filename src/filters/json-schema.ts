import { dereference, format, type Schema, validate } from '@cfworker/json-schema';
import { RE2JS } from 're2js';
import type { CompileSchema } from './json-check.ts';

/** In time that grows with the text alone, where a RegExp can hold the process for hours: for a client's patterns. */
export function linear(pattern: string): { test(text: string): boolean } {
  const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
  return { test: (text) => compiled.matcher(text).find() };
}

/** How often a client's schema may look at parts of one answer: some 100 ms. References to references can double it without end. */
const maxLooks = 30_000;

/** Without code generation, so that it runs at the edge. */
export const compileWithoutCode: CompileSchema = (given, { trusted }) => {
  const schema = structuredClone(given) as Schema; // marks are left in it
  const parts = dereference(schema);
  let looks = 0;
  const look = (cost: number) => {
    looks += cost;
    if (!trusted && looks > maxLooks) throw new RangeError('too many looks');
  };
  const patterns: Record<string, (text: string) => boolean> = {};
  for (const part of new Set(Object.values(parts))) {
    if (typeof part !== 'object') continue;
    assertUsable(part, parts, trusted);
    if (trusted) continue;
    delete part.format; // says what a text is meant to be, as with ajv
    if (part.pattern !== undefined) {
      const { test } = linear(part.pattern);
      part.format = `pattern ${part.pattern}`;
      patterns[part.format] = test;
      delete part.pattern;
    }
    const cost = costOf(part);
    // The validator reads this word of an older draft once whenever it comes to the part.
    Object.defineProperty(part, '$recursiveAnchor', { get: () => look(cost) });
  }
  return (value) => {
    looks = 0;
    Object.assign(format, patterns); // where the validator finds what to do with a text
    try {
      const { valid, errors } = validate(value, schema, '2020-12', parts);
      return valid ? undefined : (errors.at(-1)?.error ?? 'does not fit the schema');
    } catch {
      // Else it is nested too deep, or the schema has something else where a list or a number belongs.
      return looks > maxLooks ? 'takes too long to check' : 'cannot be checked';
    } finally {
      for (const name in patterns) delete format[name];
    }
  };
};

/** What one look at a value costs: what is compared with all its items, or written into the error, costs more. */
function costOf(part: Schema): number {
  const written = JSON.stringify([part.enum, part.const]).length;
  return 1 + Math.floor(written / 64) + (part.uniqueItems ? 100 : 0);
}

/** The validator finds these out only with a value that comes to them, which would be after the answer. */
function assertUsable(
  { pattern, patternProperties = {}, $ref, __absolute_ref__ = $ref }: Schema,
  parts: Readonly<Record<string, unknown>>,
  trusted: boolean,
): void {
  if (__absolute_ref__ !== undefined && parts[__absolute_ref__] === undefined)
    throw new Error(`The JSON Schema has no ${$ref}.`);
  const names = Object.keys(patternProperties);
  for (const expression of pattern === undefined ? names : [pattern, ...names]) new RegExp(expression, 'u');
  if (!trusted && names.length > 0) throw new Error('patternProperties are not checked here.'); // its RegExp backtracks
}
