import { dereference, format, type Schema, validate } from '@cfworker/json-schema';
import { RE2JS } from 're2js';
import type { Json, JsonObject } from '../core/json.ts';

/** What is wrong with a value, in words; undefined when it fits. */
export type JsonCheck = (value: unknown) => string | undefined;
/**
 * Reads a JSON Schema; throws for one that it cannot check. Node has ajv, which makes code and is quicker, the edge this
 * one. `trusted`: it is the operator's, who may write patterns that take long; a client's may not hold the process.
 */
export type CompileSchema = (schema: JsonObject, options: { readonly trusted: boolean }) => JsonCheck;

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

/** What is wrong with a text as JSON of a schema (any JSON where absent). */
export function problemOf(text: string, check: JsonCheck | undefined): string | undefined {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return 'is not JSON';
  }
  return check?.(value);
}

/** The JSON value inside a text with fences, words around it or trailing commas; undefined when there is none. */
export function extractJson(text: string): string | undefined {
  const start = text.search(/[{[]/);
  if (start < 0) return undefined;
  let depth = 0;
  let inString = false;
  for (let i = start; i < text.length; i++) {
    const char = text[i];
    if (inString) {
      if (char === '\\') i++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === '{' || char === '[') depth++;
    else if ((char === '}' || char === ']') && --depth === 0) {
      const piece = text.slice(start, i + 1);
      return [piece, withoutTrailingCommas(piece)].find((candidate) => problemOf(candidate, undefined) === undefined);
    }
  }
  return undefined;
}

/** Leaves strings alone: they are matched first. */
const withoutTrailingCommas = (text: string): string =>
  text.replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/gs, (_, string: string | undefined) => string ?? '');

type Expected = 'value' | 'value-or-end' | 'key' | 'key-or-end' | 'colon' | 'comma-or-end';

/**
 * As much of a broken JSON text as a JSON object or list can go on from: from its first bracket to the place where it
 * breaks. Empty when there is none, or when the text is whole.
 */
export function beginningOf(text: string): string {
  const start = text.search(/[{[]/);
  if (start < 0) return '';
  const open: string[] = [];
  let expected: Expected = 'value';
  let at = start;
  const upTo = (end: number) => text.slice(start, end).trimEnd();
  while (at < text.length) {
    const char = text[at] ?? '';
    if (/\s/.test(char)) {
      at++;
      continue;
    }
    const takesValue: boolean = expected === 'value' || expected === 'value-or-end';
    const takesKey: boolean = expected === 'key' || expected === 'key-or-end';
    if (takesValue && (char === '{' || char === '[')) {
      open.push(char);
      expected = char === '{' ? 'key-or-end' : 'value-or-end';
      at++;
    } else if ((char === '}' || char === ']') && (expected === 'comma-or-end' || expected.endsWith('-or-end'))) {
      if (open.pop() !== (char === '}' ? '{' : '[')) return upTo(at);
      if (open.length === 0) return ''; // whole: nothing to go on with
      expected = 'comma-or-end';
      at++;
    } else if (expected === 'comma-or-end' && char === ',') {
      expected = open.at(-1) === '{' ? 'key' : 'value';
      at++;
    } else if (expected === 'colon' && char === ':') {
      expected = 'value';
      at++;
    } else if (char === '"' && (takesValue || takesKey)) {
      const string = /^"(?:[^"\\\0-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/.exec(text.slice(at))?.[0] ?? '';
      if (text[at + string.length] !== '"') return text.slice(start, at + string.length); // open: it goes on inside
      expected = takesKey ? 'colon' : 'comma-or-end';
      at += string.length + 1;
    } else if (takesValue) {
      const word = /^[-+.\w]+/.exec(text.slice(at))?.[0] ?? '';
      const whole = word !== '' && problemOf(word, undefined) === undefined;
      if (!whole) return upTo(at);
      if (at + word.length === text.length) return upTo(at); // a number may have been cut
      expected = 'comma-or-end';
      at += word.length;
    } else return upTo(at);
  }
  return upTo(at);
}
