/** Code points from `first` to `last` lead to `target`. A state's edges rise and do not overlap. */
export type Edge = readonly [first: number, last: number, target: number];
export interface AutomatonState {
  readonly accepts: boolean;
  readonly edges: readonly Edge[];
}
/** A deterministic automaton over code points; the first state is where it starts. No edge: not of the language. */
export type Automaton = readonly AutomatonState[];

/** More states than this and a language counts as too large to compile. */
const maxStates = 4000;
export class AutomatonTooLarge extends Error {}

export const lastCodePoint = 0x10ffff;
export const anyText: Automaton = [{ accepts: true, edges: [[0, lastCodePoint, 0]] }];

/** Builds an automaton from states that are known by a key: `expand` tells each one's edges and whether it accepts. */
export function explore<T>(
  start: T,
  keyOf: (state: T) => string,
  expand: (state: T) => { readonly accepts: boolean; readonly edges: readonly (readonly [number, number, T])[] },
  most = maxStates,
): Automaton {
  const numbers = new Map([[keyOf(start), 0]]);
  const todo = [start];
  const states: AutomatonState[] = [];
  for (let at = 0; at < todo.length; at++) {
    const { accepts, edges } = expand(todo[at] as T); // at is in range
    let before: readonly [T, number] | undefined; // neighbouring edges often lead to one state
    const numbered = edges.map(([first, last, target]): Edge => {
      if (before?.[0] === target) return [first, last, before[1]];
      const key = keyOf(target);
      let number = numbers.get(key);
      if (number === undefined) {
        number = todo.length;
        if (number >= most) throw new AutomatonTooLarge();
        numbers.set(key, number);
        todo.push(target);
      }
      before = [target, number];
      return [first, last, number];
    });
    states.push({ accepts, edges: joined(numbered) });
  }
  return trim(states);
}

/** Neighbouring edges to one state become one. */
function joined(edges: readonly Edge[]): readonly Edge[] {
  const out: [number, number, number][] = [];
  for (const [first, last, target] of edges) {
    const before = out.at(-1);
    if (before && before[1] + 1 === first && before[2] === target) before[1] = last;
    else out.push([first, last, target]);
  }
  return out;
}

/** Without the states from which nothing is accepted any more. */
function trim(states: Automaton): Automaton {
  const sources: number[][] = states.map(() => []);
  for (const [from, { edges }] of states.entries()) for (const [, , to] of edges) sources[to]?.push(from);
  const live = new Set<number>();
  const todo = [...states.keys()].filter((id) => states[id]?.accepts);
  for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
    if (live.has(id)) continue;
    live.add(id);
    todo.push(...(sources[id] ?? []));
  }
  if (live.size === states.length) return states;
  const kept = [...states.keys()].filter((id) => id === 0 || live.has(id));
  const renumbered = new Map(kept.map((id, i) => [id, i]));
  return kept.map((id) => ({
    accepts: states[id]?.accepts ?? false,
    edges: (states[id]?.edges ?? []).flatMap(([first, last, to]): Edge[] =>
      live.has(to) ? [[first, last, renumbered.get(to) ?? 0]] : [],
    ),
  }));
}

/** Whether no text is accepted. */
export const isEmpty = (automaton: Automaton): boolean => !automaton[0]?.accepts && automaton[0]?.edges.length === 0;

const dead: AutomatonState = { accepts: false, edges: [] };

/** Texts of `a` that are texts of `b` as well. */
export const intersect = (a: Automaton, b: Automaton): Automaton => combine(a, b, true);
/** Texts of `a` that are none of `b`. */
export const subtract = (a: Automaton, b: Automaton): Automaton => combine(a, b, false);

