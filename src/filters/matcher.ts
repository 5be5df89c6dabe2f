import type { Automaton } from './automaton.ts';
import { endOfText, type SymbolClass } from './classes.ts';
import { closer } from './phrases.ts';
import type { Accept, Edge, State, States } from './states.ts';

/** Follows one text through an automaton, symbol by symbol, and knows where in the source what is live began. */
export interface Matcher {
  /** One symbol, whose code point is written in the source as [start, end). False when a match has ended the text. */
  take(symbolClass: number, start: number, end: number): boolean;
  /** The matches that waited for a boundary or the end, if the text ended here. */
  matchAtEnd(): boolean;
  /** Another text begins. */
  reset(): void;
  /** Where the earliest live prefix of a match begins that holds text back; `none` where there is none before it. */
  holdStart(none: number): number;
  /** The same of any match. */
  liveStart(none: number): number;
  /** Where the last symbol's code point ended. */
  readonly lastEnd: number;
}

/** Where some expressions are, and where in the source each of their live prefixes began. */
interface Machine {
  readonly states: States;
  readonly kinds: States['kinds'];
  state: State;
  registers: Int32Array<ArrayBuffer>;
  spare: Int32Array<ArrayBuffer>;
  /** Registers in use. */
  live: number;
  /** The edge being taken. */
  edge: Edge | undefined;
}

const machineOf = (states: States, state: State = states.start): Machine => ({
  ...{
    states,
    kinds: states.kinds,
    state,
    registers: new Int32Array(16),
    spare: new Int32Array(16),
    live: 0,
    edge: undefined,
  },
});

/** A text that asks for a new edge more often than once in so many symbols is read by groups of expressions. */
const symbolsPerEdge = 32;
const edgesBeforeGroups = 500;

