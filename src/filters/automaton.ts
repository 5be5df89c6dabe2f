import { foldCase, isWord, symbolsOf } from './fold.ts';
import { createPhrases, type Phrase, type PhraseMachine } from './phrases.ts';
import { parseRegex, type RegexNode, type SymbolSet } from './regex.ts';

/** What to look for. `holds`: its text must not leave before it is decided (false for what is only recorded). */
export interface Pattern {
  readonly match:
    | { readonly phrase: string /** Only where no letter or digit touches it. */; readonly wholeWords?: boolean }
    | { readonly regex: string; readonly ignoreCase?: boolean };
  readonly holds: boolean;
}

/** An expression that ends at an edge: its start is in the register of a thread before the edge, or -1 for this symbol. */
export interface Accept {
  readonly pattern: number;
  readonly register: number;
}

export interface Edge {
  readonly to: State;
  /** Per thread of `to`: the register of `from` it goes on from, or -1 where it starts with this symbol. */
  readonly moves: readonly number[];
  /** Matches that end before this symbol (a word boundary or the end showed it). */
  readonly before: readonly Accept[] | undefined;
  /** Matches that end with this symbol. */
  readonly after: readonly Accept[] | undefined;
}

/** Where all expressions are at once. Threads are ordered by their start, earliest first. */
export interface State {
  /** Edges built so far, by symbol class. */
  readonly next: (Edge | undefined)[];
  readonly word: boolean;
  readonly first: boolean;
  /** Instructions that wait for a symbol. */
  readonly threads: readonly number[];
  /** The earliest thread that holds text back, or -1. */
  readonly holdRegister: number;
}

type Instruction =
  | { readonly op: 'set'; readonly set: number; readonly next: number; readonly pattern: number }
  | { readonly op: 'split'; readonly next: readonly number[]; readonly pattern: number }
  | { readonly op: 'boundary' | 'start' | 'end'; readonly next: number; readonly pattern: number }
  | { readonly op: 'match'; readonly pattern: number };

export interface SymbolClass {
  readonly sets: ReadonlySet<number>;
  readonly phraseSymbol: number;
  readonly word: boolean;
  readonly noStart: boolean;
  readonly noEnd: boolean;
}

export interface Automaton {
  readonly start: State;
  /** Undefined where there are no phrases; expressions are absent where `hasExpressions` is false. */
  readonly phrases: PhraseMachine | undefined;
  readonly hasExpressions: boolean;
  /** The edge for a symbol class; built on first use. */
  edge(state: State, symbolClass: number): Edge;
  /** The class of a code point: ≥ 0; `invisible`; or below that, `several - index` into `sequences`. */
  classOf(codePoint: number): number;
  readonly sequences: readonly (readonly number[])[];
  /** By class: is it part of a word; its number among the phrases' symbols; may a match begin or end with it. */
  readonly classes: readonly SymbolClass[];
  /** True when `text` put between two pieces could become part of a match. */
  canJoin(text: string, wholeWords: boolean): boolean;
  readonly states: number;
}

export const invisible = -1;
export const several = -2;
/** The class of the text's end. */
export const endOfText = 0;

const maxStates = 16_384;
const maxCells = 4_000_000;

/**
 * All patterns as one machine over the same symbols: the phrases in Aho and Corasick's table, the expressions unrolled and
 * made deterministic while text is read. Each half costs one look-up per symbol, however many patterns there are. States
 * of expressions are bounded: past `maxStates` all are forgotten and built again as needed.
 *
 * Meaning: a match is any part of the text that a pattern describes, at every start and of every length. Matches that
 * overlap form one region, named by its leftmost-longest match; so no character of any match is outside a region.
 */
