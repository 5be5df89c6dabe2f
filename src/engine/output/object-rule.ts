import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import {
  type Automaton,
  AutomatonTooLarge,
  acceptsText,
  anyText,
  intersect,
  isEmpty,
  ofTexts,
  subtract,
} from './automaton.ts';
import { literal, repeat } from './gbnf.ts';
import type { SchemaCompiler } from './schema-compiler.ts';

const maxPatterns = 5;
const maxCountedStates = 4000;

interface Pair {
  readonly optional: boolean;
  readonly text: string;
}

/** Objects with the declared properties in the schema's order, then others, where the schema speaks of them. */
export function objectRule(compiler: SchemaCompiler, schema: JsonObject, path: string, depth: number): string {
  const { rule, refuse, nothing } = compiler;
  const properties = schema['properties'] ?? {};
  if (!isJsonObject(properties)) return refuse(path, 'properties', 'must be an object');
  const required = schema['required'] ?? [];
  if (!Array.isArray(required)) return refuse(path, 'required', 'must be a list');
  const names = namesOf(compiler, schema, path, depth);
  const needed = new Set<Json>(required);
  const undeclared = required.filter(
    (name: Json): name is string => typeof name === 'string' && !Object.hasOwn(properties, name),
  );
  const declared = [...new Set([...Object.keys(properties), ...undeclared])];
  const pairs = declared.flatMap((name): Pair[] => {
    const optional = !needed.has(name);
    const value = compiler.visitOr(names.schemaOf(name, properties), `${path}.${name}`, depth + 1);
    if (value === undefined && optional) return [];
    if (value === undefined) return nothing(path, 'required', `names '${name}', which no property allows`);
    return [{ optional, text: rule(`${path}.${name}-pair`, `${literal(`${JSON.stringify(name)}:`)} ws ${value}`) }];
  });
  const extra = names.extra(declared);
  const least = compiler.count(schema, 'minProperties', path) ?? 0;
  const most = compiler.count(schema, 'maxProperties', path);
  if (least > 0 || most !== null) return countedRule(compiler, path, pairs, extra, least, most);

  if (pairs.length === 0) {
    return extra === undefined ? '"{" ws "}"' : rule(path, `"{" ws ( ${extra} ( "," ws ${extra} )* ws )? "}"`);
  }
  // after[i]: what may follow a pair, from the i-th on; each needs a comma before it.
  const after: string[] = [];
  after[pairs.length] = extra === undefined ? '' : `( "," ws ${extra} )*`;
  for (let i = pairs.length - 1; i >= 0; i--) {
    const { optional, text } = pairs[i] as Pair; // i is in range
    const one = `"," ws ${text}`;
    const next = after[i + 1] ?? '';
    const tail = `${optional ? `( ${one} )?` : one}${next === '' ? '' : ` ${next}`}`;
    after[i] = tail.length > 60 ? rule(`${path}-rest`, tail) : tail;
  }
  // The first pair has no comma: any optional one up to the first required.
  const starts: string[] = [];
  for (const [i, { optional, text }] of pairs.entries()) {
    starts.push(`${text} ${after[i + 1] ?? ''}`.trim());
    if (!optional) break;
  }
  const everyOptional = pairs.every(({ optional }) => optional);
  if (everyOptional && extra !== undefined) starts.push(`${extra} ${after[pairs.length]}`);
  const body = starts.length === 1 ? (starts[0] ?? '') : `( ${starts.join(' | ')} )`;
  return rule(path, everyOptional ? `"{" ws ( ${body} ws )? "}"` : `"{" ws ${body} ws "}"`);
}

/** As many pairs as the schema asks for: a rule for each property and number of pairs before it. */
function countedRule(
  { builder, rule, refuse, nothing }: SchemaCompiler,
  path: string,
  pairs: readonly Pair[],
  extra: string | undefined,
  least: number,
  most: number | null,
): string {
  if (most !== null && most < least) nothing(path, 'maxProperties', 'is below minProperties');
  const bound = most ?? least;
  if (pairs.length * (Math.min(bound, pairs.length) + 1) > maxCountedStates) {
    refuse(path, most === null ? 'minProperties' : 'maxProperties', 'is too large for so many properties');
  }
  const known = new Map<string, string | undefined>();
  const others = (before: number): string | undefined => {
    const missing = Math.max(0, least - before);
    const room = most === null ? null : most - before;
    if (extra === undefined || room === 0) return missing > 0 ? undefined : '""';
    // Two of them might have one name.
    if (missing > 1)
      return refuse(path, 'minProperties', 'can’t be enforced for more than one property without a name');
    if (before > 0) return repeat(builder, `"," ws ${extra}`, missing, room);
    const more = repeat(builder, `"," ws ${extra}`, 0, room === null ? null : room - 1);
    return missing > 0 ? `${extra} ${more}` : `( ${extra} ${more} )?`;
  };
  const from = (at: number, before: number): string | undefined => {
    const pair = pairs[at];
    if (!pair) return others(before);
    const counted = most === null ? Math.min(before, Math.max(1, least)) : before;
    const key = `${at} ${counted}`;
    if (known.has(key)) return known.get(key);
    const rest = most !== null && before >= most ? undefined : from(at + 1, before + 1);
    const without = pair.optional ? from(at + 1, before) : undefined;
    const parts = [
      ...(rest === undefined ? [] : [`${before > 0 ? '"," ws ' : ''}${pair.text} ${rest}`]),
      ...(without === undefined ? [] : [without]),
    ];
    const made = parts.length === 0 ? undefined : rule(`${path}-from`, parts.join(' | '));
    known.set(key, made);
    return made;
  };
  const body = from(0, 0) ?? nothing(path, 'minProperties', 'leaves no object');
  return rule(path, `"{" ws ( ${body} ) ws "}"`);
}