/** `found` is called for each match, at the symbol that ends it, and says whether the text ends with it. */
export function createMatcher(
  { phrases, expressions, groups, classes: { all: classes } }: Automaton,
  found: (pattern: number, start: number, end: number) => boolean,
): Matcher {
  const ringMask = 2 ** Math.ceil(Math.log2((phrases?.maxDepth ?? 0) + 2)) - 1;
  const ring = new Int32Array(ringMask + 1); // where the last symbols start in the source; negative: no match may start there
  const boundary = phrases?.boundary ?? 0;
  const rows = phrases?.rows ?? 0;
  const width = phrases?.width ?? 0;
  const table = phrases?.table ?? new Uint16Array(0);
  let node = 0; // of the phrases
  let lastIsWord = false;
  let machines: readonly Machine[] = expressions ? [machineOf(expressions)] : [];
  let edgesAsked = 0;
  let countedFrom = 0; // symbols read before the edges that are counted
  let symbols = 0;
  let lastEnd = 0;
  let ended = false;

  /** Where the symbol so many back starts in the source. */
  const startOf = (depth: number, none: number): number => {
    if (depth === 0) return none;
    const start = ring[(symbols - depth) & ringMask] as number; // the ring is as long as the longest phrase
    return start < 0 ? ~start : start;
  };
  const foundExpressions = ({ registers }: Machine, accepts: readonly Accept[], end: number, current: number): void => {
    for (const { pattern, register } of accepts) {
      const start = register < 0 ? current : (registers[register] as number); // registers come from the state
      if (found(pattern, start, end)) ended = true;
    }
  };
  const foundPhrases = (at: number, end: number): void => {
    for (const { pattern, depth } of phrases?.matches(at) ?? []) {
      const start = ring[(symbols - depth) & ringMask] as number; // the ring is as long as the longest phrase
      if (start >= 0 && found(pattern, start, end)) ended = true; // negative: inside one character
    }
  };
  const move = (machine: Machine, { moves, to }: Edge, start: number): void => {
    const count = moves.length;
    if (count > 0) {
      if (count > machine.spare.length) machine.spare = new Int32Array(count * 2);
      const { registers, spare } = machine;
      for (let i = 0; i < count; i++) {
        const from = moves[i] as number; // i is in range
        spare[i] = from < 0 ? start : (registers[from] as number); // built with the state's threads
      }
      machine.registers = spare;
      machine.spare = registers;
    }
    machine.live = count;
    machine.state = to;
  };
  const newEdge = (machine: Machine, symbolClass: number): Edge => {
    edgesAsked++;
    return machine.states.edge(machine.state, symbolClass);
  };
  /** From here on by groups, each where it is. */
  const divide = (whole: Machine): readonly Machine[] =>
    groups().map((states) => {
      const machine = machineOf(states, states.within(whole.state));
      const kept = whole.registers.slice(0, whole.live).filter((_, at) => states.owns(whole.state.threads[at] ?? -1));
      machine.registers = new Int32Array(Math.max(16, kept.length));
      machine.registers.set(kept);
      machine.live = kept.length;
      return machine;
    });

  return {
    take(symbolClass, start, end) {
      const symbol = classes[symbolClass] as SymbolClass; // classes come from the automaton
      if (boundary > 0 && symbol.word !== lastIsWord) {
        lastIsWord = symbol.word;
        if (phrases) {
          node = phrases.step(node, boundary);
          if (phrases.ends[node] === 1) foundPhrases(node, lastEnd);
        }
      }
      for (let i = 0; i < machines.length; i++) {
        const machine = machines[i] as Machine; // i is in range
        const edge = machine.state.next[machine.kinds[symbolClass] ?? -1] ?? newEdge(machine, symbolClass);
        machine.edge = edge;
        if (edge.before) foundExpressions(machine, edge.before, lastEnd, start);
      }
      if (ended) return false;

      ring[symbols & ringMask] = symbol.noStart ? ~start : start;
      symbols++;
      if (phrases) {
        const entry = node < rows ? (table[node * width + symbol.phraseSymbol] as number) : closer; // both come from there
        if (entry < closer) node = entry;
        else {
          node = phrases.step(node, symbol.phraseSymbol);
          if (phrases.ends[node] === 1 && !symbol.noEnd) foundPhrases(node, end);
        }
      }
      for (let i = 0; i < machines.length; i++) {
        const machine = machines[i] as Machine; // i is in range
        const edge = machine.edge as Edge; // just set
        if (edge.after) foundExpressions(machine, edge.after, end, start);
        move(machine, edge, start);
      }
      if (edgesAsked > edgesBeforeGroups && machines.length === 1) {
        if (machines[0] && edgesAsked * symbolsPerEdge > symbols - countedFrom) machines = divide(machines[0]);
        [edgesAsked, countedFrom] = [0, symbols];
      }
      lastEnd = end;
      return !ended;
    },
    matchAtEnd() {
      if (phrases && boundary > 0 && lastIsWord) foundPhrases(phrases.step(node, boundary), lastEnd);
      for (const machine of machines) {
        const { before } = machine.state.next[endOfText] ?? newEdge(machine, endOfText);
        if (before) foundExpressions(machine, before, lastEnd, lastEnd);
      }
      return !ended;
    },
    reset() {
      for (const machine of machines) {
        machine.state = machine.states.start;
        machine.live = 0;
      }
      node = 0;
      lastIsWord = false;
    },
    holdStart(none) {
      let from = none;
      if (phrases && node !== 0) from = Math.min(from, startOf(phrases.holdDepth[node] ?? 0, from));
      for (const { state, registers } of machines) {
        if (state.holdRegister >= 0) from = Math.min(from, registers[state.holdRegister] ?? 0);
      }
      return from;
    },
    liveStart(none) {
      let from = none;
      if (phrases && node !== 0) from = Math.min(from, startOf(phrases.liveDepth[node] ?? 0, from));
      for (const { live, registers } of machines) if (live > 0) from = Math.min(from, registers[0] ?? 0);
      return from;
    },
    get lastEnd() {
      return lastEnd;
    },
  };
}
