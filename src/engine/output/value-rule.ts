import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { type GrammarBuilder, literal, oneOfTexts } from './gbnf.ts';
import type { SchemaCompiler } from './schema-compiler.ts';
import { allTypes, annotations } from './schema-keywords.ts';
import type { SchemaContext } from './schema-merge.ts';
import { isValid } from './schema-values.ts';

const maxCharacters = 64 * 1024;
const maxRange = 1000;

export interface ValueRules extends Pick<SchemaCompiler, 'finiteValues'> {
  /** One of the values of `const` or `enum`. */
  enumeration(schema: JsonObject, path: string): string;
}

type Needed = SchemaContext & Pick<SchemaCompiler, 'merge' | 'pattern'> & { readonly builder: GrammarBuilder };

/** Values that stand in the schema themselves, as far as its other keywords allow them. */
export function createValueRules({ root, refuse, nothing, tick, merge, pattern, builder }: Needed): ValueRules {
  let characters = 0;
  const textOf = (value: Json, path: string): string => {
    const text = JSON.stringify(value);
    characters += text.length;
    if (characters > maxCharacters) refuse(path, 'enum', `is longer than ${maxCharacters} characters`);
    return text;
  };
  const valid = (values: readonly Json[], schema: JsonObject, path: string): readonly Json[] => {
    if (Object.keys(schema).every((key) => annotations.has(key))) return values;
    const context = { root, tick, pattern: (source: string) => pattern(source, path) };
    return values.filter((value) => isValid(context, value, schema));
  };

  function constants(schema: JsonObject, path: string): readonly Json[] {
    const { const: only, enum: list, ...others } = schema;
    if (list !== undefined && (!Array.isArray(list) || list.length === 0)) {
      return refuse(path, 'enum', 'must be a list of values');
    }
    if (only === undefined) return valid(Array.isArray(list) ? list : [], others, path);
    return valid([only], list === undefined ? others : { ...others, enum: list }, path);
  }

  return {
    enumeration(schema, path) {
      const fitting = constants(schema, path);
      const [first] = fitting;
      const keyword = schema['const'] === undefined ? 'enum' : 'const';
      if (first === undefined) return nothing(path, keyword, 'has no value that is valid');
      if (fitting.length === 1) return literal(textOf(first, path));
      return oneOfTexts(
        builder,
        fitting.map((value) => textOf(value, path)),
      );
    },
    finiteValues(schema, path) {
      const refers = isJsonObject(schema) && schema['$ref'] !== undefined;
      const whole = refers ? merge({ type: allTypes }, schema, path) : schema;
      if (!isJsonObject(whole)) return undefined;
      if (whole['const'] !== undefined || whole['enum'] !== undefined) return constants(whole, path);
      const { type, minimum, maximum } = whole;
      if (type === 'boolean') return [true, false];
      if (type === 'null') return [null];
      if (type !== 'integer' || typeof minimum !== 'number' || typeof maximum !== 'number') return undefined;
      if (!(maximum - minimum < maxRange)) return undefined;
      const from = Math.ceil(minimum);
      const all = Array.from({ length: Math.max(0, Math.floor(maximum) - from + 1) }, (_, i) => from + i);
      return valid(all, whole, path);
    },
  };
}
