import { parseRegex, type RegexNode, type SymbolSet } from './regex.ts';

/** What to look for. `holds`: its text must not leave before it is decided (false for what is only recorded). */
export interface Pattern {
  readonly match:
    | { readonly phrase: string /** Only where no letter or digit touches it. */; readonly wholeWords?: boolean }
    | { readonly regex: string; readonly ignoreCase?: boolean };
  readonly holds: boolean;
  /** Matches that end at one place are told for every start, since a further test may refuse the longest. */
  readonly everyStart?: boolean;
  /** Expressions of one group stay together where a text leads all of them to too many states (see Automaton.groups). */
  readonly group?: string;
}

export type Instruction =
  | { readonly op: 'set'; readonly set: number; readonly next: number; readonly pattern: number }
  | { readonly op: 'split'; readonly next: readonly number[]; readonly pattern: number }
  | { readonly op: 'boundary' | 'start' | 'end'; readonly next: number; readonly pattern: number }
  /** Goes on where what was read before is one of the contexts of `mask`, or where it is none of them. */
  | {
      readonly op: 'behind';
      readonly mask: number;
      readonly negative: boolean;
      readonly next: number;
      readonly pattern: number;
    }
  | { readonly op: 'match'; readonly pattern: number };

/** One or two symbols in front of a place. A state keeps two bits of each: `first` was just read; all of it was. */
export interface Context {
  readonly first: number | undefined;
  readonly last: number;
}

export interface Start {
  readonly pattern: number;
  readonly at: number;
}

/** All expressions, unrolled. */
export interface Program {
  readonly instructions: readonly Instruction[];
  /** Where each expression begins. */
  readonly starts: readonly Start[];
  readonly sets: readonly SymbolSet[];
  readonly contexts: readonly Context[];
  readonly usesBoundary: boolean;
}

/** Contexts share the 31 bits of a small integer. */
const maxContexts = 15;

/** Throws RegexError for an expression that a stream cannot be filtered by. */
export function compileProgram(patterns: readonly Pattern[]): Program {
  const instructions: Instruction[] = [];
  const starts: Start[] = [];
  const sets: SymbolSet[] = [];
  const setIds = new Map<string, number>();
  const contexts: Context[] = [];
  let usesBoundary = false;

  const emit = (instruction: Instruction): number => instructions.push(instruction) - 1;
  const setId = (set: SymbolSet): number => {
    let id = setIds.get(set.key);
    if (id === undefined) {
      id = sets.push(set) - 1;
      setIds.set(set.key, id);
    }
    return id;
  };
  /** The bit that says that all of a context was read. */
  const contextBit = (symbols: readonly SymbolSet[]): number => {
    const ids = symbols.map(setId);
    const [first, last] = ids.length === 1 ? [undefined, ids[0]] : ids;
    let at = contexts.findIndex((known) => known.first === first && known.last === last);
    if (at < 0) at = contexts.push({ first, last: last ?? 0 }) - 1;
    if (at >= maxContexts) throw new Error(`Filters of one route use more than ${maxContexts} different lookbehinds.`);
    return 2 << (2 * at);
  };
  /** Instructions for `node` that go on at `next`; written back to front. */
  const compile = (node: RegexNode, next: number, pattern: number): number => {
    switch (node.type) {
      case 'set':
        return emit({ op: 'set', set: setId(node.set), next, pattern });
      case 'sequence':
        return node.items.reduceRight((after, item) => compile(item, after, pattern), next);
      case 'choice':
        return emit({ op: 'split', next: node.options.map((option) => compile(option, next, pattern)), pattern });
      case 'repeat': {
        let after = next;
        for (let i = node.min; i < node.max; i++) {
          after = emit({ op: 'split', next: [compile(node.item, after, pattern), next], pattern });
        }
        for (let i = 0; i < node.min; i++) after = compile(node.item, after, pattern);
        return after;
      }
      case 'behind': {
        const mask = node.options.reduce((bits, symbols) => bits | contextBit(symbols), 0);
        return emit({ op: 'behind', mask, negative: node.negative, next, pattern });
      }
      default:
        usesBoundary ||= node.type === 'boundary';
        return emit({ op: node.type, next, pattern });
    }
  };
  for (const [pattern, { match }] of patterns.entries()) {
    if ('phrase' in match) usesBoundary ||= match.wholeWords ?? false;
    else {
      const end = emit({ op: 'match', pattern });
      starts.push({ pattern, at: compile(parseRegex(match.regex, match.ignoreCase), end, pattern) });
    }
  }
  return { instructions, starts, sets, contexts, usesBoundary };
}
