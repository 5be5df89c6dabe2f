import { type Automaton, AutomatonTooLarge, explore, intersect, lastCodePoint, subtract } from './automaton.ts';
import { type Expression, parsePattern, type Ranges } from './expression.ts';

const maxPattern = 1024;
const maxNodes = 20_000;
const maxWork = 1_000_000;

/** A state of the automaton that an expression stands for, before it is made deterministic. */
interface Node {
  readonly id: number;
  /** Where it goes without a character; `start` and `end` only at that end of the text. */
  readonly free: { readonly to: Node; readonly only?: 'start' | 'end' }[];
  readonly edges: { readonly ranges: Ranges; readonly to: Node }[];
}
const everything: Ranges = [[0, lastCodePoint]];

/** The texts in which `source` (ECMA-262, flag u) is found. Throws PatternError or AutomatonTooLarge. */
export function patternAutomaton(source: string): Automaton {
  if (source.length > maxPattern) throw new AutomatonTooLarge();
  const { expression, ahead } = parsePattern(source);
  return ahead.reduce(
    (whole, part) => (part.wanted ? intersect : subtract)(whole, found(part.expression)),
    found(expression),
  );
}

/** Texts in which the expression matches somewhere. */
function found(expression: Expression): Automaton {
  const used = new Set<Ranges>([everything]);
  let count = 0;
  const node = (): Node => {
    if (++count > maxNodes) throw new AutomatonTooLarge();
    return { id: count, free: [], edges: [] };
  };
  const build = (part: Expression, from: Node): Node => {
    switch (part.kind) {
      case 'characters': {
        const to = node();
        from.edges.push({ ranges: part.ranges, to });
        used.add(part.ranges);
        return to;
      }
      case 'sequence':
        return part.parts.reduce((at, one) => build(one, at), from);
      case 'choice': {
        const to = node();
        for (const one of part.parts) {
          const begin = node();
          from.free.push({ to: begin });
          build(one, begin).free.push({ to });
        }
        return to;
      }
      case 'repeat': {
        let at = from;
        for (let i = 0; i < part.least; i++) at = build(part.part, at);
        const to = node();
        if (part.most === null) {
          const loop = node();
          at.free.push({ to: loop });
          build(part.part, loop).free.push({ to: loop });
          loop.free.push({ to });
          return to;
        }
        at.free.push({ to });
        for (let i = part.least; i < part.most; i++) {
          at = build(part.part, at);
          at.free.push({ to });
        }
        return to;
      }
      case 'start':
      case 'end': {
        const to = node();
        from.free.push({ to, only: part.kind });
        return to;
      }
      default:
        return part satisfies never;
    }
  };
  const start = node();
  start.edges.push({ ranges: everything, to: start });
  const end = build(expression, start);
  end.edges.push({ ranges: everything, to: end });
  return determinise(start, end, alphabetOf([...used]));
}

interface Subset {
  readonly nodes: readonly Node[];
  readonly first: boolean;
}

interface Alphabet {
  /** All code points in order, each with the kind of its characters. */
  readonly intervals: readonly (readonly [first: number, last: number, kind: number])[];
  /** The kinds of characters in each set of ranges. */
  readonly kinds: ReadonlyMap<Ranges, readonly number[]>;
}

/** Characters of one kind are in the same sets of an expression: it can't tell them apart, so they are looked at once. */
function alphabetOf(sets: readonly Ranges[]): Alphabet {
  const bounds = [...new Set(sets.flatMap((set) => set.flatMap(([first, last]) => [first, last + 1])))].sort(
    (a, b) => a - b,
  );
  const kindOf = new Map<string, number>();
  const at = sets.map(() => 0);
  const intervals = bounds.slice(0, -1).map((first, i) => {
    const last = (bounds[i + 1] ?? first + 1) - 1;
    const key = sets
      .map((set, number) => {
        let place = at[number] ?? 0;
        while ((set[place]?.[1] ?? lastCodePoint) < first) place++;
        at[number] = place;
        return (set[place]?.[0] ?? lastCodePoint + 1) <= first ? '1' : '0';
      })
      .join('');
    const kind = kindOf.get(key) ?? kindOf.size;
    kindOf.set(key, kind);
    return [first, last, kind] as const;
  });
  const kinds = sets.map((set, number) => {
    const own = [...kindOf].filter(([key]) => key[number] === '1').map(([, kind]) => kind);
    return [set, own] as const;
  });
  return { intervals, kinds: new Map(kinds) };
}

function determinise(start: Node, end: Node, { intervals, kinds }: Alphabet): Automaton {
  const closure = (nodes: readonly Node[], atStart: boolean, atEnd: boolean): Node[] => {
    const seen = new Set<Node>();
    const todo = [...nodes];
    for (let node = todo.pop(); node; node = todo.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      for (const { to, only } of node.free) {
        if (only === undefined || (only === 'start' ? atStart : atEnd)) todo.push(to);
      }
    }
    return [...seen];
  };
  const subset = (nodes: readonly Node[], first: boolean): Subset => {
    const all = closure(nodes, first, false);
    // Once found it stays found: what else may be under way tells nothing more.
    if (all.includes(end)) return { nodes: [end], first: false };
    return { nodes: all.sort((a, b) => a.id - b.id), first };
  };
  let work = 0;
  return explore<Subset>(
    subset([start], true),
    ({ nodes, first }) => `${first} ${nodes.map(({ id }) => id).join()}`,
    ({ nodes, first }) => {
      const accepts = nodes.includes(end) || closure(nodes, first, true).includes(end);
      const targets = new Map<number, Set<Node>>();
      for (const { edges } of nodes) {
        for (const { ranges, to } of edges) {
          for (const kind of kinds.get(ranges) ?? []) {
            work++;
            const known = targets.get(kind);
            if (known) known.add(to);
            else targets.set(kind, new Set([to]));
          }
        }
      }
      work += intervals.length + nodes.length;
      if (work > maxWork) throw new AutomatonTooLarge();
      const following = new Map([...targets].map(([kind, nodes]) => [kind, subset([...nodes], false)]));
      const edges = intervals.flatMap(([first, last, kind]) => {
        const target = following.get(kind);
        return target ? [[first, last, target] as const] : [];
      });
      return { accepts, edges };
    },
  );
}
