import type { SymbolClass } from './classes.ts';
import { endOfText } from './classes.ts';
import type { Instruction, Pattern, Program, Start } from './program.ts';
import { type Accept, createTransitions, type Edge, type State, type Transitions } from './transitions.ts';

/** Expressions made deterministic while text is read. */
export interface States {
  readonly start: State;
  /** By symbol class: what it is to these expressions, which tell fewer apart than all do. Filled by `edge`. */
  readonly kinds: readonly number[];
  /** By UTF-16 unit: the column of one that is a symbol by itself and was met; else 0. Filled by who reads. */
  readonly columnOf: Uint8Array;
  /** The edges built so far, for reading on fast. */
  readonly transitions: Transitions;
  /** The edge for a symbol class; kept, but for text that would never meet it again. */
  edge(state: State, symbolClass: number): Edge;
  /** The state of these expressions that is part of `state`, which may be of more of them. */
  within(state: State): State;
  /** True when a thread is one of these expressions'. */
  owns(thread: number): boolean;
  /** True when `classes` could be the middle of a match, whatever stands before and after. */
  canJoin(classes: Iterable<number>): boolean;
  /** So many symbols were read: tells whether keeping states pays. */
  read(symbols: number): void;
  readonly count: number;
}

/** Kept states; past them all are forgotten and built again as needed. */
const maxStates = 16_384;
const maxCells = 4_000_000;
/** With fewer symbols read per state built than this, states are not worth keeping. */
const worthwhile = 8;
const matches = -2;

