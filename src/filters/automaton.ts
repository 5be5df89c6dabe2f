import type { SymbolClasses } from './classes.ts';
import { createClasses, several } from './classes.ts';
import { createPhrases, type Phrase, type PhraseMachine } from './phrases.ts';
import { compileProgram, type Pattern, type Start } from './program.ts';
import { createStates, type States } from './states.ts';

export interface Automaton {
  readonly classes: SymbolClasses;
  /** Undefined where there are no phrases. */
  readonly phrases: PhraseMachine | undefined;
  /** All expressions at once; undefined where there are none. */
  readonly expressions: States | undefined;
  /**
   * The same expressions in a few groups. Together they can come to as many states as the product of the groups' states,
   * which text made for that would have built at each symbol; apart they cost one look-up a group, and no more.
   */
  groups(): readonly States[];
  /** True when `text` put between two pieces could become part of a match. */
  canJoin(text: string, wholeWords: boolean): boolean;
}

/**
 * All patterns as one machine over the same symbols: the phrases in Aho and Corasick's table, the expressions unrolled and
 * made deterministic while text is read. Each half costs one look-up per symbol, however many patterns there are.
 *
 * Meaning: a match is any part of the text that a pattern describes, at every start and of every length. Matches that
 * overlap form one region, named by its leftmost-longest match; so no character of any match is outside a region.
 */
export function createAutomaton(patterns: readonly Pattern[]): Automaton {
  const list = patterns.flatMap(({ match, holds }, pattern): Phrase[] =>
    'phrase' in match ? [{ text: match.phrase, wholeWords: match.wholeWords ?? false, pattern, holds }] : [],
  );
  const program = compileProgram(patterns);
  const phrases = list.length > 0 ? createPhrases(list) : undefined;
  const classes = createClasses(program.sets, (folded) => phrases?.symbolOf(folded) ?? 0, program.usesBoundary);
  const statesOf = (chosen: readonly Start[]) => createStates(program, chosen, patterns, classes.all);
  const expressions = program.starts.length > 0 ? statesOf(program.starts) : undefined;
  let groups: readonly States[] | undefined;
  return {
    classes,
    phrases,
    expressions,
    groups() {
      groups ??= grouped(program.starts, patterns).map(statesOf);
      return groups;
    },
    canJoin(text, wholeWords) {
      if (text === '') return true;
      // A boundary that the replacement makes or removes can finish another match, unless regions end at boundaries.
      if (program.usesBoundary && !wholeWords) return true;
      if (phrases?.canJoin(text)) return true;
      const symbols = [...text].flatMap((char) => {
        const found = classes.of(char.codePointAt(0) ?? 0);
        return found <= several ? (classes.sequences[several - found] ?? []) : found < 0 ? [] : [found];
      });
      return expressions?.canJoin(symbols) ?? false;
    },
  };
}

const maxGroups = 16;

function grouped(starts: readonly Start[], patterns: readonly Pattern[]): readonly (readonly Start[])[] {
  const groups = new Map<string, Start[]>();
  for (const start of starts) {
    const name = patterns[start.pattern]?.group ?? '';
    const key = groups.has(name) || groups.size < maxGroups ? name : [...groups.keys()].at(-1);
    groups.set(key ?? '', [...(groups.get(key ?? '') ?? []), start]);
  }
  return [...groups.values()];
}
