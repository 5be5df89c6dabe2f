import { Ajv } from 'ajv';
import { LRUCache } from 'lru-cache';
import { RE2JS } from 're2js';
import type { JsonObject } from '../core/json.ts';
import type { CompileSchema, JsonCheck } from './json-check.ts';

const maxSchemaBytes = 256 * 1024;
/** Of a client's: making code of twice as much can take a second in which nobody else is served. */
const maxClientBytes = 64 * 1024;

/** Of a client's schema: in time that grows with the text alone, as one of RegExp's can hold the process for hours. */
const linear = Object.assign(
  (pattern: string) => {
    const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
    return { test: (text: string) => compiled.matcher(text).find() };
  },
  { code: '' }, // for code that is written out, which this is not
);

/** The whole of JSON Schema by ajv, which makes code and so does not run at the edge. Compiled schemas are kept. */
export function createAjvCompiler(): CompileSchema {
  const compiled = new LRUCache<string, JsonCheck>({ max: 200 });
  return (schema: JsonObject, { trusted }) => {
    const text = JSON.stringify(schema);
    const key = `${trusted} ${text}`;
    if (text.length > (trusted ? maxSchemaBytes : maxClientBytes)) throw new Error('The JSON Schema is too large.');
    let check = compiled.get(key);
    if (!check) {
      const ajv = new Ajv({
        strict: false,
        allErrors: false,
        validateFormats: false,
        ...(!trusted && { code: { regExp: linear } }),
      });
      const validate = ajv.compile(schema);
      check = (value) => {
        try {
          return validate(value) ? undefined : ajv.errorsText(validate.errors, { dataVar: '' }).trim();
        } catch (error) {
          if (error instanceof RangeError) return 'is nested too deep'; // it, or a schema that refers to itself
          throw error;
        }
      };
      compiled.set(key, check);
    }
    return check;
  };
}
