import { type GrammarElement, type GrammarRules, readGrammar } from '../../../src/engine/output/gbnf-reader.ts';

/** A grammar as a set of texts: whether one is in it, and some that are. The slow oracle for what native code does. */
export function createGrammarTexts(gbnf: string) {
  const grammar = readGrammar(gbnf);
  return { accepts: (text: string) => accepts(grammar, text), sample: createSampler(grammar) };
}

function accepts({ rules, root }: GrammarRules, text: string): boolean {
  const codes = [...text].map((char) => char.codePointAt(0) ?? 0);
  const known = new Map<string, ReadonlySet<number>>();
  const ends = (rule: number, start: number): ReadonlySet<number> => {
    const key = `${rule} ${start}`;
    const before = known.get(key);
    if (before) return before;
    const found = new Set<number>();
    for (const elements of rules[rule] ?? []) {
      let places = new Set([start]);
      for (const element of elements) {
        const next = new Set<number>();
        for (const place of places) {
          if (typeof element === 'number') for (const end of ends(element, place)) next.add(end);
          else if (place < codes.length && matches(element, codes[place] ?? 0)) next.add(place + 1);
        }
        places = next;
      }
      for (const place of places) found.add(place);
    }
    known.set(key, found);
    return found;
  };
  return ends(root, 0).has(codes.length);
}

const matches = (element: GrammarElement, code: number): boolean =>
  typeof element === 'object' &&
  element.ranges.some(([first, last]) => code >= first && code <= last) !== element.negated;

/** Texts drawn at random; past `budget` steps each rule takes its shortest way out. */
function createSampler({ rules, root }: GrammarRules) {
  const height: number[] = rules.map(() => Number.POSITIVE_INFINITY);
  const heightOf = (elements: readonly GrammarElement[]) =>
    elements.reduce<number>((sum, e) => sum + (typeof e === 'number' ? (height[e] ?? 0) : 1), 1);
  for (let changed = true; changed; ) {
    changed = false;
    for (const id of [...rules.keys()].reverse()) {
      const least = Math.min(...(rules[id] ?? []).map(heightOf));
      if (least < (height[id] ?? 0)) {
        height[id] = least;
        changed = true;
      }
    }
  }
  return (random: () => number, budget = 150): string => {
    if (!Number.isFinite(height[root])) throw new Error('the grammar has no text');
    let steps = 0;
    let out = '';
    const todo: GrammarElement[] = [root];
    for (let element = todo.pop(); element !== undefined; element = todo.pop()) {
      if (typeof element === 'object') {
        out += character(element, random);
        continue;
      }
      const alternatives = (rules[element] ?? []).filter((one) => Number.isFinite(heightOf(one)));
      const short = Math.min(...alternatives.map(heightOf));
      const open = steps++ > budget ? alternatives.filter((one) => heightOf(one) === short) : alternatives;
      todo.push(...[...(open[Math.floor(random() * open.length)] ?? [])].reverse());
    }
    return out;
  };
}

function character(set: Exclude<GrammarElement, number>, random: () => number): string {
  if (set.negated) {
    const some = ['a', 'Z', '0', ' ', 'é', '中', '😀', '-', '/', '{', ':'];
    const fitting = some.filter((char) => matches(set, char.codePointAt(0) ?? 0));
    return fitting[Math.floor(random() * fitting.length)] ?? '~';
  }
  const [first, last] = set.ranges[Math.floor(random() * set.ranges.length)] ?? [0x7e, 0x7e];
  const code = first + Math.floor(random() * Math.min(200, last - first + 1));
  return String.fromCodePoint(code >= 0xd800 && code < 0xe000 ? 0xe000 : code);
}

/** Numbers from 0 to 1, the same ones each time. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
