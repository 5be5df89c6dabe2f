import type { CharacterSet, GrammarElement, GrammarRules } from './gbnf-reader.ts';

/**
 * A few lines of GBNF can keep llama.cpp busy for ever: it looks for left recursion along every path, and holds a stack
 * for each way in which the text so far may be read. Both are bounded here before it sees the grammar.
 */
const maxPaths = 200_000;
/** Stacks cost time with each of the vocabulary's tokens: at so many a token takes about a second. */
const maxStacks = 4096;
/** Text that the trial writes, always the character that most stacks allow. */
const trialCharacters = 40;
const trialSteps = 200_000;
const triedCharacters = 24;

/** What is wrong with the grammar, in words; undefined where it is fine. */
export function grammarProblem(grammar: GrammarRules): string | undefined {
  return leftRecursion(grammar) ?? tooManyPaths(grammar) ?? tooManyStacks(grammar);
}

/** Rules may be empty by way of each other; that is found in few rounds unless somebody wants it otherwise. */
const mostRounds = 40;

/** Rules that may stand for no text at all. */
function emptyRules({ rules }: GrammarRules): readonly boolean[] | undefined {
  const empty = rules.map((alternatives) => alternatives.some((elements) => elements.length === 0));
  const numbers = [...rules.keys()];
  for (let round = 0, changed = true; changed; round++) {
    if (round > mostRounds) return undefined;
    changed = false;
    for (const id of numbers.reverse()) {
      if (empty[id]) continue;
      empty[id] = (rules[id] ?? []).some((elements) => elements.every((e) => typeof e === 'number' && empty[e]));
      changed ||= empty[id];
    }
  }
  return empty;
}

/** Whether no text of the grammar ever ends: each of its rules leads back into the circle. */
export function neverEnds({ rules, root }: GrammarRules): boolean {
  const ends = rules.map(() => false);
  const users: number[][] = rules.map(() => []);
  for (const [id, alternatives] of rules.entries()) {
    for (const element of alternatives.flat()) if (typeof element === 'number') users[element]?.push(id);
  }
  const todo = [...rules.keys()];
  for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
    if (ends[id]) continue;
    ends[id] = (rules[id] ?? []).some((elements) => elements.every((e) => typeof e !== 'number' || ends[e]));
    if (ends[id]) for (const user of users[id] ?? []) if (!ends[user]) todo.push(user);
  }
  return !ends[root];
}

/** References that may stand first in a rule, with whether something follows them. */
function* leftmost(alternatives: readonly (readonly GrammarElement[])[], empty: readonly boolean[]) {
  for (const elements of alternatives) {
    for (const [i, element] of elements.entries()) {
      if (typeof element !== 'number') break;
      yield { rule: element, more: i + 1 < elements.length };
      if (!empty[element]) break;
    }
  }
}

/** A rule that begins with itself, with more behind: each round would add to the stack for ever. */
function leftRecursion(grammar: GrammarRules): string | undefined {
  const { rules } = grammar;
  const empty = emptyRules(grammar);
  if (!empty) return 'its rules depend on each other too deeply';
  const component = components(rules.map((alternatives) => [...leftmost(alternatives, empty)].map(({ rule }) => rule)));
  for (const [id, alternatives] of rules.entries()) {
    for (const { rule, more } of leftmost(alternatives, empty)) {
      if (more && component[rule] === component[id]) return 'a rule begins with itself (left recursion)';
    }
  }
  return undefined;
}

/** llama.cpp follows every path of first references, each as often as it comes by. */
function tooManyPaths({ rules }: GrammarRules): string | undefined {
  const direct = rules.map((alternatives) => alternatives.some((elements) => elements.length === 0));
  const next = rules.map((alternatives) => [...leftmost(alternatives, direct)].map(({ rule }) => rule));
  const paths: (number | undefined)[] = [];
  for (const start of rules.keys()) {
    const calls = [{ id: start, at: 0, sum: 1 }];
    const open = new Set([start]);
    for (let call = calls.at(-1); call && paths[start] === undefined; call = calls.at(-1)) {
      const child = next[call.id]?.[call.at];
      if (child === undefined) {
        paths[call.id] = call.sum;
        open.delete(call.id);
        calls.pop();
      } else if (paths[child] === undefined && !open.has(child)) {
        open.add(child);
        calls.push({ id: child, at: 0, sum: 1 });
      } else {
        call.sum += paths[child] ?? 0;
        call.at++;
      }
    }
    if ((paths[start] ?? 0) > maxPaths) return 'its rules lead into each other on too many ways';
  }
  return undefined;
}

