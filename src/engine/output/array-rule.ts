import type { Json, JsonObject } from '../../core/json.ts';
import { literal, repeat } from './gbnf.ts';
import type { SchemaCompiler } from './schema-compiler.ts';

/** So many values are told apart in any order; of more each may come once, in the schema's order. */
const maxAnyOrder = 8;
const maxDistinct = 1000;
const maxDistinctStates = 4000;

/** The grammar rule of a JSON array; gives its name. Refuses what no grammar can hold. */
export function arrayRule(compiler: SchemaCompiler, schema: JsonObject, path: string, depth: number): string {
  const { builder, rule, refuse, nothing } = compiler;
  const least = compiler.count(schema, 'minItems', path) ?? 0;
  const most = compiler.count(schema, 'maxItems', path);
  if (most !== null && most < least) nothing(path, 'maxItems', 'is below minItems');
  const tuple = schema['prefixItems'] ?? (Array.isArray(schema['items']) ? schema['items'] : []);
  if (!Array.isArray(tuple)) return refuse(path, 'prefixItems', 'must be a list');
  const rest = Array.isArray(schema['items']) ? (schema['additionalItems'] ?? true) : (schema['items'] ?? true);
  const contains = schema['minContains'] === 0 ? undefined : schema['contains'];
  const unique = schema['uniqueItems'] === true && (most === null || most > 1);
  if (contains !== undefined) {
    if (tuple.length > 0 || unique)
      return refuse(path, 'contains', 'can’t be combined with prefixItems or uniqueItems');
    return containing(compiler, schema, path, depth, { least, most, rest, contains });
  }
  if (most === 0) return '"[" ws "]"';
  if (tuple.length > 0) {
    if (unique) return refuse(path, 'uniqueItems', 'can’t be combined with prefixItems');
    return tupleRule(compiler, schema, path, depth, { least, most, rest, tuple });
  }
  if (unique) return distinctRule(compiler, path, rest, least, most);
  const item = compiler.visitOr(rest, `${path}.items`, depth + 1);
  if (item === undefined) return least > 0 ? nothing(path, 'items', 'allow nothing') : '"[" ws "]"';
  const more = repeat(builder, `"," ws ${item}`, Math.max(0, least - 1), most === null ? null : most - 1);
  const items = `${item} ${more} ws`;
  return rule(path, least === 0 ? `"[" ws ( ${items} )? "]"` : `"[" ws ${items} "]"`);
}

interface Shape {
  readonly least: number;
  readonly most: number | null;
  readonly rest: Json;
}

/** The items in their places. All of them, unless the schema's own bounds say that it may end sooner. */
function tupleRule(
  { builder, visitOr, rule, nothing }: SchemaCompiler,
  schema: JsonObject,
  path: string,
  depth: number,
  { least, most, rest, tuple }: Shape & { readonly tuple: readonly Json[] },
): string {
  const items = tuple.slice(0, most ?? tuple.length).map((item, i) => visitOr(item, `${path}[${i}]`, depth + 1));
  const end = items.indexOf(undefined);
  const places = (end < 0 ? items : items.slice(0, end)).filter((item) => item !== undefined);
  const open =
    end < 0 && (most === null || most > tuple.length) ? visitOr(rest, `${path}.items`, depth + 1) : undefined;
  if (places.length < least && open === undefined) nothing(path, 'minItems', 'asks for more than prefixItems allow');
  const needed = schema['minItems'] === undefined ? places.length : Math.min(least, places.length);
  const more =
    open === undefined
      ? ''
      : repeat(
          builder,
          `"," ws ${open}`,
          Math.max(0, least - places.length),
          most === null ? null : most - places.length,
        );
  // From the end: an item that may be missing takes all behind it along.
  let text = more;
  for (let i = places.length - 1; i >= 0; i--) {
    const one = `${i > 0 ? '"," ws ' : ''}${places[i]}${text === '' ? '' : ` ${text}`}`;
    text = i >= needed ? `( ${one} )?` : one;
    if (text.length > 200) text = rule(`${path}-rest`, text);
  }
  return rule(path, `"[" ws ${text} ws "]"`);
}

