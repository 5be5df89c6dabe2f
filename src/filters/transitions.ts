/** An expression that ends at an edge: its start is in the register of a thread before the edge, or -1 for this symbol. */
export interface Accept {
  readonly pattern: number;
  readonly register: number;
}

export interface Edge {
  readonly to: State;
  /** Per thread of `to`: the register of `from` it goes on from, or -1 where it starts with this symbol. */
  readonly moves: Int32Array;
  /** Matches that end before this symbol (a word boundary or the end showed it). */
  readonly before: readonly Accept[] | undefined;
  /** Matches that end with this symbol. */
  readonly after: readonly Accept[] | undefined;
  /** There is any of either. */
  readonly matches: boolean;
}

/** Where all expressions are at once. Threads are ordered by their start, earliest first. */
export interface State {
  /** Among the transitions; -1 where it is not kept (any more). */
  row: number;
  /** Edges built so far, by `States.kinds` of the symbol class. */
  readonly next: (Edge | undefined)[];
  readonly word: boolean;
  readonly first: boolean;
  /** What was read just before, in bits (see Context). */
  readonly context: number;
  /** Instructions that wait for a symbol. */
  readonly threads: Int32Array;
  /** The earliest thread that holds text back, or -1. */
  readonly holdRegister: number;
}

/** Kinds past these have no column; their edges are looked up. Nor has the text's end, whose cells are 0. */
export const columns = 128;

/** The states that are kept, each a row, and the commonest of their edges as plain numbers. */
export interface Transitions {
  readonly count: number;
  /**
   * `row × columns + kind`: twice the row that it leads to, and one more where a thread lives on there; 0 where a match
   * ends or there is no edge yet. Another array after `add`.
   */
  readonly cells: Uint16Array;
  stateIn(row: number): State;
  add(state: State): void;
  set(state: State, kind: number, edge: Edge): void;
  /** Takes the rows from all states. */
  clear(): void;
}

export function createTransitions(): Transitions {
  const states: State[] = [];
  let cells = new Uint16Array(32 * columns);
  return {
    get count() {
      return states.length;
    },
    get cells() {
      return cells;
    },
    stateIn: (row) => states[row] as State, // rows come from the cells
    add(state) {
      state.row = states.push(state) - 1;
      if (states.length * columns <= cells.length) return;
      const more = new Uint16Array(cells.length * 2);
      more.set(cells);
      cells = more;
    },
    set(state, kind, { to, matches }) {
      const cell = 2 * to.row + (to.threads.length > 0 ? 1 : 0); // not 0: no edge leads to the start, which has the first row
      if (matches || kind === 0 || state.row < 0 || to.row < 0 || kind >= columns || cell > 0xffff) return;
      cells[state.row * columns + kind] = cell;
    },
    clear() {
      for (const state of states) state.row = -1;
      states.length = 0;
      cells.fill(0);
    },
  };
}
