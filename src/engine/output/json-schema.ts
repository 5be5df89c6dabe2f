import { GatewayError } from '../../core/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { createGrammar, type GrammarBuilder, literal, oneOfTexts, repeat } from './gbnf.ts';
import { integerRange, numberRange } from './number-range.ts';
import { patternGrammar } from './pattern.ts';
import { formats } from './string-formats.ts';

/** Bounds on a schema, so that none can be made to blow up. */
const limits = {
  depth: 48,
  nodes: 10_000,
  characters: 256 * 1024,
  enumCharacters: 64 * 1024,
  repetitions: 100_000,
  grammar: 512 * 1024,
};

/** Keywords that say nothing about which JSON is valid, or nothing that generation has to know. */
const annotations = new Set(
  '$schema $id $anchor $comment $defs definitions title description default examples example deprecated readOnly writeOnly strict id unevaluatedProperties contentEncoding contentMediaType discriminator externalDocs xml nullable'.split(
    ' ',
  ),
);
const handled = new Set(
  '$ref type enum const anyOf oneOf allOf properties required additionalProperties items prefixItems minItems maxItems minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum'.split(
    ' ',
  ),
);

/**
 * GBNF whose every text is valid JSON by `schema` (a JSON Schema, draft 7 to 2020-12). Properties come in the schema's
 * order. Where a keyword's whole meaning has no grammar, a subset is generated that never breaks it; where there is none,
 * GatewayError unsupported names the keyword and its path. `param` is the request field that holds the schema.
 */
export function schemaGrammar(schema: Json | undefined, param: string): string {
  const builder = createGrammar();
  return builder.text(addSchema(builder, schema, param));
}

/** The same as a rule of a larger grammar; gives the rule's name or expression. */
export function addSchema(builder: GrammarBuilder, schema: Json | undefined, param: string): string {
  if (JSON.stringify(schema ?? {}).length > limits.characters) {
    throw new GatewayError('invalid_request', `${param}: the schema is larger than ${limits.characters} characters.`, {
      param,
    });
  }
  return createConverter(builder, schema ?? {}, param).visit(schema ?? {}, param, 0);
}

