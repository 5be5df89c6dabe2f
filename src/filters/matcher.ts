import type { Automaton } from './automaton.ts';
import { endOfText, type SymbolClass } from './classes.ts';
import { closer, type PhraseMachine } from './phrases.ts';
import type { States } from './states.ts';
import { type Accept, columns, type Edge, type State } from './transitions.ts';

/** Told of each match at the symbol that ends it; says whether the text ends with it. */
export interface MatchSink {
  found(pattern: number, start: number, end: number): boolean;
}

/** Where some expressions are, and where in the source each of their live prefixes began. */
interface Machine {
  readonly states: States;
  readonly kinds: States['kinds'];
  state: State;
  /** Plain arrays: most texts are short, and a typed one costs more than all that is written into it. */
  registers: number[];
  spare: number[];
  /** Registers in use. */
  live: number;
  /** The edge being taken. */
  edge: Edge | undefined;
}

const machineOf = (states: States, state: State = states.start): Machine => ({
  states,
  kinds: states.kinds,
  state,
  registers: [],
  spare: [],
  live: 0,
  edge: undefined,
});

/** A text that asks for a new edge more often than once in so many symbols is read by groups of expressions. */
const symbolsPerEdge = 32;
const edgesBeforeGroups = 500;

/** Half of a character. */
const isHalf = (unit: number): boolean => (unit & 0xf800) === 0xd800;

const noRing = new Int32Array(0);

/**
 * Follows one text through an automaton, symbol by symbol, and knows where in the source what is live began. A class, as
 * every text of every request has one: closures for all of this would be made anew, and be slow until they are warm.
 */
export class Matcher {
  /** Where the last symbol's code point ended. */
  lastEnd = 0;
  readonly #automaton: Automaton;
  readonly #classes: readonly SymbolClass[];
  readonly #phrases: PhraseMachine | undefined;
  readonly #sink: MatchSink;
  readonly #ringMask: number;
  /** Where the last symbols start in the source; negative: no match may start there. */
  readonly #ring: Int32Array;
  readonly #boundary: number;
  /** Of the phrases. */
  #node = 0;
  #lastIsWord = false;
  #machines: readonly Machine[];
  #edgesAsked = 0;
  /** Symbols read before the edges that are counted. */
  #countedFrom = 0;
  #symbols = 0;
  #ended = false;

  constructor(automaton: Automaton, sink: MatchSink) {
    const { phrases, expressions } = automaton;
    this.#automaton = automaton;
    this.#classes = automaton.classes.all;
    this.#phrases = phrases;
    this.#sink = sink;
    this.#ringMask = phrases ? 2 ** Math.ceil(Math.log2(phrases.maxDepth + 2)) - 1 : -1;
    this.#ring = phrases ? new Int32Array(this.#ringMask + 1) : noRing;
    this.#boundary = phrases?.boundary ?? 0;
    this.#machines = expressions ? [machineOf(expressions)] : [];
  }

  /**
   * Reads [from, to) of `text`, whose unit `from` stands at `offset` in the source, as long as each unit is one symbol and
   * no match ends: nearly all of most texts. Returns the first unit that it did not take; what that says goes to `take`.
   */
  run(text: string, from: number, to: number, offset: number): number {
    const machine = this.#machines[0];
    if ((machine && machine.state.row < 0) || this.#machines.length > 1) return from;
    const phrases = this.#phrases;
    const at = phrases
      ? this.#runAll(phrases, machine, text, from, to, offset)
      : machine
        ? this.#runExpressions(machine, text, from, to, offset)
        : from;
    if (at === from) return from;
    this.#symbols += at - from;
    this.lastEnd = offset + at - from;
    return at;
  }

  /** Where there are no phrases. The inner loop has next to nothing to keep at hand, which makes it three times as fast. */
  #runExpressions(machine: Machine, text: string, from: number, to: number, offset: number): number {
    const { columnOf, transitions } = machine.states;
    const { cells } = transitions;
    let { row } = machine.state;
    /** The last unit before which nothing is live, and the state there. */
    let quiet = -1;
    let quietRow = 0;
    let at = from;
    while (at < to) {
      for (; at < to; at++) {
        const unit = text.charCodeAt(at);
        const edge = cells[row * columns + (columnOf[unit] as number)] as number; // all of them are there
        if (edge === 0) break;
        row = edge >> 1;
        if ((edge & 1) === 0) {
          quiet = at + 1;
          quietRow = row;
        }
      }
      if (at === to || !this.#learn(machine, text.charCodeAt(at))) break;
    }
    this.#arrive(machine, text, from, at, offset, quiet, quietRow);
    return at;
  }

  /** True where a unit's column was not known yet; it has none where it is not one symbol. */
  #learn({ states, kinds }: Machine, unit: number): boolean {
    if (states.columnOf[unit] !== 0 || isHalf(unit)) return false;
    const found = this.#automaton.classes.of(unit);
    const kind = found < 0 ? 0 : (kinds[found] ?? 0); // of a class that was met
    if (kind >= columns) return false;
    states.columnOf[unit] = kind;
    return kind > 0;
  }

