import type { Json, JsonObject } from '../core/json.ts';
import type { FiltersConfig } from './config.ts';

/** What is wrong with a value, in words; undefined when it fits. */
export type JsonCheck = (value: unknown) => string | undefined;
/**
 * Reads a JSON Schema; throws for one that it cannot check. Node has ajv, which makes code and is quicker, the edge this
 * one. `trusted`: it is the operator's, who may use all of RegExp in patterns; a client's may not hold the process.
 */
export type CompileSchema = (schema: JsonObject, options: { readonly trusted: boolean }) => JsonCheck;

/** Whether some filter checks JSON, and so needs a `CompileSchema`. */
export const checksJson = (filters: FiltersConfig): boolean =>
  Object.values(filters).some(({ kind }) => kind === 'json');

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