/** Numbers of the strongly connected components (Tarjan, without recursion). */
function components(next: readonly (readonly number[])[]): readonly number[] {
  const index: number[] = [];
  const low: number[] = [];
  const component: number[] = [];
  const path: number[] = [];
  let counter = 0;
  let found = 0;
  for (const start of next.keys()) {
    if (index[start] !== undefined) continue;
    const calls: { id: number; at: number }[] = [{ id: start, at: 0 }];
    for (let call = calls.at(-1); call; call = calls.at(-1)) {
      const { id } = call;
      if (call.at === 0) {
        index[id] = counter;
        low[id] = counter++;
        path.push(id);
      }
      const child = next[id]?.[call.at++];
      if (child !== undefined) {
        if (index[child] === undefined) calls.push({ id: child, at: 0 });
        else if (component[child] === undefined) low[id] = Math.min(low[id] ?? 0, index[child]);
        continue;
      }
      calls.pop();
      const parent = calls.at(-1);
      if (parent) low[parent.id] = Math.min(low[parent.id] ?? 0, low[id] ?? 0);
      if (low[id] !== index[id]) continue;
      for (let member = path.pop(); member !== undefined; member = path.pop()) {
        component[member] = found;
        if (member === id) break;
      }
      found++;
    }
  }
  return component;
}

/** A place in the grammar: what is left of an alternative, and where it goes on afterwards. Equal ones are one object. */
interface Place {
  readonly id: number;
  readonly elements: readonly GrammarElement[];
  readonly at: number;
  readonly parent: Place | null;
}

/** Reads the text that the grammar allows in the most ways, as far as that shows whether the ways multiply. */
function tooManyStacks({ rules, root }: GrammarRules): string | undefined {
  const places = new Map<string, Place>();
  const numbers = new Map<readonly GrammarElement[], number>();
  let steps = 0;
  const placeOf = (elements: readonly GrammarElement[], at: number, parent: Place | null): Place | null => {
    if (at >= elements.length) return parent;
    const number = numbers.get(elements) ?? numbers.size;
    numbers.set(elements, number);
    const key = `${number}.${at}.${parent?.id ?? ''}`;
    const place = places.get(key) ?? { id: places.size, elements, at, parent };
    places.set(key, place);
    return place;
  };
  /** All places that wait for a character, from one on. */
  const advance = (start: Place | null, into: Set<Place>) => {
    const todo = [start];
    const seen = new Set<Place>();
    for (let place = todo.pop(); place !== undefined; place = todo.pop()) {
      if (place === null || seen.has(place)) continue;
      seen.add(place);
      steps++;
      const element = place.elements[place.at];
      if (typeof element !== 'number') {
        into.add(place);
        continue;
      }
      const behind = placeOf(place.elements, place.at + 1, place.parent);
      for (const elements of rules[element] ?? []) todo.push(placeOf(elements, 0, behind));
      if (into.size > maxStacks || steps > trialSteps) return;
    }
  };

  let stacks = new Set<Place>();
  for (const elements of rules[root] ?? []) advance(placeOf(elements, 0, null), stacks);
  for (let written = 0; written < trialCharacters && stacks.size > 0; written++) {
    if (stacks.size > maxStacks) return 'a text can be read in too many ways at once';
    if (steps > trialSteps) return undefined;
    let best: Place[] = [];
    for (const code of charactersOf(stacks)) {
      const matching = [...stacks].filter(({ elements, at }) => matches(elements[at], code));
      steps += stacks.size / 8;
      if (matching.length > best.length) best = matching;
    }
    const following = new Set<Place>();
    for (const { elements, at, parent } of best) advance(placeOf(elements, at + 1, parent), following);
    stacks = following;
  }
  return stacks.size > maxStacks ? 'a text can be read in too many ways at once' : undefined;
}

const matches = (element: GrammarElement | undefined, code: number): boolean => {
  if (typeof element !== 'object') return false;
  return element.ranges.some(([first, last]) => code >= first && code <= last) !== element.negated;
};

/** Some of the characters that the places wait for, spread over all of them. */
function charactersOf(stacks: ReadonlySet<Place>): readonly number[] {
  const codes = new Set<number>();
  for (const { elements, at } of stacks) {
    const set = elements[at] as CharacterSet; // places that wait hold no rule
    codes.add(set.negated ? outside(set) : (set.ranges[0]?.[0] ?? 0));
  }
  const all = [...codes];
  const every = Math.ceil(all.length / triedCharacters);
  return all.filter((_, i) => i % every === 0);
}

function outside(set: CharacterSet): number {
  for (const code of [0x61, 0x30, 0x20, 0x2e, 0x4e2d]) if (matches(set, code)) return code;
  return 0x1f600;
}