export function createAutomaton(patterns: readonly Pattern[]): Automaton {
  const program: Instruction[] = [];
  const starts: number[] = [];
  const sets: SymbolSet[] = [];
  const setIds = new Map<string, number>();
  const phraseList: Phrase[] = [];
  let usesBoundary = false;

  const emit = (instruction: Instruction): number => program.push(instruction) - 1;
  const setId = (set: SymbolSet): number => {
    let id = setIds.get(set.key);
    if (id === undefined) {
      id = sets.push(set) - 1;
      setIds.set(set.key, id);
    }
    return id;
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
      default:
        usesBoundary ||= node.type === 'boundary';
        return emit({ op: node.type, next, pattern });
    }
  };
  for (const [index, { match, holds }] of patterns.entries()) {
    if ('phrase' in match) {
      phraseList.push({ text: match.phrase, wholeWords: match.wholeWords ?? false, pattern: index, holds });
      usesBoundary ||= match.wholeWords ?? false;
    } else {
      const tree = parseRegex(match.regex, match.ignoreCase);
      starts.push(compile(tree, emit({ op: 'match', pattern: index }), index));
    }
  }

  const phrases = phraseList.length > 0 ? createPhrases(phraseList) : undefined;

  // Symbol classes: code points that no pattern tells apart share one.
  const classes: SymbolClass[] = [{ sets: new Set(), phraseSymbol: 0, word: false, noStart: true, noEnd: false }];
  const classIds = new Map<string, number>();
  const classFor = (code: number, noStart: boolean, noEnd: boolean): number => {
    const members = sets.flatMap((set, id) => (set.test(code) ? [id] : []));
    const phraseSymbol = phrases?.symbolOf(foldCase(code)) ?? 0;
    const wordish = usesBoundary && isWord(code);
    const key = `${phraseSymbol} ${members.join()} ${wordish} ${noStart} ${noEnd}`;
    let id = classIds.get(key);
    if (id === undefined) {
      id = classes.push({ sets: new Set(members), phraseSymbol, word: wordish, noStart, noEnd }) - 1;
      classIds.set(key, id);
    }
    return id;
  };
  const sequences: number[][] = [];
  const pages: (Int32Array | undefined)[] = [];
  const unknown = -2_147_483_648;
  const classOf = (codePoint: number): number => {
    let page = pages[codePoint >> 8];
    if (!page) {
      page = new Int32Array(256).fill(unknown);
      pages[codePoint >> 8] = page;
    }
    let found = page[codePoint & 255] ?? unknown;
    if (found === unknown) {
      const symbols = symbolsOf(codePoint).map(({ code, noStart, noEnd }) => classFor(code, noStart, noEnd));
      const only = symbols[0];
      if (only === undefined) found = invisible;
      else if (symbols.length === 1) found = only;
      else found = several - (sequences.push(symbols) - 1);
      page[codePoint & 255] = found;
    }
    return found;
  };

  let states = new Map<string, State>();
  const intern = (word: boolean, first: boolean, threads: readonly number[]): State => {
    const key = `${word ? 1 : 0}${first ? 1 : 0} ${threads.join()}`;
    const known = states.get(key);
    if (known) return known;
    if (states.size >= maxStates || states.size * classes.length > maxCells) {
      for (const state of states.values()) state.next.length = 0; // scanners under way keep their state, not the graph
      states = new Map();
    }
    const state: State = {
      next: [],
      word,
      first,
      threads,
      holdRegister: threads.findIndex((id) => patterns[program[id]?.pattern ?? -1]?.holds),
    };
    states.set(key, state);
    return state;
  };

  const build = (state: State, symbolClass: number): Edge => {
    const symbol = classes[symbolClass] as SymbolClass; // ids come from classOf or are endOfText
    const atEnd = symbolClass === endOfText;
    const boundary = symbol.word !== state.word;
    const before: Accept[] = [];
    const after: Accept[] = [];

    // Settle what waits for a boundary, seed new threads, then take the symbol.
    const ready: { id: number; from: number }[] = [];
    const seenReady = new Set<number>();
    const settle = (id: number, from: number): void => {
      if (seenReady.has(id)) return;
      seenReady.add(id);
      const instruction = program[id];
      if (!instruction) return;
      switch (instruction.op) {
        case 'set':
          ready.push({ id, from });
          return;
        case 'split':
          for (const next of instruction.next) settle(next, from);
          return;
        case 'boundary':
          if (boundary) settle(instruction.next, from);
          return;
        case 'start':
          if (state.first) settle(instruction.next, from);
          return;
        case 'end':
          if (atEnd) settle(instruction.next, from);
          return;
        case 'match':
          before.push({ pattern: instruction.pattern, register: from });
          return;
        default:
          instruction satisfies never;
      }
    };
    for (const [register, id] of state.threads.entries()) settle(id, register);
    if (!symbol.noStart) for (const id of starts) settle(id, -1);

    const threads: number[] = [];
    const moves: number[] = [];
    const seen = new Set<number>();
    const wait = (id: number, from: number): void => {
      if (seen.has(id)) return;
      seen.add(id);
      const instruction = program[id];
      if (!instruction) return;
      switch (instruction.op) {
        case 'split':
          for (const next of instruction.next) wait(next, from);
          return;
        case 'match':
          if (!symbol.noEnd) after.push({ pattern: instruction.pattern, register: from });
          return;
        case 'start':
          return; // not at the start any more
        default:
          threads.push(id);
          moves.push(from);
      }
    };
    for (const { id, from } of ready) {
      const instruction = program[id];
      if (instruction?.op === 'set' && symbol.sets.has(instruction.set)) wait(instruction.next, from);
    }

    return {
      to: intern(symbol.word, false, threads),
      moves,
      before: before.length > 0 ? before : undefined,
      after: after.length > 0 ? after : undefined,
    };
  };

  const start = intern(false, true, []);
  return {
    start,
    phrases,
    hasExpressions: starts.length > 0,
    classes,
    sequences,
    classOf,
    edge(state, symbolClass) {
      const edge = build(state, symbolClass);
      state.next[symbolClass] = edge;
      return edge;
    },
    canJoin(text, wholeWords) {
      if (text === '') return true;
      // A boundary that the replacement makes or removes can finish another match, unless regions end at boundaries.
      if (usesBoundary && !wholeWords) return true;
      if (phrases?.canJoin(text)) return true;
      const everything = program.flatMap((instruction, id) => (instruction.op === 'set' ? [id] : []));
      let state = intern(false, false, everything);
      for (const char of text) {
        const found = classOf(char.codePointAt(0) ?? 0);
        for (const id of found <= several ? (sequences[several - found] ?? []) : found < 0 ? [] : [found]) {
          const edge = build(state, id);
          if (edge.after) return true;
          state = edge.to;
        }
      }
      return state.threads.length > 0;
    },
    get states() {
      return states.size;
    },
  };
}
