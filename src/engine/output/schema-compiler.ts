import type { Json, JsonObject } from '../../core/json.ts';
import type { Automaton } from './automaton.ts';
import type { GrammarBuilder } from './gbnf.ts';
import type { Refuse } from './schema-merge.ts';

/** What the rules for objects, arrays, strings and numbers need of the compiler that calls them. */
export interface SchemaCompiler {
  readonly builder: GrammarBuilder;
  /** GBNF for a schema. Throws Impossible where it allows nothing. */
  visit(schema: Json, path: string, depth: number): string;
  /** The same, undefined where it allows nothing. */
  visitOr(schema: Json, path: string, depth: number): string | undefined;
  rule(path: string, body: string): string;
  merge(base: Json, other: Json, path: string): Json;
  automatonRule(hint: string, automaton: Automaton, json: boolean): string;
  /** Content of the strings that a schema of type string allows; undefined: any. */
  texts(schema: JsonObject, path: string): Automaton | undefined;
  pattern(source: string, path: string): Automaton;
  count(schema: JsonObject, keyword: string, path: string): number | null;
  /** Every value that the schema allows, where they are few. */
  finiteValues(schema: Json, path: string): readonly Json[] | undefined;
  readonly refuse: Refuse;
  readonly nothing: Refuse;
  /** Counts a step of work; ends the compilation when there have been too many. */
  readonly tick: () => void;
}