function createConverter(builder: GrammarBuilder, root: Json, param: string) {
  const references = new Map<string, { name: string; define(body: string): void }>();
  let nodes = 0;
  let enumCharacters = 0;
  let written = 0;

  const refuse = (path: string, keyword: string, why = 'can’t be enforced'): never => {
    throw new GatewayError('unsupported', `${path}: the schema keyword '${keyword}' ${why}.`, {
      param,
      code: 'invalid_json_schema',
    });
  };
  const rule = (path: string, body: string): string => {
    written += body.length;
    if (written > limits.grammar) refuse(path, 'schema', 'makes too large a grammar');
    return builder.rule(path.slice(param.length) || 'schema', body);
  };

  function visit(schema: Json, path: string, depth: number): string {
    if (++nodes > limits.nodes) refuse(path, 'schema', `has more than ${limits.nodes} parts`);
    if (depth > limits.depth) refuse(path, 'schema', `is nested deeper than ${limits.depth} levels`);
    if (schema === true) return 'value';
    if (schema === false) return refuse(path, 'false', 'allows nothing');
    if (!isJsonObject(schema)) return refuse(path, 'schema', 'must be an object or true');
    for (const [keyword, value] of Object.entries(schema)) {
      if (!annotations.has(keyword) && !handled.has(keyword) && !trivial(keyword, value)) refuse(`${path}`, keyword);
    }
    const plain = visitPlain(schema, path, depth);
    return schema['nullable'] === true ? `( ${plain} | "null" )` : plain;
  }

  function visitPlain(schema: JsonObject, path: string, depth: number): string {
    if (schema['$ref'] !== undefined) return visitReference(schema, path, depth);
    if (schema['const'] !== undefined) return constant(schema['const'], path);
    if (schema['enum'] !== undefined) return enumeration(schema, path);
    const choices = schema['anyOf'] ?? schema['oneOf'];
    if (choices !== undefined) {
      const keyword = schema['anyOf'] === undefined ? 'oneOf' : 'anyOf';
      if (!Array.isArray(choices) || choices.length === 0) return refuse(path, keyword, 'must be a list of schemas');
      const { anyOf: _a, oneOf: _o, ...base } = schema;
      const parts = choices.map((choice: Json, i) =>
        visit(merge(base, choice, `${path}.${keyword}[${i}]`), `${path}.${keyword}[${i}]`, depth + 1),
      );
      return rule(path, parts.join(' | '));
    }
    if (schema['allOf'] !== undefined) {
      const { allOf, ...base } = schema;
      if (!Array.isArray(allOf)) return refuse(path, 'allOf', 'must be a list of schemas');
      const merged = allOf.reduce<Json>((whole, part: Json, i) => merge(whole, part, `${path}.allOf[${i}]`), base);
      return visit(merged, path, depth + 1);
    }
    const { type } = schema;
    if (Array.isArray(type)) {
      if (type.length === 0) return refuse(path, 'type', 'must name a type');
      return rule(path, type.map((one: Json) => visitType({ ...schema, type: one }, path, depth)).join(' | '));
    }
    return visitType(schema, path, depth);
  }

  function visitType(schema: JsonObject, path: string, depth: number): string {
    switch (schema['type'] ?? inferType(schema)) {
      case 'object':
        return objectRule(schema, path, depth);
      case 'array':
        return arrayRule(schema, path, depth);
      case 'string':
        return stringRule(schema, path);
      case 'integer':
      case 'number':
        return numberRule(schema, path);
      case 'boolean':
        return 'boolean';
      case 'null':
        return 'null';
      case undefined:
        return 'value';
      default:
        return refuse(path, 'type', `must be a JSON type, not ${JSON.stringify(schema['type'])?.slice(0, 50)}`);
    }
  }

  /** References that are nothing but other references, by the rule that stands for them. */
  const aliases = new Map<string, string>();
  function leadsTo(body: string, name: string): boolean {
    aliases.set(name, body);
    for (let at: string | undefined = body; at !== undefined; at = aliases.get(at)) if (at === name) return true;
    return false;
  }

  function visitReference(schema: JsonObject, path: string, depth: number): string {
    const { $ref, ...siblings } = schema;
    if (typeof $ref !== 'string' || !$ref.startsWith('#'))
      return refuse(path, '$ref', 'may only point into the schema itself (#/$defs/…)');
    const target = resolveReference(root, $ref);
    if (target === undefined) return refuse(path, '$ref', `points to ${$ref.slice(0, 100)}, which is not there`);
    if (Object.keys(siblings).some((key) => !annotations.has(key))) {
      return visit(merge(siblings, target, path), path, depth + 1);
    }
    const known = references.get($ref);
    if (known) return known.name;
    const reserved = builder.reserve($ref.split('/').at(-1) || 'root');
    references.set($ref, reserved);
    const body = visit(target, path, depth + 1);
    if (leadsTo(body, reserved.name)) refuse(path, '$ref', 'points to itself');
    reserved.define(body);
    return reserved.name;
  }

  /** Both schemas at once. References are followed; bounds and properties are combined. */
  function merge(base: Json, other: Json, path: string): Json {
    if (other === true) return base;
    if (!isJsonObject(base) || !isJsonObject(other))
      return refuse(path, 'allOf', 'combines something that is no object schema');
    if (Object.keys(base).every((key) => annotations.has(key) && key !== 'nullable')) return { ...base, ...other };
    let part = other;
    for (let hops = 0; typeof part['$ref'] === 'string'; hops++) {
      const target = resolveReference(root, part['$ref']);
      if (hops > 20 || !isJsonObject(target)) return refuse(path, '$ref', 'can’t be followed');
      const { $ref: _, ...siblings } = part;
      part = { ...target, ...siblings };
    }
    const result: Record<string, Json | undefined> = { ...base };
    for (const [key, value] of Object.entries(part)) {
      const old = result[key];
      if (old === undefined || annotations.has(key) || JSON.stringify(old) === JSON.stringify(value))
        result[key] = value;
      else if (key === 'properties' && isJsonObject(old) && isJsonObject(value)) {
        const both: Record<string, Json | undefined> = { ...old };
        for (const [name, property] of Object.entries(value)) {
          const before = Object.hasOwn(both, name) ? both[name] : undefined;
          both[name] = before === undefined ? property : { allOf: [before, property ?? true] };
        }
        result[key] = both as JsonObject; // values of two schemas
      } else if (key === 'required' && Array.isArray(old) && Array.isArray(value))
        result[key] = [...new Set([...old, ...value])];
      else if (key === 'type') result[key] = commonType(old, value ?? null, path);
      else if (key === 'additionalProperties')
        result[key] = old === false || value === false ? false : refuse(path, key, 'is given twice');
      else if (/^(min|exclusiveMin)/.test(key) && typeof old === 'number' && typeof value === 'number')
        result[key] = Math.max(old, value);
      else if (/^(max|exclusiveMax)/.test(key) && typeof old === 'number' && typeof value === 'number')
        result[key] = Math.min(old, value);
      else refuse(path, key, 'is given twice, differently');
    }
    return result as JsonObject; // values of two schemas
  }

  function commonType(a: Json, b: Json, path: string): Json {
    const listOf = (type: Json) => (Array.isArray(type) ? type : [type]);
    const common = listOf(a).flatMap((one: Json) =>
      listOf(b).includes(one) ? [one] : one === 'number' && listOf(b).includes('integer') ? ['integer'] : [],
    );
    return common.length > 0 ? common : refuse(path, 'type', 'leaves nothing when combined');
  }

  const constant = (value: Json, path: string): string => literal(constantText(value, path));

  function constantText(value: Json, path: string): string {
    const text = JSON.stringify(value);
    enumCharacters += text.length;
    if (enumCharacters > limits.enumCharacters)
      refuse(path, 'enum', `is longer than ${limits.enumCharacters} characters`);
    return text;
  }

  function enumeration(schema: JsonObject, path: string): string {
    const values = schema['enum'];
    if (!Array.isArray(values) || values.length === 0) return refuse(path, 'enum', 'must be a list of values');
    const types = schema['type'] === undefined ? undefined : [schema['type']].flat();
    const fitting = types ? values.filter((value: Json) => types.some((type) => hasType(value, type ?? null))) : values;
    if (fitting.length === 0) return refuse(path, 'enum', 'has no value of its type');
    return oneOfTexts(
      builder,
      fitting.map((value: Json) => constantText(value, path)),
    );
  }

  function objectRule(schema: JsonObject, path: string, depth: number): string {
    const properties = schema['properties'] ?? {};
    if (!isJsonObject(properties)) return refuse(path, 'properties', 'must be an object');
    const required = schema['required'] ?? [];
    if (!Array.isArray(required)) return refuse(path, 'required', 'must be a list');
    const extra = schema['additionalProperties'];
    const names = Object.keys(properties);
    const undeclared = required.filter(
      (name: Json): name is string => typeof name === 'string' && !names.includes(name),
    );
    if (undeclared.length > 0 && extra === false)
      refuse(path, 'required', `names '${undeclared[0]}', which no property allows`);
    const valueOfExtra = () =>
      extra === undefined || extra === true ? 'value' : visit(extra, `${path}.additionalProperties`, depth + 1);
    if (names.length === 0 && undeclared.length === 0) {
      if (extra === false) return '"{" ws "}"';
      const pair = rule(`${path}-pair`, `string ":" ws ${valueOfExtra()}`);
      return rule(path, `"{" ws ( ${pair} ( "," ws ${pair} )* ws )? "}"`);
    }
    const pairs = [...names, ...undeclared].map((name) => {
      const declared = Object.hasOwn(properties, name) ? properties[name] : undefined;
      const value = declared === undefined ? valueOfExtra() : visit(declared, `${path}.${name}`, depth + 1);
      return {
        optional: !required.includes(name),
        text: rule(`${path}.${name}-pair`, `${literal(`${JSON.stringify(name)}:`)} ws ${value}`),
      };
    });
    // after[i]: what may follow a pair, from the i-th on; each needs a comma before it.
    const after: string[] = [];
    after[pairs.length] = '';
    for (let i = pairs.length - 1; i >= 0; i--) {
      const { optional, text } = pairs[i] as (typeof pairs)[number]; // i is in range
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
    const body = starts.length === 1 ? (starts[0] ?? '') : `( ${starts.join(' | ')} )`;
    const everyOptional = pairs.every(({ optional }) => optional);
    return rule(path, everyOptional ? `"{" ws ( ${body} ws )? "}"` : `"{" ws ${body} ws "}"`);
  }

  function arrayRule(schema: JsonObject, path: string, depth: number): string {
    const least = count(schema, 'minItems', path) ?? 0;
    const most = count(schema, 'maxItems', path);
    if (most !== null && most < least) refuse(path, 'maxItems', 'is below minItems');
    const prefixSchemas = schema['prefixItems'] ?? (Array.isArray(schema['items']) ? schema['items'] : []);
    if (!Array.isArray(prefixSchemas)) return refuse(path, 'prefixItems', 'must be a list');
    const prefix = prefixSchemas.map((item: Json, i) => visit(item, `${path}[${i}]`, depth + 1));
    const rest = Array.isArray(schema['items']) ? true : (schema['items'] ?? true);
    if (prefix.length > 0) {
      const open =
        rest === false || most === prefix.length ? '' : ` ( "," ws ${visit(rest, `${path}.items`, depth + 1)} )*`;
      if (least > prefix.length || (most !== null && most !== prefix.length))
        refuse(path, 'minItems', 'can’t be combined with prefixItems');
      return rule(path, `"[" ws ${prefix.join(' "," ws ')}${open} ws "]"`);
    }
    if (most === 0) return '"[" ws "]"';
    const item = visit(rest, `${path}.items`, depth + 1);
    const more = repeat(builder, `"," ws ${item}`, Math.max(0, least - 1), most === null ? null : most - 1);
    const items = `${item} ${more} ws`;
    return rule(path, least === 0 ? `"[" ws ( ${items} )? "]"` : `"[" ws ${items} "]"`);
  }

  function stringRule(schema: JsonObject, path: string): string {
    const least = count(schema, 'minLength', path) ?? 0;
    const most = count(schema, 'maxLength', path);
    if (most !== null && most < least) refuse(path, 'maxLength', 'is below minLength');
    const { pattern, format } = schema;
    if (pattern !== undefined) {
      if (typeof pattern !== 'string') return refuse(path, 'pattern', 'must be a string');
      if (least > 0 || most !== null)
        refuse(path, least > 0 ? 'minLength' : 'maxLength', 'can’t be combined with pattern');
      return rule(path, `"\\"" ${patternGrammar(pattern, path)} "\\""`);
    }
    const known = typeof format === 'string' && Object.hasOwn(formats, format) ? formats[format] : undefined;
    if (known !== undefined) return rule(`format-${format}`, `"\\"" ${known} "\\""`);
    if (least === 0 && most === null) return 'string';
    return rule(path, `"\\"" ${repeat(builder, 'char', least, most)} "\\""`);
  }

  function numberRule(schema: JsonObject, path: string): string {
    const bound = (name: string): number | null => {
      const value = schema[name];
      if (value === undefined || typeof value === 'boolean') return null;
      if (typeof value !== 'number' || !Number.isFinite(value)) return refuse(path, name, 'must be a number');
      return value;
    };
    const [minimum, maximum, above, below] = [
      bound('minimum'),
      bound('maximum'),
      bound('exclusiveMinimum'),
      bound('exclusiveMaximum'),
    ];
    // Draft 4 has booleans here.
    const openLeast = (above !== null && (minimum === null || above >= minimum)) || schema['exclusiveMinimum'] === true;
    const openMost = (below !== null && (maximum === null || below <= maximum)) || schema['exclusiveMaximum'] === true;
    const least = above === null ? minimum : Math.max(above, minimum ?? above);
    const most = below === null ? maximum : Math.min(below, maximum ?? below);
    const integer = (schema['type'] ?? inferType(schema)) === 'integer';
    const text = integer
      ? integerRange(
          least === null ? null : openLeast && Number.isInteger(least) ? least + 1 : Math.ceil(least),
          most === null ? null : openMost && Number.isInteger(most) ? most - 1 : Math.floor(most),
        )
      : numberRange({ least, most, openLeast, openMost });
    return text ?? refuse(path, 'minimum', 'and maximum leave no number');
  }

  function count(schema: JsonObject, keyword: string, path: string): number | null {
    const value = schema[keyword];
    if (value === undefined || value === null) return null;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
      return refuse(path, keyword, 'must be a whole number');
    if (value > limits.repetitions) refuse(path, keyword, `is above ${limits.repetitions}`);
    return value;
  }

  return { visit };
}

/** Keywords we cannot enforce, with values that ask for nothing. */
function trivial(keyword: string, value: Json | undefined): boolean {
  if (keyword.startsWith('x-')) return true;
  if (value === null || value === undefined) return true;
  if (keyword === 'uniqueItems') return value === false;
  if (keyword === 'multipleOf') return value === 1;
  if (keyword === 'minProperties' || keyword === 'minContains') return value === 0;
  if (keyword === 'patternProperties' || keyword === 'dependentRequired' || keyword === 'dependencies') {
    return isJsonObject(value) && Object.keys(value).length === 0;
  }
  return false;
}

function inferType(schema: JsonObject): string | undefined {
  const has = (...names: string[]) => names.some((name) => schema[name] !== undefined);
  if (has('properties', 'required', 'additionalProperties')) return 'object';
  if (has('items', 'prefixItems', 'minItems', 'maxItems')) return 'array';
  if (has('minLength', 'maxLength', 'pattern', 'format')) return 'string';
  if (has('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum')) return 'number';
  return undefined;
}

function hasType(value: Json, type: Json): boolean {
  if (type === 'integer') return Number.isInteger(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'null') return value === null;
  if (type === 'object') return isJsonObject(value);
  return typeof value === type;
}

function resolveReference(root: Json, reference: string): Json | undefined {
  let node: Json | undefined = root;
  for (const raw of reference.slice(1).split('/').slice(1)) {
    const key = decodeURIComponent(raw).replaceAll('~1', '/').replaceAll('~0', '~');
    if (Array.isArray(node)) node = node[Number(key)];
    else node = isJsonObject(node) && Object.hasOwn(node, key) ? node[key] : undefined;
  }
  return node;
}