/** At least so many items of one kind. They come first where the array's length is bounded, else anywhere. */
function containing(
  { builder, visit, visitOr, merge, count, rule, refuse }: SchemaCompiler,
  schema: JsonObject,
  path: string,
  depth: number,
  { least, most, rest, contains }: Shape & { readonly contains: Json },
): string {
  if (schema['maxContains'] !== undefined) refuse(path, 'maxContains');
  const wanted = count(schema, 'minContains', path) ?? 1;
  if (most !== null && most < wanted) refuse(path, 'minContains', 'is above maxItems');
  const one = visit(merge(rest, contains, `${path}.contains`), `${path}.contains`, depth + 1);
  const other = visitOr(rest, `${path}.items`, depth + 1) ?? one;
  const ones = `${one} ${repeat(builder, `"," ws ${one}`, wanted - 1, wanted - 1)}`;
  const behind = repeat(builder, `"," ws ${other}`, Math.max(0, least - wanted), most === null ? null : most - wanted);
  return rule(path, `"[" ws ${most === null ? `( ${other} "," ws )* ` : ''}${ones} ${behind} ws "]"`);
}

/** Each of a few values at most once. */
function distinctRule(
  { rule, finiteValues, refuse, nothing }: SchemaCompiler,
  path: string,
  item: Json,
  least: number,
  most: number | null,
): string {
  const found = finiteValues(item, `${path}.items`);
  const values = [...new Set(found?.map((value) => JSON.stringify(value)))];
  if (!found || values.length > maxDistinct) {
    return refuse(path, 'uniqueItems', `can be enforced only for items of at most ${maxDistinct} fixed values (enum)`);
  }
  const end = Math.min(most ?? values.length, values.length);
  if (end < least) return nothing(path, 'minItems', 'asks for more items than there are different ones');
  const counted = least > 0 || end < values.length;
  const texts = values.map((value) => rule('item', literal(value)));
  const known = new Map<string, string | undefined>();
  const named = (key: string, parts: readonly (string | undefined)[]): string | undefined => {
    const there = parts.filter((part) => part !== undefined);
    const made = there.length === 0 ? undefined : rule(`${path}-more`, there.join(' | '));
    known.set(key, made);
    if (known.size > maxDistinctStates) refuse(path, 'uniqueItems', 'is too large for these bounds');
    return made;
  };
  const comma = (written: number) => (written > 0 ? '"," ws ' : '');

  const inAnyOrder = (used: number, written: number): string | undefined => {
    const key = `${used}`;
    if (known.has(key)) return known.get(key);
    const parts = texts.map((text, i) => {
      if (used & (1 << i) || written >= end) return undefined;
      const rest = inAnyOrder(used | (1 << i), written + 1);
      return rest === undefined ? undefined : `${comma(written)}${text} ${rest}`;
    });
    return named(key, [...parts, written >= least ? '""' : undefined]);
  };
  const inOrder = (from: number, written: number): string | undefined => {
    const key = `${from} ${counted ? written : Math.min(written, 1)}`;
    if (known.has(key)) return known.get(key);
    if (from === texts.length || written === end) return written >= least ? '""' : undefined;
    const rest = inOrder(from + 1, written + 1);
    return named(key, [
      rest === undefined ? undefined : `${comma(written)}${texts[from]} ${rest}`,
      inOrder(from + 1, written),
    ]);
  };
  const body =
    (texts.length <= maxAnyOrder ? inAnyOrder(0, 0) : inOrder(0, 0)) ?? nothing(path, 'uniqueItems', 'leaves nothing');
  return rule(path, `"[" ws ( ${body} ) ws "]"`);
}