export function createStates(
  { instructions, contexts }: Program,
  starts: readonly Start[],
  patterns: readonly Pattern[],
  classes: readonly SymbolClass[],
): States {
  const matchedBits = contexts.reduce((bits, _, index) => bits | (2 << (2 * index)), 0);
  const patternOf = Int32Array.from(instructions, ({ pattern }) => pattern);
  const everyStart = Uint8Array.from(patterns, (pattern) => (pattern.everyStart ? 1 : 0));
  /** By instruction: the set that it waits for, or -1 where it waits for something else; `matches` for a match. */
  const waitsFor = Int32Array.from(instructions, (instruction) =>
    instruction.op === 'set' ? instruction.set : instruction.op === 'match' ? matches : -1,
  );
  /** Where only a boundary or the end is missing to a match that is told for every start: each waits there for itself. */
  const apart = Uint8Array.from(instructions, (instruction) => {
    let at: Instruction | undefined = instruction;
    while (at?.op === 'boundary' || at?.op === 'end') at = instructions[at.next];
    return at?.op === 'match' && everyStart[at.pattern] === 1 ? 1 : 0;
  });
  const own = new Uint8Array(patterns.length);
  for (const { pattern } of starts) own[pattern] = 1;
  const owns = (thread: number): boolean => own[patternOf[thread] as number] === 1; // threads are instructions

  const usedSets = [
    ...new Set([
      ...instructions.flatMap((at) => (at.op === 'set' && own[at.pattern] === 1 ? [at.set] : [])),
      ...contexts.flatMap(({ first, last }) => (first === undefined ? [last] : [first, last])),
    ]),
  ];
  const kinds: number[] = [0]; // of the end
  const kindIds = new Map<string, number>();
  const kindOf = (symbolClass: number): number => {
    while (kinds.length <= symbolClass) {
      const { members, word, noStart, noEnd } = classes[kinds.length] as SymbolClass; // ids come from the classes
      const key = `${usedSets.map((set) => members[set]).join('')} ${word} ${noStart} ${noEnd}`;
      const kind = kindIds.get(key) ?? kindIds.size + 1;
      kindIds.set(key, kind);
      kinds.push(kind);
    }
    return kinds[symbolClass] as number; // just filled
  };

  const waiting: (Int32Array | undefined)[] = [];
  /** Where a thread waits that comes to `id`, and what it matches there: through all choices. */
  const waitingAt = (id: number): Int32Array => {
    let found = waiting[id];
    if (!found) {
      const ids = new Set<number>();
      const follow = (at: number): void => {
        const instruction = instructions[at];
        if (instruction?.op === 'split') for (const next of instruction.next) follow(next);
        else if (instruction && instruction.op !== 'start') ids.add(at); // it is not the start any more
      };
      follow(id);
      found = Int32Array.from(ids);
      waiting[id] = found;
    }
    return found;
  };

  let known = new Map<number, State[]>();
  const transitions = createTransitions();
  let symbolsRead = 0;
  let unkept = 0;
  const makeState = (word: boolean, first: boolean, context: number, threads: Int32Array): State => ({
    ...{ row: -1, next: [], word, first, context, threads },
    holdRegister: threads.findIndex((id) => patterns[patternOf[id] as number]?.holds === true), // threads are instructions
  });
  const intern = (word: boolean, first: boolean, context: number, threads: Int32Array): State => {
    let hash = context * 4 + (word ? 2 : 0) + (first ? 1 : 0);
    for (let i = 0; i < threads.length; i++) hash = (Math.imul(hash, 0x01000193) ^ (threads[i] as number)) | 0; // i is in range
    const bucket = known.get(hash);
    for (const state of bucket ?? []) {
      if (state.word !== word || state.first !== first || state.context !== context) continue;
      if (equal(state.threads, threads)) return state;
    }
    const state = makeState(word, first, context, threads);
    if (bucket) bucket.push(state);
    else known.set(hash, [state]);
    transitions.add(state);
    return state;
  };
  const forget = (): void => {
    for (const bucket of known.values()) for (const state of bucket) state.next.length = 0; // readers under way keep their own
    start.next.length = 0;
    known = new Map();
    symbolsRead = 0;
    transitions.clear();
    transitions.add(start);
  };

  // One build at a time: what it works with is made once.
  const settled = new Uint32Array(instructions.length);
  const seen = new Uint32Array(instructions.length);
  let generation = 0;
  let threads = new Int32Array(64);
  let moves = new Int32Array(64);
  let length = 0;
  let before: Accept[] = [];
  let after: Accept[] = [];
  let from: State;
  let symbol: SymbolClass;
  let atEnd = false;

  const accept = (list: Accept[], pattern: number, register: number): void => {
    if (!list.some((known) => known.pattern === pattern && known.register === register)) {
      list.push({ pattern, register });
    }
  };
  const wait = (id: number, register: number): void => {
    if (waitsFor[id] === matches) {
      const pattern = patternOf[id] as number; // ids come from the program
      if (symbol.noEnd || (seen[id] === generation && apart[id] === 0)) return;
      seen[id] = generation;
      accept(after, pattern, register);
      return;
    }
    if (seen[id] === generation && apart[id] === 0) return;
    seen[id] = generation;
    if (length === threads.length) {
      threads = grown(threads);
      moves = grown(moves);
    }
    threads[length] = id;
    moves[length++] = register;
  };
  const takeSymbol = (next: number, register: number): void => {
    const ids = waitingAt(next);
    for (let i = 0; i < ids.length; i++) wait(ids[i] as number, register); // i is in range
  };
  /** Passes what needs no symbol, then takes the symbol. */
  const settle = (id: number, register: number): void => {
    const instruction = instructions[id] as Instruction; // ids come from the program
    if (instruction.op === 'match') {
      if (settled[id] === generation && apart[id] === 0) return;
      settled[id] = generation;
      accept(before, instruction.pattern, register);
      return;
    }
    if (settled[id] === generation && apart[id] === 0) return;
    settled[id] = generation;
    switch (instruction.op) {
      case 'set':
        if (symbol.members[instruction.set] === 1) takeSymbol(instruction.next, register);
        return;
      case 'split':
        for (const next of instruction.next) settle(next, register);
        return;
      case 'boundary':
        if (symbol.word !== from.word) settle(instruction.next, register);
        return;
      case 'behind':
        if (((from.context & instruction.mask) !== 0) !== instruction.negative) settle(instruction.next, register);
        return;
      case 'start':
        if (from.first) settle(instruction.next, register);
        return;
      case 'end':
        if (atEnd) settle(instruction.next, register);
        return;
      default:
        instruction satisfies never;
    }
  };

  /** What begins with a symbol; depends on little of the state, so it is worked out once. */
  const seeds: Map<number, { readonly threads: Int32Array; readonly after: readonly Accept[] }>[] = [];
  const seedsFor = (state: State, symbolClass: number) => {
    const boundary = symbol.word !== state.word;
    const kind = kindOf(symbolClass) * 4 + (boundary ? 2 : 0) + (state.first ? 1 : 0);
    const known = seeds[kind] ?? new Map<number, { threads: Int32Array; after: readonly Accept[] }>();
    seeds[kind] = known;
    let found = known.get(state.context & matchedBits);
    if (!found) {
      generation++;
      [length, before, after] = [0, [], []];
      for (const { at } of starts) settle(at, -1);
      found = { threads: threads.slice(0, length), after };
      known.set(state.context & matchedBits, found);
    }
    return found;
  };

  const build = (state: State, symbolClass: number, isKept: boolean): Edge => {
    from = state;
    symbol = classes[symbolClass] as SymbolClass; // ids come from the classes
    atEnd = symbolClass === endOfText;
    const begun = symbol.noStart ? undefined : seedsFor(state, symbolClass);
    generation++;
    [length, before, after] = [0, [], []];
    const { members } = symbol;
    for (let register = 0; register < state.threads.length; register++) {
      const id = state.threads[register] as number; // register is in range
      const set = waitsFor[id] as number; // threads are instructions
      if (set < 0 || members[set] === 1) settle(id, register);
    }
    if (begun) {
      for (let i = 0; i < begun.threads.length; i++) wait(begun.threads[i] as number, -1); // i is in range
      for (const { pattern } of begun.after) accept(after, pattern, -1);
    }
    let context = 0;
    for (let index = 0; index < contexts.length; index++) {
      const { first, last } = contexts[index] as Program['contexts'][number]; // index is in range
      const opened = first === undefined || (state.context & (1 << (2 * index))) !== 0;
      if (first !== undefined && symbol.members[first] === 1) context |= 1 << (2 * index);
      if (opened && symbol.members[last] === 1) context |= 2 << (2 * index);
    }
    const make = isKept ? intern : makeState;
    return {
      to: make(symbol.word, false, context, threads.slice(0, length)),
      moves: moves.slice(0, length),
      before: before.length > 0 ? before : undefined,
      after: after.length > 0 ? after : undefined,
      matches: before.length > 0 || after.length > 0,
    };
  };

  const start = intern(false, true, 0, new Int32Array(0));
  return {
    start,
    kinds,
    columnOf: new Uint8Array(65_536),
    transitions,
    owns,
    within: ({ word, first, context, threads: all }) => intern(word, first, context, all.filter(owns)),
    read(symbols) {
      symbolsRead += symbols;
    },
    edge(state, symbolClass) {
      if (unkept > 0) {
        unkept--;
        return build(state, symbolClass, false);
      }
      const { count } = transitions;
      if (count >= maxStates || count * kinds.length > maxCells) {
        // Text that comes to new states all the time is read faster without keeping them.
        if (symbolsRead < count * worthwhile) unkept = maxStates;
        forget();
      }
      const edge = build(state, symbolClass, true);
      const kind = kindOf(symbolClass);
      state.next[kind] = edge;
      transitions.set(state, kind, edge);
      return edge;
    },
    canJoin(symbols) {
      const everything = instructions.flatMap(({ op }, id) => (op === 'set' && owns(id) ? [id] : []));
      let state = makeState(false, false, 0, Int32Array.from(everything));
      for (const symbolClass of symbols) {
        const edge = build(state, symbolClass, false);
        if (edge.after) return true;
        state = edge.to;
      }
      return state.threads.length > 0;
    },
    get count() {
      return transitions.count;
    },
  };
}

function equal(a: Int32Array, b: Int32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function grown(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const more = new Int32Array(array.length * 2);
  more.set(array);
  return more;
}
