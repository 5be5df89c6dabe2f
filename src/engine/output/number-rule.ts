import type { Json, JsonObject } from '../../core/json.ts';
import { AutomatonTooLarge, isEmpty } from './automaton.ts';
import { decimalPlaces, numberAutomaton } from './decimal.ts';
import { literal, oneOfTexts } from './gbnf.ts';
import type { SchemaCompiler } from './schema-compiler.ts';

/** Numbers have at most 15 digits before the point: a bound beyond them bounds nothing. */
const farthest = 1e15;
const maxListed = 2000;

/** Numbers within the schema's bounds; any number where it has none. */
export function numberRule(compiler: SchemaCompiler, schema: JsonObject, path: string): string {
  const { refuse, nothing } = compiler;
  const bound = (name: string): number | null => {
    const value: Json | undefined = schema[name];
    if (value === undefined || value === null || typeof value === 'boolean') return null;
    if (typeof value !== 'number' || !Number.isFinite(value)) return refuse(path, name, 'must be a number');
    return value;
  };
  const [minimum, maximum] = [bound('minimum'), bound('maximum')];
  const [above, below] = [bound('exclusiveMinimum'), bound('exclusiveMaximum')];
  const multipleOf = bound('multipleOf');
  if (multipleOf !== null && multipleOf <= 0) refuse(path, 'multipleOf', 'must be above zero');
  // Draft 4 has booleans here.
  const openLeast = (above !== null && (minimum === null || above >= minimum)) || schema['exclusiveMinimum'] === true;
  const openMost = (below !== null && (maximum === null || below <= maximum)) || schema['exclusiveMaximum'] === true;
  const lowest = above === null ? minimum : Math.max(above, minimum ?? above);
  const highest = below === null ? maximum : Math.min(below, maximum ?? below);
  const least = lowest !== null && lowest <= -farthest ? null : lowest;
  const most = highest !== null && highest >= farthest ? null : highest;
  const integer = schema['type'] === 'integer';
  if (least === null && most === null && (multipleOf === null || (integer && multipleOf === 1))) {
    return integer ? 'integer' : 'number';
  }
  try {
    const automaton = numberAutomaton({ least, most, openLeast, openMost, integer, multipleOf });
    if (isEmpty(automaton))
      nothing(path, multipleOf === null ? 'minimum' : 'multipleOf', 'leaves no number within its bounds');
    return compiler.automatonRule('number', automaton, false);
  } catch (error) {
    if (!(error instanceof AutomatonTooLarge)) throw error;
    if (multipleOf === null) return refuse(path, 'minimum', 'or maximum has too many digits');
    const listed = least === null || most === null ? undefined : multiples(least, most, multipleOf);
    const values = listed?.filter(
      (value) =>
        (!openLeast || value > (least ?? 0)) &&
        (!openMost || value < (most ?? 0)) &&
        (!integer || Number.isInteger(value)),
    );
    if (!values) return refuse(path, 'multipleOf', 'has too many digits to be enforced');
    if (values.length === 0) return nothing(path, 'multipleOf', 'leaves no number within its bounds');
    const texts = values.map((value) => value.toFixed(Math.min(20, decimalPlaces(multipleOf))));
    return texts.length === 1 ? literal(texts[0] ?? '') : oneOfTexts(compiler.builder, texts);
  }
}

/** All multiples within the bounds, where they are few. */
function multiples(least: number, most: number, step: number): readonly number[] | undefined {
  const [from, to] = [Math.ceil(least / step), Math.floor(most / step)];
  if (to - from >= maxListed) return undefined;
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => (from + i) * step);
}
