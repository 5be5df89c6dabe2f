import { GatewayError } from '../../core/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import { arrayRule } from './array-rule.ts';
import type { Automaton } from './automaton.ts';
import { automatonRule } from './automaton-grammar.ts';
import { type GrammarBuilder, repeat } from './gbnf.ts';
import { readGrammar } from './gbnf-reader.ts';
import { neverEnds } from './grammar-cost.ts';
import { numberRule } from './number-rule.ts';
import { objectRule } from './object-rule.ts';
import { exclusiveBranches, overlapReason, rewritten } from './schema-alternatives.ts';
import type { SchemaCompiler } from './schema-compiler.ts';
import { annotations, handled, inferType, trivial } from './schema-keywords.ts';
import { mergeSchemas, type Refuse, resolveReference } from './schema-merge.ts';
import { createStringRules } from './string-rule.ts';
import { createValueRules } from './value-rule.ts';

/** Bounds on a schema, so that none can be made to blow up. */
const limits = {
  depth: 48,
  nodes: 10_000,
  characters: 256 * 1024,
  repetitions: 100_000,
  grammar: 512 * 1024,
  steps: 200_000,
  milliseconds: 700,
};

/** A schema that no value is valid by: an alternative that falls away, or the answer to the request. */
class Impossible extends GatewayError {}

/**
 * Adds a rule whose every text is valid JSON by `schema` (a JSON Schema, draft 7 to 2020-12), and gives the rule's name or
 * expression. Properties come in the schema's order. Where a keyword's whole meaning has no grammar, a subset is generated
 * that never breaks it; where there is none, GatewayError unsupported names the keyword and its path. `param` is the
 * request field that holds the schema.
 */
export function addSchema(builder: GrammarBuilder, schema: Json | undefined, param: string): string {
  if (JSON.stringify(schema ?? {}).length > limits.characters) {
    throw new GatewayError('invalid_request', `${param}: the schema is larger than ${limits.characters} characters.`, {
      param,
    });
  }
  const { visit, recurs, refuse } = createConverter(builder, schema ?? {}, param);
  const root = visit(schema ?? {}, param, 0);
  if (recurs() && neverEnds(readGrammar(builder.text(root))))
    refuse(param, '$ref', 'leads back to itself without an end');
  return root;
}