function combine(a: Automaton, b: Automaton, both: boolean): Automaton {
  return explore<readonly [number, number]>(
    [0, 0],
    ([x, y]) => `${x} ${y}`,
    ([x, y]) => {
      const [one = dead, other = dead] = [a[x], b[y]];
      const edges: [number, number, readonly [number, number]][] = [];
      let at = 0;
      for (const [first, last, target] of one.edges) {
        let from = first;
        while ((other.edges[at]?.[1] ?? lastCodePoint) < first) at++;
        for (let i = at; i < other.edges.length; i++) {
          const [otherFirst, otherLast, otherTarget] = other.edges[i] as Edge; // i is in range
          if (otherFirst > last) break;
          if (!both && otherFirst > from) edges.push([from, otherFirst - 1, [target, -1]]);
          edges.push([Math.max(from, otherFirst), Math.min(last, otherLast), [target, otherTarget]]);
          from = Math.min(last, otherLast) + 1;
          if (from > last) break;
        }
        if (!both && from <= last) edges.push([from, last, [target, -1]]);
      }
      return { accepts: one.accepts && other.accepts === both, edges };
    },
  );
}

/** Texts of `least` to `most` characters. */
export function ofLength(least: number, most: number | null): Automaton {
  const states: AutomatonState[] = [];
  const end = most ?? least;
  if (end >= maxStates) throw new AutomatonTooLarge();
  for (let length = 0; length <= end; length++) {
    const more: Edge[] =
      length < end ? [[0, lastCodePoint, length + 1]] : most === null ? [[0, lastCodePoint, length]] : [];
    states.push({ accepts: length >= least, edges: more });
  }
  return states;
}

/** Exactly these texts. */
export function ofTexts(texts: readonly string[]): Automaton {
  if (texts.reduce((sum, { length }) => sum + length, 0) > maxStates * 4) throw new AutomatonTooLarge();
  return explore<readonly string[]>(
    [...new Set(texts)],
    (rests) => JSON.stringify(rests),
    (rests) => {
      const groups = new Map<number, string[]>();
      for (const rest of rests) {
        const code = rest.codePointAt(0);
        if (code === undefined) continue;
        const group = groups.get(code) ?? [];
        group.push(rest.slice(code > 0xffff ? 2 : 1));
        groups.set(code, group);
      }
      const sorted = [...groups].sort(([x], [y]) => x - y);
      return { accepts: rests.includes(''), edges: sorted.map(([code, group]) => [code, code, group.sort()] as const) };
    },
  );
}

/** Whether the whole text is accepted. */
export function acceptsText(automaton: Automaton, text: string): boolean {
  let at = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    const edge = automaton[at]?.edges.find(([first, last]) => code >= first && code <= last);
    if (!edge) return false;
    at = edge[2];
  }
  return automaton[at]?.accepts ?? false;
}

/** Length of its shortest text; 0 for the empty language. */
export function shortestLength(automaton: Automaton): number {
  let front = new Set([0]);
  const seen = new Set(front);
  for (let length = 0; front.size > 0; length++) {
    const next = new Set<number>();
    for (const id of front) {
      if (automaton[id]?.accepts) return length;
      for (const [, , to] of automaton[id]?.edges ?? []) if (!seen.has(to)) next.add(to);
    }
    for (const id of next) seen.add(id);
    front = next;
  }
  return 0;
}

/** The same language with the fewest states (Moore's refinement: as many rounds as texts tell states apart late). */
export function minimise(automaton: Automaton): Automaton {
  let classes: number[] = automaton.map(({ accepts }) => (accepts ? 1 : 0));
  for (let count = 0; ; ) {
    const names = new Map<string, number>();
    const next = automaton.map(({ edges }, id) => {
      let key = `${classes[id]}`;
      for (const [first, last, to] of joined(edges.map(([f, l, t]): Edge => [f, l, classes[t] ?? 0]))) {
        key += ` ${first},${last},${to}`;
      }
      const known = names.get(key) ?? names.size;
      names.set(key, known);
      return known;
    });
    classes = next;
    if (names.size === count) break;
    count = names.size;
  }
  const member = new Map<number, number>();
  for (const [id, name] of classes.entries()) if (!member.has(name)) member.set(name, id);
  return explore<number>(
    classes[0] ?? 0,
    String,
    (name) => {
      const { accepts, edges } = automaton[member.get(name) ?? 0] ?? dead;
      return { accepts, edges: edges.map(([first, last, to]) => [first, last, classes[to] ?? 0] as const) };
    },
    Number.POSITIVE_INFINITY,
  );
}
