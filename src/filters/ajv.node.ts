import { Ajv } from 'ajv';
import { LRUCache } from 'lru-cache';
import type { JsonObject } from '../core/json.ts';
import type { CompileSchema, JsonCheck } from './json-check.ts';

const maxSchemaBytes = 256 * 1024;

/** The whole of JSON Schema by ajv, which makes code and so does not run at the edge. Compiled schemas are kept. */
export function createAjvCompiler(): CompileSchema {
  const compiled = new LRUCache<string, JsonCheck>({ max: 200 });
  return (schema: JsonObject) => {
    const key = JSON.stringify(schema);
    if (key.length > maxSchemaBytes) throw new Error('The JSON Schema is too large.');
    let check = compiled.get(key);
    if (!check) {
      const ajv = new Ajv({ strict: false, allErrors: false, validateFormats: false });
      const validate = ajv.compile(schema);
      check = (value) => (validate(value) ? undefined : ajv.errorsText(validate.errors, { dataVar: '' }).trim());
      compiled.set(key, check);
    }
    return check;
  };
}
