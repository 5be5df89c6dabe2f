import { GatewayError } from '../../core/errors.ts';
import { type Automaton, AutomatonTooLarge, intersect, isEmpty, ofLength, shortestLength } from './automaton.ts';
import { PatternError } from './expression.ts';
import { patternAutomaton } from './pattern.ts';
import { formats } from './string-formats.ts';

const compiled = new Map<string, Automaton>();

/** Whether texts of that `format` are held to it. */
export const hasFormat = (format: unknown): format is string =>
  typeof format === 'string' && Object.hasOwn(formats, format);

function formatTexts(format: string): Automaton {
  const known = compiled.get(format) ?? patternAutomaton(formats[format] ?? '');
  compiled.set(format, known);
  return known;
}

export interface TextBounds {
  readonly least: number;
  readonly most: number | null;
  readonly pattern: Automaton | undefined;
  readonly format: string | undefined;
}

/** Strings that keep all of it; undefined: any. Throws AutomatonTooLarge. */
export function textsOf({ least, most, pattern, format }: TextBounds): Automaton | undefined {
  const known = hasFormat(format) ? formatTexts(format) : undefined;
  const parts = [
    ...(pattern ? [pattern] : []),
    ...(known ? [known] : []),
    ...(least > 0 || most !== null ? [ofLength(least, most)] : []),
  ];
  const [first, ...others] = parts;
  return first && others.reduce(intersect, first);
}

/** Characters that a text may have where its pattern leaves an end open. */
const looseCharacters = 64;

/** A weak model would fill its answer where a pattern allows anything before or behind it: such texts are kept short. */
export function boundedTexts(texts: Automaton, source: string): Automaton {
  if (/^\^.*\$$/.test(source)) return texts;
  try {
    return intersect(texts, ofLength(0, Math.max(looseCharacters, 2 * shortestLength(texts))));
  } catch (error) {
    if (error instanceof AutomatonTooLarge) return texts;
    throw error;
  }
}

/** The pattern of texts that `regex` matches from beginning to end. */
export const wholePattern = (regex: string): string => `^(?:${regex})$`;

/** The texts that `regex` matches as a whole. Throws unsupported, naming the field, for what can't be enforced. */
export function wholeText(regex: string, param: string): Automaton {
  const refuse = (why: string): never => {
    throw new GatewayError('unsupported', `${param}: the expression ${why}.`, { param });
  };
  try {
    const texts = patternAutomaton(wholePattern(regex));
    return isEmpty(texts) ? refuse('leaves no text') : texts;
  } catch (error) {
    if (error instanceof PatternError) return refuse(`has ${error.message}, which can’t be enforced`);
    if (error instanceof AutomatonTooLarge) return refuse('is too large to compile');
    throw error;
  }
}