interface Names {
  /** What the value of a property must be; false where the name itself is not allowed. */
  schemaOf(name: string, properties: JsonObject): Json;
  /** A pair whose name is none of these; undefined where there are none, or the schema doesn't speak of them. */
  extra(declared: readonly string[]): string | undefined;
}

function namesOf(compiler: SchemaCompiler, schema: JsonObject, path: string, depth: number): Names {
  const { refuse, merge } = compiler;
  const patterns = schema['patternProperties'] ?? {};
  if (!isJsonObject(patterns)) return refuse(path, 'patternProperties', 'must be an object');
  const additional = schema['additionalProperties'];
  const listed = Object.entries(patterns).map(([source, value]) => ({
    names: compiler.pattern(source, `${path}.patternProperties`),
    schema: value ?? true,
  }));
  if (listed.length > maxPatterns) refuse(path, 'patternProperties', `has more than ${maxPatterns} patterns`);
  const rule = schema['propertyNames'];
  const allowed = rule === undefined ? undefined : nameTexts(compiler, rule, `${path}.propertyNames`);

  return {
    schemaOf(name, properties) {
      if (allowed && !acceptsText(allowed, name)) return false;
      const declared = Object.hasOwn(properties, name) ? properties[name] : undefined;
      const matching = listed.filter((pattern) => acceptsText(pattern.names, name)).map(({ schema: value }) => value);
      const parts: readonly Json[] = declared === undefined ? matching : [declared, ...matching];
      if (parts.length === 0) return additional ?? true;
      return parts.reduce((whole, part) =>
        whole === false || part === false ? false : merge(whole, part, `${path}.${name}`),
      );
    },
    extra(declared) {
      const silent = additional === undefined && (declared.length > 0 || listed.length > 0);
      try {
        // Names by the patterns that they match, each with what their values must be.
        let groups: { names: Automaton; values: readonly Json[] }[] = [
          { names: subtract(allowed ?? anyText, ofTexts(declared)), values: [] },
        ];
        for (const pattern of listed) {
          compiler.tick();
          groups = groups.flatMap(({ names, values }) => [
            { names: intersect(names, pattern.names), values: [...values, pattern.schema] },
            { names: subtract(names, pattern.names), values },
          ]);
        }
        const pairs = groups.flatMap(({ names, values }) => {
          if (isEmpty(names) || (values.length === 0 && (silent || additional === false))) return [];
          const whole =
            values.length === 0 ? (additional ?? true) : values.length === 1 ? (values[0] ?? true) : { allOf: values };
          const value = compiler.visitOr(whole, `${path}.additionalProperties`, depth + 1);
          if (value === undefined) return [];
          const free = names.length === 1 && allowed === undefined && listed.length === 0 && declared.length === 0;
          const name = free ? 'string' : `"\\"" ${compiler.automatonRule('name', names, true)} "\\""`;
          return [compiler.rule(`${path}-pair`, `${name} ":" ws ${value}`)];
        });
        if (pairs.length === 0) return undefined;
        return pairs.length === 1 ? pairs[0] : compiler.rule(`${path}-any`, pairs.join(' | '));
      } catch (error) {
        // Too many names to tell others from: only the declared ones are written, which the schema allows as well.
        if (error instanceof AutomatonTooLarge && listed.length === 0 && declared.length > 0) return undefined;
        throw error;
      }
    },
  };
}

/** The names that `propertyNames` allows. */
function nameTexts(compiler: SchemaCompiler, schema: Json, path: string): Automaton {
  if (schema === true) return anyText;
  if (schema === false) return ofTexts([]);
  const merged = compiler.merge({ type: 'string' }, schema, path);
  if (!isJsonObject(merged)) return compiler.refuse(path, 'propertyNames', 'must be a schema');
  const values =
    merged['enum'] === undefined && merged['const'] === undefined ? undefined : compiler.finiteValues(merged, path);
  if (values) return ofTexts(values.filter((value) => typeof value === 'string'));
  const flat = merged['allOf'];
  if (Array.isArray(flat)) {
    const { allOf: _, ...base } = merged;
    return nameTexts(
      compiler,
      flat.reduce((whole: Json, part: Json) => compiler.merge(whole, part, path), base),
      path,
    );
  }
  const known = ['type', 'pattern', 'minLength', 'maxLength', 'format', 'title', 'description'];
  const strange = Object.keys(merged).find((key) => !known.includes(key));
  if (strange !== undefined) compiler.refuse(path, strange);
  return compiler.texts(merged, path) ?? anyText;
}
