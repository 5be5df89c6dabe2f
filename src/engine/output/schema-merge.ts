import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { commonStep } from './decimal.ts';
import { annotations } from './schema-keywords.ts';

/** Ends the compilation, naming the keyword. */
export type Refuse = (path: string, keyword: string, why?: string) => never;

export interface SchemaContext {
  readonly root: Json;
  readonly refuse: Refuse;
  /** The schemas allow nothing together: an alternative that falls away, or the end. */
  readonly nothing: Refuse;
  /** Counts a step of work; ends the compilation when there have been too many. */
  readonly tick: () => void;
}

type Loose = Record<string, Json | undefined>;
const asJson = (loose: Loose): JsonObject => loose as JsonObject; // values of schemas

/** One schema for what both allow. References are followed; what has no common keyword ends the compilation. */
export function mergeSchemas(context: SchemaContext, base: Json, other: Json, path: string): Json {
  const { refuse, nothing, tick } = context;
  tick();
  if (other === true) return base;
  if (base === true) return other;
  if (base === false || other === false) return nothing(path, 'false', 'allows nothing');
  if (!isJsonObject(base) || !isJsonObject(other)) return refuse(path, 'allOf', 'combines something that is no schema');
  if (Object.keys(base).every((key) => annotations.has(key) && key !== 'nullable')) return { ...base, ...other };
  if (Object.keys(other).every((key) => annotations.has(key) && key !== 'nullable')) return base;
  const one = follow(context, base, path);
  const two = follow(context, other, path);
  const result: Loose = { ...one };
  for (const [key, value] of Object.entries(two)) {
    const old = result[key];
    result[key] =
      old === undefined || value === undefined ? (value ?? old) : mergeKeyword(context, key, old, value, path);
  }
  combineProperties(context, one, two, result, path);
  return asJson(result);
}

/** The schema with its reference replaced by what it points to. */
function follow(context: SchemaContext, schema: JsonObject, path: string): JsonObject {
  let part = schema;
  for (let hops = 0; typeof part['$ref'] === 'string'; hops++) {
    const target = resolveReference(context.root, part['$ref']);
    if (hops > 20 || target === undefined) return context.refuse(path, '$ref', 'can’t be followed');
    const { $ref: _, ...siblings } = part;
    const merged = mergeSchemas(context, siblings, target, path);
    if (!isJsonObject(merged)) return merged === true ? {} : context.refuse(path, '$ref', 'must point to a schema');
    part = merged;
  }
  return part;
}

function mergeKeyword(context: SchemaContext, key: string, old: Json, value: Json, path: string): Json {
  const { refuse, nothing } = context;
  if (annotations.has(key) || same(old, value)) return value;
  const numbers = typeof old === 'number' && typeof value === 'number';
  if (/^(min|exclusiveMin)/.test(key) && numbers) return Math.max(old, value);
  if (/^(max|exclusiveMax)/.test(key) && numbers) return Math.min(old, value);
  switch (key) {
    case 'properties':
    case 'patternProperties':
    case 'additionalProperties':
      return old; // all three together, below
    case 'required':
      if (Array.isArray(old) && Array.isArray(value)) return [...new Set([...old, ...value])];
      break;
    case 'type':
      return commonType(old, value) ?? nothing(path, 'type', 'leaves nothing when combined');
    case 'enum':
      if (Array.isArray(old) && Array.isArray(value)) {
        const others = new Set(value.map((item: Json) => JSON.stringify(item)));
        return old.filter((item: Json) => others.has(JSON.stringify(item)));
      }
      break;
    case 'const':
      return nothing(path, 'const', 'is given twice, differently');
    case 'multipleOf':
      if (numbers && old > 0 && value > 0) return commonStep(old, value);
      break;
    case 'pattern':
      if (typeof old === 'string' && typeof value === 'string') return `^${aheadOf(old)}${aheadOf(value)}`;
      break;
    case 'items':
    case 'propertyNames':
    case 'contains':
      return Array.isArray(old) || Array.isArray(value) ? refuse(path, key, 'is given twice') : { allOf: [old, value] };
    case 'prefixItems':
      if (Array.isArray(old) && Array.isArray(value)) {
        return Array.from({ length: Math.max(old.length, value.length) }, (_, i) => ({
          allOf: [old[i] ?? true, value[i] ?? true],
        }));
      }
      break;
    case 'anyOf':
    case 'oneOf':
      if (Array.isArray(old) && Array.isArray(value) && old.length * value.length <= 256 && key === 'anyOf') {
        return old.flatMap((a: Json) => value.map((b: Json) => ({ allOf: [a, b] })));
      }
      break;
    case 'allOf':
      if (Array.isArray(old) && Array.isArray(value)) return [...old, ...value];
      break;
    case 'not':
      return { anyOf: [old, value] };
    case 'uniqueItems':
      return true;
    case 'dependentRequired':
    case 'dependentSchemas':
      if (isJsonObject(old) && isJsonObject(value) && !Object.keys(old).some((name) => Object.hasOwn(value, name))) {
        return { ...old, ...value };
      }
      break;
    default:
  }
  return refuse(path, key, 'is given twice, differently');
}

