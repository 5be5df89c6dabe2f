import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { annotations } from './schema-keywords.ts';
import { listOf, resolveReference, type SchemaContext } from './schema-merge.ts';
import { negations } from './schema-negation.ts';
import { isValid, type ValueContext } from './schema-values.ts';

export interface Alternatives {
  readonly keyword: string;
  /** The schema without the keyword; each alternative is to be merged with it. */
  readonly base: JsonObject;
  readonly alternatives: readonly Json[];
}

/** `if`, `not` and dependencies as alternatives of simpler schemas: the first of them that the schema has. */
export function rewritten(context: SchemaContext, schema: JsonObject, path: string): Alternatives | undefined {
  if (schema['if'] !== undefined) {
    const { if: condition, then: yes = true, else: no = true, ...base } = schema;
    const contrary = negations(context, condition);
    if (no !== true && contrary.length === 0)
      context.refuse(path, 'if', 'has a condition whose contrary can’t be enforced');
    const alternatives = [{ allOf: [condition, yes] }, ...contrary.map((part) => ({ allOf: [part, no] }))];
    return { keyword: 'if', base, alternatives };
  }
  if (schema['then'] !== undefined || schema['else'] !== undefined) {
    const { then: _, else: __, ...base } = schema; // without `if` they mean nothing
    return { keyword: 'then', base, alternatives: [true] };
  }
  if (schema['not'] !== undefined) {
    const { not, ...base } = schema;
    const contrary = negations(context, not);
    if (contrary.length === 0) context.refuse(path, 'not', 'has no contrary that can be enforced');
    return { keyword: 'not', base, alternatives: contrary };
  }
  for (const keyword of ['dependentRequired', 'dependentSchemas', 'dependencies']) {
    const dependencies = schema[keyword];
    if (dependencies === undefined) continue;
    if (!isJsonObject(dependencies)) return context.refuse(path, keyword, 'must be an object');
    const { [keyword]: _, ...base } = schema;
    const [first, ...others] = Object.entries(dependencies);
    if (!first) return { keyword, base, alternatives: [true] };
    const [name, needed] = first;
    const then: Json = Array.isArray(needed) ? { required: needed } : (needed ?? true);
    const rest = others.length > 0 ? { ...base, [keyword]: Object.fromEntries(others) } : base;
    const alternatives = [{ properties: { [name]: false } }, { required: [name], allOf: [then] }];
    return { keyword, base: rest, alternatives };
  }
  return undefined;
}

const maxBranches = 64;
export const overlapReason = 'has alternatives that overlap: use anyOf, or tell them apart by a required constant';

/**
 * The branches of a `oneOf`, changed where a text of one might be valid by another. Throws where the others can't be
 * excluded.
 */
export function exclusiveBranches(
  context: SchemaContext & ValueContext,
  branches: readonly Json[],
  path: string,
): readonly Json[] {
  return branches.map((branch, i) => {
    const overlapping = branches.filter((other, j) => j !== i && !isApart(context, branch, other, 0));
    if (overlapping.length === 0) return branch;
    if (branches.length > maxBranches)
      context.refuse(path, 'oneOf', `has overlapping alternatives, and more than ${maxBranches}`);
    const contraries = overlapping.map((other) => {
      const contrary = negations(context, other);
      if (contrary.length === 0) {
        context.refuse(path, 'oneOf', overlapReason);
      }
      return { anyOf: contrary };
    });
    return { allOf: [branch, ...contraries] };
  });
}

/** Whether surely nothing that is written for `a` is valid by `b`. */
function isApart(context: SchemaContext & ValueContext, one: Json, other: Json, depth: number): boolean {
  context.tick();
  if (one === false || other === false) return true;
  if (!isJsonObject(one) || !isJsonObject(other) || depth > 4) return false;
  const [a, b] = [followed(context, one), followed(context, other)];
  const values = fixedValues(a);
  if (values) return values.every((value) => !isValid(context, value, b));
  const kinds = fixedValues(b);
  if (kinds) return kinds.every((value) => !isValid(context, value, a));
  const [types, otherTypes] = [typesOf(a), typesOf(b)];
  if (types && otherTypes && !types.some((type) => otherTypes.includes(type))) return true;
  const [properties, otherProperties] = [a['properties'], b['properties']];
  const [required, otherRequired] = [listOf(a['required'] ?? []), listOf(b['required'] ?? [])];
  const open = a['additionalProperties'] !== undefined && a['additionalProperties'] !== false;
  const declared = isJsonObject(properties) ? properties : {};
  // What a branch doesn't declare, it doesn't write.
  const unwritten =
    !open &&
    a['patternProperties'] === undefined &&
    Object.keys(declared).length > 0 &&
    typesOf(a)?.join() === 'object';
  if (unwritten && otherRequired.some((name) => !Object.hasOwn(declared, String(name)) && !required.includes(name)))
    return true;
  return Object.entries(declared).some(([name, property]) => {
    const against =
      isJsonObject(otherProperties) && Object.hasOwn(otherProperties, name) ? otherProperties[name] : undefined;
    if (against === undefined || !(required.includes(name) || otherRequired.includes(name))) return false;
    if (typesOf(a)?.join() !== 'object' || typesOf(b)?.join() !== 'object') return false;
    return isApart(context, property ?? true, against, depth + 1);
  });
}

/** What a reference points to, where nothing stands beside it. */
function followed(context: SchemaContext, schema: JsonObject): JsonObject {
  let part = schema;
  for (let hops = 0; typeof part['$ref'] === 'string' && hops < 20; hops++) {
    const { $ref, ...siblings } = part;
    const target = resolveReference(context.root, $ref);
    if (!isJsonObject(target) || Object.keys(siblings).some((key) => !annotations.has(key))) return schema;
    part = target;
  }
  return part;
}

const fixedValues = (schema: JsonObject): readonly Json[] | undefined => {
  if (schema['const'] !== undefined) return [schema['const']];
  return Array.isArray(schema['enum']) ? schema['enum'] : undefined;
};

/** Its types, integers as numbers; undefined: it doesn't say. */
function typesOf(schema: JsonObject): readonly Json[] | undefined {
  if (schema['type'] === undefined) return undefined;
  return listOf(schema['type']).map((type) => (type === 'integer' ? 'number' : type));
}
