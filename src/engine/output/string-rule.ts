import type { JsonObject } from '../../core/json.ts';
import { type Automaton, AutomatonTooLarge, isEmpty } from './automaton.ts';
import { PatternError } from './expression.ts';
import { patternAutomaton } from './pattern.ts';
import type { SchemaCompiler } from './schema-compiler.ts';
import { boundedTexts, hasFormat, textsOf } from './string-texts.ts';

export interface StringRules extends Pick<SchemaCompiler, 'pattern' | 'texts'> {
  stringRule(schema: JsonObject, path: string): string;
}

type Needed = Pick<SchemaCompiler, 'refuse' | 'nothing' | 'tick' | 'count' | 'rule' | 'automatonRule'> & {
  readonly repeat: (item: string, least: number, most: number | null) => string;
};

/** Strings by length, pattern and format; each pattern of a schema is compiled once. */
export function createStringRules({ refuse, nothing, tick, count, rule, automatonRule, repeat }: Needed): StringRules {
  const patterns = new Map<string, Automaton>();

  const lengths = (schema: JsonObject, path: string) => {
    const [least, most] = [count(schema, 'minLength', path) ?? 0, count(schema, 'maxLength', path)];
    return most !== null && most < least ? nothing(path, 'maxLength', 'is below minLength') : { least, most };
  };

  function pattern(source: string, path: string): Automaton {
    const known = patterns.get(source);
    if (known) return known;
    tick();
    try {
      const made = patternAutomaton(source);
      patterns.set(source, made);
      return made;
    } catch (error) {
      const at = `${path}.pattern`;
      if (error instanceof PatternError) return refuse(at, 'pattern', `has ${error.message}, which can’t be enforced`);
      if (error instanceof AutomatonTooLarge) return refuse(at, 'pattern', 'is too large to compile');
      throw error;
    }
  }

  const texts: SchemaCompiler['texts'] = (schema, path) => {
    const bounds = lengths(schema, path);
    const { pattern: source, format } = schema;
    if (source !== undefined && typeof source !== 'string') return refuse(path, 'pattern', 'must be a string');
    const wanted = source === undefined ? undefined : pattern(source, path);
    try {
      return textsOf({ ...bounds, pattern: wanted, format: typeof format === 'string' ? format : undefined });
    } catch (error) {
      if (!(error instanceof AutomatonTooLarge)) throw error;
      const keyword = bounds.most === null ? 'minLength' : 'maxLength';
      return refuse(path, keyword, 'is too large together with its pattern or format');
    }
  };

  return {
    pattern,
    texts,
    stringRule(schema, path) {
      const source = schema['pattern'];
      if (source === undefined && !hasFormat(schema['format'])) {
        const { least, most } = lengths(schema, path);
        return least === 0 && most === null ? 'string' : rule(path, `"\\"" ${repeat('char', least, most)} "\\""`);
      }
      const all = texts(schema, path);
      if (all === undefined) return 'string';
      const open = typeof source === 'string' && schema['maxLength'] === undefined;
      const bounded = open ? boundedTexts(all, source) : all;
      if (isEmpty(bounded)) nothing(path, 'pattern', 'leaves no text');
      return rule(path, `"\\"" ${automatonRule('text', bounded, true)} "\\""`);
    },
  };
}