/** A schema's word on further properties holds for those that only the other schema names, as well. */
function combineProperties(
  context: SchemaContext,
  one: JsonObject,
  two: JsonObject,
  result: Loose,
  path: string,
): void {
  const keys = ['properties', 'patternProperties', 'additionalProperties'];
  if (!keys.some((key) => one[key] !== undefined) || !keys.some((key) => two[key] !== undefined)) return;
  const named = (schema: JsonObject, key: string): JsonObject => {
    const value = schema[key] ?? {};
    return isJsonObject(value) ? value : context.refuse(path, key, 'must be an object');
  };
  const [first, second] = [named(one, 'properties'), named(two, 'properties')];
  const [firstPatterns, secondPatterns] = [named(one, 'patternProperties'), named(two, 'patternProperties')];
  const [extra, otherExtra] = [one['additionalProperties'] ?? true, two['additionalProperties'] ?? true];
  const hasPatterns = Object.keys(firstPatterns).length + Object.keys(secondPatterns).length > 0;
  if (hasPatterns && (extra !== true || otherExtra !== true) && !same(firstPatterns, secondPatterns)) {
    context.refuse(path, 'patternProperties', 'can’t be combined with additionalProperties of another schema');
  }
  const both = (a: Json, b: Json): Json =>
    a === true ? b : b === true || same(a, b) ? a : a === false || b === false ? false : { allOf: [a, b] };
  const names = [...new Set([...Object.keys(first), ...Object.keys(second)])];
  const properties = Object.fromEntries(
    names.map((name) => {
      const a = Object.hasOwn(first, name) ? first[name] : hasPatterns ? true : extra;
      const b = Object.hasOwn(second, name) ? second[name] : hasPatterns ? true : otherExtra;
      return [name, both(a ?? true, b ?? true)];
    }),
  );
  const patterns: Loose = { ...firstPatterns };
  for (const [pattern, schema] of Object.entries(secondPatterns))
    patterns[pattern] = both(patterns[pattern] ?? true, schema ?? true);
  if (names.length > 0) result['properties'] = properties;
  if (Object.keys(patterns).length > 0) result['patternProperties'] = asJson(patterns);
  if (one['additionalProperties'] !== undefined || two['additionalProperties'] !== undefined) {
    result['additionalProperties'] = both(extra, otherExtra);
  }
}

/** A pattern as a condition on the whole text that another pattern can stand behind. */
export const aheadOf = (pattern: string, wanted = true): string => `(?${wanted ? '=' : '!'}[^]*(?:${pattern}))`;

/** `type` and the like may be one value or several. */
export const listOf = (value: Json): readonly Json[] => (Array.isArray(value) ? value : [value]);

function commonType(a: Json, b: Json): Json | undefined {
  const common = listOf(a).flatMap((one) => {
    if (listOf(b).includes(one)) return [one];
    if (one === 'number' && listOf(b).includes('integer')) return ['integer'];
    return one === 'integer' && listOf(b).includes('number') ? ['integer'] : [];
  });
  return common.length > 1 ? common : common[0];
}

/** What a local `$ref` points at: a JSON pointer or an anchor. Undefined where there is nothing. */
export function resolveReference(root: Json, reference: string): Json | undefined {
  if (!reference.startsWith('#/') && reference !== '#') return findAnchor(root, reference.slice(1), 0);
  let node: Json | undefined = root;
  for (const raw of reference.slice(1).split('/').slice(1)) {
    const key = decoded(raw).replaceAll('~1', '/').replaceAll('~0', '~');
    if (Array.isArray(node)) node = /^\d+$/.test(key) ? node[Number(key)] : undefined;
    else node = isJsonObject(node) && Object.hasOwn(node, key) ? node[key] : undefined;
  }
  return node;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The schema that calls itself `$anchor`. */
function findAnchor(node: Json | undefined, name: string, depth: number): Json | undefined {
  if (typeof node !== 'object' || node === null || depth > 40 || name === '') return undefined;
  if (isJsonObject(node) && node['$anchor'] === name) return node;
  for (const value of Object.values(node)) {
    const found = findAnchor(value as Json, name, depth + 1); // a member of JSON
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Equal as JSON, fields in the same order. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  return typeof a === 'object' && typeof b === 'object' && JSON.stringify(a) === JSON.stringify(b);
}