function createConverter(builder: GrammarBuilder, root: Json, param: string) {
  const references = new Map<string, string>();
  const automata = new Map<Automaton, string>();
  /** References that are being compiled, and whether one was met again meanwhile. */
  const open = new Set<string>();
  let recursive = false;
  const deadlineMs = performance.now() + limits.milliseconds;
  let nodes = 0;
  let written = 0;

  const describe = (path: string, keyword: string, why: string) =>
    [`${path}: the schema keyword '${keyword}' ${why}.`, { param, code: 'invalid_json_schema' }] as const;
  const refuse: Refuse = (path, keyword, why = 'can’t be enforced') => {
    throw new GatewayError('unsupported', ...describe(path, keyword, why));
  };
  const nothing: Refuse = (path, keyword, why = 'allows nothing') => {
    throw new Impossible('unsupported', ...describe(path, keyword, why));
  };
  let steps = 0;
  const tick = () => {
    if (++steps > limits.steps || performance.now() > deadlineMs)
      refuse(param, 'schema', 'is too much work to compile');
  };
  const context = { root, refuse, nothing, tick };
  const rule = (path: string, body: string): string => {
    written += body.length;
    if (written > limits.grammar) refuse(path, 'schema', 'makes too large a grammar');
    return builder.rule(path.slice(param.length) || 'schema', body);
  };

  function visit(schema: Json, path: string, depth: number): string {
    if (++nodes > limits.nodes) refuse(path, 'schema', `has more than ${limits.nodes} parts`);
    if (depth > limits.depth) refuse(path, 'schema', `is nested deeper than ${limits.depth} levels`);
    tick();
    if (schema === true) return 'value';
    if (schema === false) return nothing(path, 'false');
    if (!isJsonObject(schema)) return refuse(path, 'schema', 'must be an object or true');
    for (const [keyword, value] of Object.entries(schema)) {
      if (!annotations.has(keyword) && !handled.has(keyword) && !trivial(keyword, value)) refuse(path, keyword);
    }
    if (schema['nullable'] !== true) return visitPlain(schema, path, depth);
    const plain = visitOr({ ...schema, nullable: false }, path, depth + 1);
    return plain === undefined ? 'null' : rule(path, `${plain} | null`);
  }

  function visitOr(schema: Json, path: string, depth: number): string | undefined {
    try {
      return visit(schema, path, depth);
    } catch (error) {
      if (error instanceof Impossible) return undefined;
      throw error;
    }
  }

  /** The alternatives that allow something. */
  function visitAny(schemas: readonly Json[], path: string, keyword: string, depth: number): string {
    const parts = schemas.flatMap((schema, i) => visitOr(schema, `${path}.${keyword}[${i}]`, depth + 1) ?? []);
    if (parts.length === 0) return nothing(path, keyword, 'leaves nothing that is valid');
    return parts.length === 1 ? (parts[0] ?? '') : rule(path, [...new Set(parts)].join(' | '));
  }

  function visitPlain(schema: JsonObject, path: string, depth: number): string {
    if (schema['$ref'] !== undefined) return visitReference(schema, path, depth);
    if (schema['const'] !== undefined || schema['enum'] !== undefined) return enumeration(schema, path);
    const { allOf, anyOf, oneOf, ...plain } = schema;
    if (allOf !== undefined) {
      if (!Array.isArray(allOf)) return refuse(path, 'allOf', 'must be a list of schemas');
      const { allOf: _, ...base } = schema;
      return visitMerged(
        allOf.reduce<Json>((whole, part: Json, i) => merge(whole, part, `${path}.allOf[${i}]`), base),
        path,
        depth,
      );
    }
    if (anyOf !== undefined) {
      if (!Array.isArray(anyOf) || anyOf.length === 0) return refuse(path, 'anyOf', 'must be a list of schemas');
      const { anyOf: _, ...base } = schema;
      return visitAny(mergedWith(base, anyOf, `${path}.anyOf`), path, 'anyOf', depth);
    }
    if (oneOf !== undefined) {
      if (!Array.isArray(oneOf) || oneOf.length === 0) return refuse(path, 'oneOf', 'must be a list of schemas');
      const branches = mergedWith(plain, oneOf, `${path}.oneOf`);
      const exclusive = exclusiveBranches(
        { ...context, pattern: (source: string) => pattern(source, path) },
        branches,
        path,
      );
      try {
        return visitAny(exclusive, path, 'oneOf', depth);
      } catch (error) {
        if (!(error instanceof GatewayError) || exclusive.every((branch, i) => branch === branches[i])) throw error;
        return refuse(path, 'oneOf', overlapReason);
      }
    }
    const other = rewritten(context, schema, path);
    if (other)
      return visitAny(
        mergedWith(other.base, other.alternatives, `${path}.${other.keyword}`),
        path,
        other.keyword,
        depth,
      );
    const { type } = schema;
    if (!Array.isArray(type)) return visitType(schema, path, depth);
    return visitAny(
      type.map((one: Json) => ({ ...schema, type: one })),
      path,
      'type',
      depth,
    );
  }

  /** Each with the base; those that contradict it fall away. */
  function mergedWith(base: JsonObject, schemas: readonly Json[], path: string): readonly Json[] {
    return schemas.flatMap((schema, i): Json[] => {
      try {
        return [merge(base, schema, `${path}[${i}]`)];
      } catch (error) {
        if (error instanceof Impossible) return [];
        throw error;
      }
    });
  }
  const merge: SchemaCompiler['merge'] = (base, other, path) => mergeSchemas(context, base, other, path);

  function visitType(schema: JsonObject, path: string, depth: number): string {
    const kind = schema['type'] ?? inferType(schema);
    switch (kind) {
      case 'object':
        return objectRule(compiler, schema, path, depth);
      case 'array':
        return arrayRule(compiler, schema, path, depth);
      case 'string':
        return stringRule(schema, path);
      case 'integer':
      case 'number':
        return numberRule(compiler, { ...schema, type: kind }, path);
      case 'boolean':
      case 'null':
        return kind;
      case undefined:
        return 'value';
      default:
        return refuse(path, 'type', `must be a JSON type, not ${JSON.stringify(kind)?.slice(0, 50)}`);
    }
  }

  /** References that are nothing but other references, by the rule that stands for them. */
  const aliases = new Map<string, string>();
  function leadsTo(body: string, name: string): boolean {
    aliases.set(name, body);
    for (let at: string | undefined = body; at !== undefined; at = aliases.get(at)) if (at === name) return true;
    return false;
  }

  /** A rule that `key` stands for, also while it is being made: that is how a schema comes back to itself. */
  function once(key: string, hint: string, path: string, make: () => string): string {
    const known = references.get(key);
    if (known !== undefined) {
      recursive ||= open.has(key);
      return known;
    }
    const reserved = builder.reserve(hint);
    references.set(key, reserved.name);
    open.add(key);
    try {
      const body = make();
      if (leadsTo(body, reserved.name)) refuse(path, '$ref', 'points to itself');
      reserved.define(body);
      return reserved.name;
    } catch (error) {
      references.delete(key);
      throw error;
    } finally {
      open.delete(key);
    }
  }

  function visitReference(schema: JsonObject, path: string, depth: number): string {
    const { $ref, ...siblings } = schema;
    if (typeof $ref !== 'string' || !$ref.startsWith('#'))
      return refuse(path, '$ref', 'may only point into the schema itself (#/$defs/…)');
    const target = resolveReference(root, $ref);
    if (target === undefined) return refuse(path, '$ref', `points to ${$ref.slice(0, 100)}, which is not there`);
    if (Object.keys(siblings).some((key) => !annotations.has(key))) {
      return visitMerged(merge(siblings, target, path), path, depth);
    }
    return once($ref, $ref.split('/').at(-1) || 'root', path, () => visit(target, path, depth + 1));
  }

  /** A schema made of several may hold itself, as a reference does. */
  function visitMerged(schema: Json, path: string, depth: number): string {
    return once(JSON.stringify(schema), 'merged', path, () => visit(schema, path, depth + 1));
  }

  const { enumeration, finiteValues } = createValueRules({
    ...context,
    builder,
    merge,
    pattern: (source, path) => pattern(source, path),
  });

  const { pattern, texts, stringRule } = createStringRules({
    refuse,
    nothing,
    tick,
    count,
    rule,
    repeat: (item, least, most) => repeat(builder, item, least, most),
    automatonRule: addAutomaton,
  });

  function addAutomaton(hint: string, automaton: Automaton, json: boolean): string {
    const known = automata.get(automaton);
    if (known !== undefined) return known;
    for (const { edges } of automaton) written += 30 * (1 + new Set(edges.map(([, , to]) => to)).size);
    if (written > limits.grammar) refuse(param, 'schema', 'makes too large a grammar');
    const name = automatonRule(builder, hint, automaton, json);
    automata.set(automaton, name);
    return name;
  }

  function count(schema: JsonObject, keyword: string, path: string): number | null {
    const value = schema[keyword];
    if (value === undefined || value === null) return null;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
      return refuse(path, keyword, 'must be a whole number');
    if (value > limits.repetitions) refuse(path, keyword, `is above ${limits.repetitions}`);
    return value;
  }

  const compiler: SchemaCompiler = {
    builder,
    visit,
    visitOr,
    rule,
    merge,
    automatonRule: addAutomaton,
    texts,
    pattern,
    count,
    finiteValues,
    refuse,
    nothing,
    tick,
  };
  return { visit, refuse, recurs: () => recursive };
}
