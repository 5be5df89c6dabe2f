import { Ajv } from 'ajv';
import { LRUCache } from 'lru-cache';
import { bounded, TookTooLong } from '../core/bounded.node.ts';
import type { JsonObject } from '../core/json.ts';
import type { CompileSchema, JsonCheck } from './json-check.ts';
import { linear } from './json-schema.ts';

const maxSchemaBytes = 256 * 1024;
/** Of a client's: making code of twice as much can take a second in which nobody else is served. */
const maxClientBytes = 64 * 1024;
/** The same for a schema that is small and makes much work: one look at an answer takes microseconds. */
const maxCompileMs = 1000;
const maxCheckMs = 250;

/** For code that is written out, which this is not. */
const regExp = Object.assign(linear, { code: '' });

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
        // A definition that a thousand places refer to would be written out in each of them.
        ...(!trusted && { inlineRefs: false, code: { regExp } }),
      });
      const unbounded: typeof bounded = (_, work) => work();
      const validate = (trusted ? unbounded : bounded)(maxCompileMs, () => ajv.compile(schema));
      // The operator's patterns are plain RegExps, and what they read is still what a caller made the model say.
      const checking = trusted && !text.includes('"pattern') ? unbounded : bounded;
      check = (value) => {
        try {
          if (checking(maxCheckMs, () => validate(value))) return undefined;
          return ajv.errorsText(validate.errors?.slice(0, 5), { dataVar: '' }).trim();
        } catch (error) {
          if (error instanceof RangeError) return 'is nested too deep'; // it, or a schema that refers to itself
          if (error instanceof TookTooLong) return 'takes too long to check';
          throw error;
        }
      };
      compiled.set(key, check);
    }
    return check;
  };
}
