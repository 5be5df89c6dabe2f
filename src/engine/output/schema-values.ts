import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { type Automaton, acceptsText } from './automaton.ts';
import { annotations } from './schema-keywords.ts';
import { listOf, resolveReference, same } from './schema-merge.ts';

export interface ValueContext {
  readonly root: Json;
  /** The texts that a pattern allows; compiled, because a backtracking engine can be kept busy for ever. */
  readonly pattern: (source: string) => Automaton;
  /** Counts a step of work; ends the compilation when there have been too many. */
  readonly tick: () => void;
}

const maxDepth = 40;

/** Whether the value is valid by the schema; false as well where a keyword is not known here. */
export function isValid(context: ValueContext, value: Json, schema: Json | undefined, depth = 0): boolean {
  context.tick();
  if (schema === true || schema === undefined) return true;
  if (!isJsonObject(schema) || depth > maxDepth) return false;
  if (schema['nullable'] === true && value === null) return true;
  return Object.entries(schema).every(([keyword, part]) => {
    if (annotations.has(keyword) || part === undefined || part === null) return true;
    return holds(context, value, keyword, part, schema, depth + 1);
  });
}

function holds(
  context: ValueContext,
  value: Json,
  keyword: string,
  part: Json,
  schema: JsonObject,
  depth: number,
): boolean {
  const valid = (inner: Json, by: Json | undefined) => isValid(context, inner, by, depth);
  const parts = (): readonly Json[] => (Array.isArray(part) ? part : []);
  const bound = typeof part === 'number' ? part : Number.NaN;
  const length = typeof value === 'string' ? [...value].length : Number.NaN;
  switch (keyword) {
    case '$ref':
      return typeof part === 'string' && valid(value, resolveReference(context.root, part) ?? false);
    case 'type':
      return listOf(part).some((type) => hasType(value, type));
    case 'const':
      return same(value, part);
    case 'enum':
      return parts().some((one) => same(value, one));
    case 'anyOf':
      return parts().some((one) => valid(value, one));
    case 'oneOf':
      return parts().filter((one) => valid(value, one)).length === 1;
    case 'allOf':
      return parts().every((one) => valid(value, one));
    case 'not':
      return !valid(value, part);
    case 'if': {
      const branch = valid(value, part) ? schema['then'] : schema['else'];
      return valid(value, branch);
    }
    case 'then':
    case 'else':
      return true;
    case 'minimum':
      return typeof value !== 'number' || value >= bound;
    case 'maximum':
      return typeof value !== 'number' || value <= bound;
    case 'exclusiveMinimum':
      return typeof value !== 'number' || value > (part === true ? Number(schema['minimum']) : bound);
    case 'exclusiveMaximum':
      return typeof value !== 'number' || value < (part === true ? Number(schema['maximum']) : bound);
    case 'multipleOf':
      return typeof value !== 'number' || Math.abs(Math.round(value / bound) - value / bound) < 1e-6;
    case 'minLength':
      return typeof value !== 'string' || length >= bound;
    case 'maxLength':
      return typeof value !== 'string' || length <= bound;
    case 'pattern':
      return typeof value !== 'string' || (typeof part === 'string' && acceptsText(context.pattern(part), value));
    case 'format':
      return true; // of constants, whoever wrote them knows
    case 'minItems':
      return !Array.isArray(value) || value.length >= bound;
    case 'maxItems':
      return !Array.isArray(value) || value.length <= bound;
    case 'uniqueItems':
      return (
        !Array.isArray(value) ||
        part === false ||
        new Set(value.map((item: Json) => JSON.stringify(item))).size === value.length
      );
    case 'items':
      if (!Array.isArray(value)) return true;
      if (Array.isArray(part)) return value.every((item: Json, i) => valid(item, part[i]));
      return value.slice(listOf(schema['prefixItems'] ?? []).length).every((item: Json) => valid(item, part));
    case 'prefixItems':
      return !Array.isArray(value) || value.every((item: Json, i) => valid(item, parts()[i]));
    case 'contains':
      return !Array.isArray(value) || value.some((item: Json) => valid(item, part));
    case 'required':
      return !isJsonObject(value) || parts().every((name) => typeof name === 'string' && Object.hasOwn(value, name));
    case 'properties':
      if (!isJsonObject(value) || !isJsonObject(part)) return !isJsonObject(value);
      return Object.entries(value).every(
        ([name, item]) => !Object.hasOwn(part, name) || valid(item ?? null, part[name]),
      );
    case 'additionalProperties':
      if (!isJsonObject(value)) return true;
      if (schema['patternProperties'] !== undefined) return false;
      return Object.entries(value).every(([name, item]) => {
        const { properties } = schema;
        return (isJsonObject(properties) && Object.hasOwn(properties, name)) || valid(item ?? null, part);
      });
    default:
      return false;
  }
}

function hasType(value: Json, type: Json): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'null') return value === null;
  if (type === 'object') return isJsonObject(value);
  return typeof value === type;
}
