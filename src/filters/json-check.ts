import { z } from 'zod';
import type { Json, JsonObject } from '../core/json.ts';

/** What is wrong with a value, in words; undefined when it fits. */
export type JsonCheck = (value: unknown) => string | undefined;
/** Compiles a JSON Schema; throws for one that it cannot check. Node has a complete one (ajv), the edge this one. */
export type CompileSchema = (schema: JsonObject) => JsonCheck;

/** Without code generation, so that it runs at the edge; knows no `if`, `not` and the like, and says so. */
export const compileWithZod: CompileSchema = (schema) => {
  const parser = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]); // any JSON Schema object
  return (value) => {
    const result = parser.safeParse(value);
    if (result.success) return undefined;
    const issue = result.error.issues[0];
    return issue
      ? `${issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''}${issue.message}`
      : 'does not fit the schema';
  };
};

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