  #runAll(
    phrases: PhraseMachine,
    machine: Machine | undefined,
    text: string,
    from: number,
    to: number,
    offset: number,
  ): number {
    let row = machine?.state.row ?? 0;
    let node = this.#node;
    const { classes } = this.#automaton;
    const { common } = classes;
    const cells = machine?.states.transitions.cells;
    const kinds = machine?.kinds;
    const boundary = this.#boundary;
    let isWord = this.#lastIsWord;
    let quiet = -1;
    let quietRow = 0;
    let at = from;
    for (; at < to; at++) {
      const unit = text.charCodeAt(at);
      if (isHalf(unit)) break;
      const found = unit < common.length ? (common[unit] as number) : classes.of(unit);
      if (found < 0) break;
      let edge = 0;
      if (kinds && cells) {
        const kind = kinds[found] as number; // of a class that was met; else there is no edge
        edge = kind < columns ? (cells[row * columns + kind] as number) : 0; // all rows are there
        if (edge === 0) break;
      }
      const symbol = this.#classes[found] as SymbolClass; // classes come from the automaton
      let next = node;
      if (boundary > 0 && symbol.word !== isWord) next = quietStep(phrases, next, boundary);
      if (next >= 0) next = quietStep(phrases, next, symbol.phraseSymbol);
      if (next < 0) break;
      node = next;
      isWord = symbol.word;
      row = edge >> 1;
      if ((edge & 1) === 0) {
        quiet = at + 1;
        quietRow = row;
      }
    }
    if (machine) this.#arrive(machine, text, from, at, offset, quiet, quietRow);
    const count = at - from;
    for (let i = Math.max(0, count - this.#ring.length); i < count; i++) {
      this.#ring[(this.#symbols + i) & this.#ringMask] = offset + i;
    }
    this.#node = node;
    this.#lastIsWord = isWord;
    return at;
  }

  /** Where expressions are at unit `at`. What is live is followed only behind `quiet`: little of it sees a word's end. */
  #arrive(
    machine: Machine,
    text: string,
    from: number,
    at: number,
    offset: number,
    quiet: number,
    quietRow: number,
  ): void {
    if (quiet >= 0) {
      machine.state = machine.states.transitions.stateIn(quietRow);
      machine.live = 0;
    }
    const { classes } = this.#automaton;
    for (let i = Math.max(from, quiet); i < at; i++) {
      const kind = machine.kinds[classes.of(text.charCodeAt(i))] as number; // met before, as is the edge
      move(machine, machine.state.next[kind] as Edge, offset + i - from);
    }
  }

  /** One symbol, whose code point is written in the source as [start, end). False when a match has ended the text. */
  take(symbolClass: number, start: number, end: number): boolean {
    const symbol = this.#classes[symbolClass] as SymbolClass; // classes come from the automaton
    const phrases = this.#phrases;
    const machines = this.#machines;
    if (this.#boundary > 0 && symbol.word !== this.#lastIsWord) {
      this.#lastIsWord = symbol.word;
      if (phrases) {
        this.#node = phrases.step(this.#node, this.#boundary);
        if (phrases.ends[this.#node] === 1) this.#foundPhrases(phrases, this.#node, this.lastEnd);
      }
    }
    for (let i = 0; i < machines.length; i++) {
      const machine = machines[i] as Machine; // i is in range
      const edge = machine.state.next[machine.kinds[symbolClass] ?? -1] ?? this.#newEdge(machine, symbolClass);
      machine.edge = edge;
      if (edge.before) this.#foundExpressions(machine, edge.before, this.lastEnd, start);
    }
    if (this.#ended) return false;

    this.#symbols++;
    if (phrases) {
      this.#ring[(this.#symbols - 1) & this.#ringMask] = symbol.noStart ? ~start : start;
      this.#node = phrases.step(this.#node, symbol.phraseSymbol);
      if (phrases.ends[this.#node] === 1 && !symbol.noEnd) this.#foundPhrases(phrases, this.#node, end);
    }
    for (let i = 0; i < machines.length; i++) {
      const machine = machines[i] as Machine; // i is in range
      const edge = machine.edge as Edge; // just set
      if (edge.after) this.#foundExpressions(machine, edge.after, end, start);
      move(machine, edge, start);
    }
    if (this.#edgesAsked > edgesBeforeGroups && machines.length === 1) this.#considerGroups();
    this.lastEnd = end;
    return !this.#ended;
  }

  /** The matches that waited for a boundary or the end, if the text ended here. */
  matchAtEnd(): boolean {
    const phrases = this.#phrases;
    if (phrases && this.#boundary > 0 && this.#lastIsWord) {
      this.#foundPhrases(phrases, phrases.step(this.#node, this.#boundary), this.lastEnd);
    }
    for (const machine of this.#machines) {
      const { before } = machine.state.next[endOfText] ?? this.#newEdge(machine, endOfText);
      if (before) this.#foundExpressions(machine, before, this.lastEnd, this.lastEnd);
    }
    return !this.#ended;
  }

  /** Another text begins. */
  reset(): void {
    for (const machine of this.#machines) {
      machine.state = machine.states.start;
      machine.live = 0;
    }
    this.#node = 0;
    this.#lastIsWord = false;
  }

  /** Where the earliest live prefix of a match begins that holds text back; `none` where there is none before it. */
  holdStart(none: number): number {
    let from = none;
    if (this.#phrases && this.#node !== 0) {
      from = Math.min(from, this.#startOf(this.#phrases.holdDepth[this.#node] ?? 0, from));
    }
    for (const { state, registers } of this.#machines) {
      if (state.holdRegister >= 0) from = Math.min(from, registers[state.holdRegister] ?? 0);
    }
    return from;
  }

  /** The same of any match. */
  liveStart(none: number): number {
    let from = none;
    if (this.#phrases && this.#node !== 0) {
      from = Math.min(from, this.#startOf(this.#phrases.liveDepth[this.#node] ?? 0, from));
    }
    for (const { live, registers } of this.#machines) if (live > 0) from = Math.min(from, registers[0] ?? 0);
    return from;
  }

  /** Where the symbol so many back starts in the source. */
  #startOf(depth: number, none: number): number {
    if (depth === 0) return none;
    const start = this.#ring[(this.#symbols - depth) & this.#ringMask] as number; // the ring is as long as the longest phrase
    return start < 0 ? ~start : start;
  }

  #foundExpressions({ registers }: Machine, accepts: readonly Accept[], end: number, current: number): void {
    for (const { pattern, register } of accepts) {
      const start = register < 0 ? current : (registers[register] as number); // registers come from the state
      if (this.#sink.found(pattern, start, end)) this.#ended = true;
    }
  }

  #foundPhrases(phrases: PhraseMachine, at: number, end: number): void {
    for (const { pattern, depth } of phrases.matches(at) ?? []) {
      const start = this.#ring[(this.#symbols - depth) & this.#ringMask] as number; // the ring is as long as the longest phrase
      if (start >= 0 && this.#sink.found(pattern, start, end)) this.#ended = true; // negative: inside one character
    }
  }

  #newEdge(machine: Machine, symbolClass: number): Edge {
    this.#edgesAsked++;
    return machine.states.edge(machine.state, symbolClass);
  }

  #considerGroups(): void {
    const [whole] = this.#machines;
    const read = this.#symbols - this.#countedFrom;
    if (whole && this.#edgesAsked * symbolsPerEdge > read) this.#machines = divide(whole, this.#automaton.groups());
    this.#edgesAsked = 0;
    this.#countedFrom = this.#symbols;
  }
}

function move(machine: Machine, { moves, to }: Edge, start: number): void {
  const count = moves.length;
  if (count > 0) {
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
}

/** Where a symbol leads; -1 where patterns end there. */
function quietStep({ table, rows, width, step, ends }: PhraseMachine, node: number, symbol: number): number {
  const entry = node < rows ? (table[node * width + symbol] as number) : closer; // both come from there
  if (entry < closer) return entry;
  const next = step(node, symbol);
  return ends[next] === 1 ? -1 : next;
}

/** From here on by groups, each where it is. */
const divide = (whole: Machine, groups: readonly States[]): readonly Machine[] =>
  groups.map((states) => {
    const machine = machineOf(states, states.within(whole.state));
    const live = whole.registers.slice(0, whole.live);
    machine.registers = live.filter((_, at) => states.owns(whole.state.threads[at] ?? -1));
    machine.live = machine.registers.length;
    return machine;
  });
