import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { allTypes, annotations } from './schema-keywords.ts';
import { aheadOf, listOf, resolveReference, type SchemaContext } from './schema-merge.ts';

const maxDepth = 12;

/**
 * Schemas that together allow what `schema` does not, or a part of it: a keyword whose contrary has no schema adds none.
 * Empty where nothing is left or nothing can be said.
 */
export function negations(context: SchemaContext, schema: Json, depth = 0): readonly Json[] {
  context.tick();
  if (depth > maxDepth) return [];
  if (schema === false) return [true];
  if (!isJsonObject(schema)) return [];
  return Object.entries(schema).flatMap(([keyword, value]) =>
    annotations.has(keyword) || value === undefined ? [] : negateKeyword(context, keyword, value, schema, depth + 1),
  );
}

function negateKeyword(
  context: SchemaContext,
  keyword: string,
  value: Json,
  schema: JsonObject,
  depth: number,
): readonly Json[] {
  const number = (bound: JsonObject): Json[] => (typeof value === 'number' ? [{ type: 'number', ...bound }] : []);
  const above = (change: number): number => (typeof value === 'number' ? value + change : 0);
  switch (keyword) {
    case '$ref': {
      const target =
        typeof value === 'string' && value.startsWith('#') ? resolveReference(context.root, value) : undefined;
      return target === undefined ? [] : negations(context, target, depth);
    }
    case 'type': {
      const named = listOf(value);
      const others = allTypes.filter(
        (type) => !named.includes(type) && !(type === 'number' && named.includes('integer')),
      );
      return others.length > 0 ? [{ type: others }] : [];
    }
    case 'const':
      return notAmong([value]);
    case 'enum':
      return Array.isArray(value) ? notAmong(value) : [];
    case 'not':
      return [value];
    case 'anyOf':
      return Array.isArray(value) ? conjunction(value.map((part: Json) => negations(context, part, depth))) : [];
    case 'allOf':
      return Array.isArray(value) ? value.flatMap((part: Json) => negations(context, part, depth)) : [];
    case 'minimum':
      return number({ exclusiveMaximum: value });
    case 'exclusiveMinimum':
      return number({ maximum: value });
    case 'maximum':
      return number({ exclusiveMinimum: value });
    case 'exclusiveMaximum':
      return number({ minimum: value });
    case 'minLength':
      return above(0) > 0 ? [{ type: 'string', maxLength: above(-1) }] : [];
    case 'maxLength':
      return [{ type: 'string', minLength: above(1) }];
    case 'pattern':
      return typeof value === 'string' ? [{ type: 'string', pattern: `^${aheadOf(value, false)}` }] : [];
    case 'minItems':
      return above(0) > 0 ? [{ type: 'array', maxItems: above(-1) }] : [];
    case 'maxItems':
      return [{ type: 'array', minItems: above(1) }];
    case 'minProperties':
      return above(0) > 0 ? [{ type: 'object', maxProperties: above(-1) }] : [];
    case 'maxProperties':
      return [{ type: 'object', minProperties: above(1) }];
    case 'required':
      return listOf(value).flatMap((name) =>
        typeof name === 'string' ? [{ type: 'object', properties: { [name]: false } }] : [],
      );
    case 'properties':
      return isJsonObject(value)
        ? Object.entries(value).flatMap(([name, property]) => {
            const contrary = negations(context, property ?? true, depth);
            return contrary.length === 0
              ? []
              : [{ type: 'object', required: [name], properties: { [name]: { anyOf: contrary } } }];
          })
        : [];
    case 'contains':
      return contradicted(context, value, depth).map((items) => ({ type: 'array', items }));
    case 'items':
      return Array.isArray(value) || schema['prefixItems'] !== undefined
        ? []
        : contradicted(context, value, depth).map((contains) => ({ type: 'array', contains }));
    default:
      return [];
  }
}

const contradicted = (context: SchemaContext, schema: Json, depth: number): readonly Json[] => {
  const contrary = negations(context, schema, depth);
  return contrary.length === 0 ? [] : [{ anyOf: contrary }];
};

/** One of each: as many factors as there are lists. */
function conjunction(lists: readonly (readonly Json[])[]): readonly Json[] {
  if (lists.some((list) => list.length === 0)) return [];
  return [{ allOf: lists.map((list) => ({ anyOf: list })) }];
}

/** Everything but the values; of objects and arrays nothing, where one of them is among the values. */
function notAmong(values: readonly Json[]): readonly Json[] {
  const kindOf = (value: Json): string => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);
  const named = new Set(values.map(kindOf));
  const out: Json[] = [];
  const untouched = allTypes.filter((type) => !named.has(type));
  if (untouched.length > 0) out.push({ type: untouched });
  const texts = values.filter((value) => typeof value === 'string');
  if (texts.length > 0) {
    const escaped = texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
    out.push({ type: 'string', pattern: `^(?!(?:${escaped.join('|')})$)` });
  }
  const numbers = values.filter((value) => typeof value === 'number').sort((a, b) => a - b);
  for (const [i, value] of numbers.entries()) {
    if (i === 0) out.push({ type: 'number', exclusiveMaximum: value });
    const next = numbers[i + 1];
    if (next === undefined) out.push({ type: 'number', exclusiveMinimum: value });
    else if (next !== value) out.push({ type: 'number', exclusiveMinimum: value, exclusiveMaximum: next });
  }
  if (values.includes(true) !== values.includes(false)) out.push({ const: !values.includes(true) });
  return out;
}
