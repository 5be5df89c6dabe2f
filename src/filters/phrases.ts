import { foldCase, isWord, symbolsOf } from './fold.ts';

export interface Phrase {
  readonly text: string;
  readonly wholeWords: boolean;
  /** The pattern's number. */
  readonly pattern: number;
  readonly holds: boolean;
}

/**
 * All phrases as one Aho-Corasick machine: a node is the longest end of the text that begins a phrase. Symbols are
 * folded characters, numbered; 0 is every character that no phrase has, `boundary` the place between a word and what
 * is none, which phrases that want whole words begin and end with.
 */
export interface PhraseMachine {
  readonly size: number;
  /** Longest phrase in symbols of text. */
  readonly maxDepth: number;
  /** 0 where no phrase wants whole words. */
  readonly boundary: number;
  symbolOf(folded: number): number;
  step(node: number, symbol: number): number;
  /** Patterns that end at a node, longest first; undefined for none. */
  matches(node: number): readonly { readonly pattern: number; readonly depth: number }[] | undefined;
  /** Symbols of the longest live prefix at a node: of phrases that hold text back, and of all. */
  readonly holdDepth: Int32Array;
  readonly liveDepth: Int32Array;
  /** True when a text put between two pieces could become part of a match. */
  canJoin(text: string): boolean;
}

/** Past this many cells the table becomes a hash with failure links: slower per symbol, but bounded in memory. */
const maxCells = 12_000_000;
const root = 0;

export function createPhrases(phrases: readonly Phrase[], cells = maxCells): PhraseMachine {
  const ids = new Map<number, number>();
  const boundary = phrases.some(({ wholeWords }) => wholeWords) ? 1 : 0;
  const first = boundary + 1;
  const symbolOf = (folded: number): number => ids.get(folded) ?? 0;
  const paths = phrases.map(({ text, wholeWords }) => {
    const symbols = foldedOf(text);
    if (symbols.length === 0) throw new Error('A phrase needs at least one visible character.');
    for (const symbol of symbols) if (!ids.has(symbol)) ids.set(symbol, ids.size + first);
    return pathOf(symbols, wholeWords, boundary, symbolOf);
  });
  const width = ids.size + first;
  const { order, parents, symbols, children } = buildTrie(paths, width);

  const size = order.length;
  const fail = new Int32Array(size);
  const depth = new Int32Array(size);
  const level = new Int32Array(size);
  const dense = size * width <= cells ? new Int32Array(size * width) : undefined;
  const sparse = dense ? undefined : children;
  const step = (node: number, symbol: number): number => {
    if (dense) return dense[node * width + symbol] as number; // node and symbol come from here
    for (let at = node; ; at = fail[at] as number) {
      const next = sparse?.get(at * width + symbol);
      if (next !== undefined) return next;
      if (at === root) return root;
    }
  };
  // Breadth first: a node's failure link is shallower, so its row is complete when the node's own is made from it.
  for (let node = root, next = 1; node < size; node++) {
    const shorter = fail[node] as number;
    if (dense && node !== root) dense.copyWithin(node * width, shorter * width, (shorter + 1) * width);
    for (; parents[next] === node && next < size; next++) {
      const symbol = symbols[next] as number;
      level[next] = (level[node] as number) + 1;
      depth[next] = (depth[node] as number) + (boundary > 0 && symbol === boundary ? 0 : 1);
      fail[next] = node === root ? root : step(shorter, symbol);
      if (dense) dense[node * width + symbol] = next;
    }
  }

  const own = new Map<number, { pattern: number; depth: number }[]>();
  const alive = new Uint8Array(size);
  const holding = new Uint8Array(size);
  for (const [index, path] of paths.entries()) {
    const { pattern, holds } = phrases[index] as Phrase; // one path per phrase
    let node = root;
    for (const symbol of path) {
      alive[node] = 1;
      if (holds) holding[node] = 1;
      node = step(node, symbol);
    }
    const found = { pattern, depth: depth[node] as number };
    own.set(node, [...(own.get(node) ?? []), found]);
  }
  const all = new Map<number, readonly { pattern: number; depth: number }[]>();
  const holdDepth = new Int32Array(size);
  const liveDepth = new Int32Array(size);
  for (let node = 1; node < size; node++) {
    const shorter = fail[node] as number;
    holdDepth[node] = (holding[node] ? depth[node] : holdDepth[shorter]) as number;
    liveDepth[node] = (alive[node] ? depth[node] : liveDepth[shorter]) as number;
    const mine = own.get(node);
    const inherited = all.get(shorter);
    const both = mine && inherited ? [...mine, ...inherited] : (mine ?? inherited);
    if (both) all.set(node, both);
  }

  const child = (node: number, symbol: number): number | undefined => {
    const next = step(node, symbol);
    return level[next] === (level[node] as number) + 1 ? next : undefined;
  };
  return {
    size,
    maxDepth: depth.reduce((a, b) => Math.max(a, b), 0),
    boundary,
    symbolOf,
    step,
    matches: (node) => all.get(node),
    holdDepth,
    liveDepth,
    canJoin(text) {
      let nodes = Array.from({ length: size - 1 }, (_, index) => index + 1);
      for (const folded of foldedOf(text)) {
        nodes = [...nodes, root].flatMap((node) => child(node, symbolOf(folded)) ?? []);
        if (nodes.some((node) => own.has(node))) return true;
      }
      return nodes.length > 0;
    },
  };
}

const foldedOf = (text: string): readonly number[] =>
  [...text].flatMap((char) => symbolsOf(char.codePointAt(0) ?? 0).map(({ code }) => foldCase(code)));

/** A phrase's symbols, with the boundaries that the text will show inside it, and around it where it wants whole words. */
function pathOf(
  folded: readonly number[],
  wholeWords: boolean,
  boundary: number,
  symbolOf: (folded: number) => number,
) {
  const path: number[] = [];
  let word = !wholeWords && isWord(folded[0] ?? 0);
  for (const symbol of folded) {
    const isOne = isWord(symbol);
    if (boundary > 0 && isOne !== word) path.push(boundary);
    word = isOne;
    path.push(symbolOf(symbol));
  }
  if (boundary > 0 && wholeWords && word) path.push(boundary);
  return path;
}

/** The trie, numbered breadth first so that what is read most lies together. `children`: node × width + symbol → node. */
function buildTrie(paths: readonly (readonly number[])[], width: number) {
  const edges = new Map<number, number>();
  const firstChild: number[] = [0];
  const sibling: number[] = [0];
  const symbolAt: number[] = [0];
  for (const path of paths) {
    let node = 0;
    for (const symbol of path) {
      const key = node * width + symbol;
      let next = edges.get(key);
      if (next === undefined) {
        next = symbolAt.push(symbol) - 1;
        edges.set(key, next);
        sibling.push(firstChild[node] ?? 0);
        firstChild[node] = next;
        firstChild.push(0);
      }
      node = next;
    }
  }
  const order = [0];
  const parents = new Int32Array(symbolAt.length);
  const symbols = new Int32Array(symbolAt.length);
  const children = new Map<number, number>();
  for (let at = 0; at < order.length; at++) {
    for (let next = firstChild[order[at] ?? 0] ?? 0; next !== 0; next = sibling[next] ?? 0) {
      const id = order.push(next) - 1;
      parents[id] = at;
      symbols[id] = symbolAt[next] ?? 0;
      children.set(at * width + (symbolAt[next] ?? 0), id);
    }
  }
  return { order, parents, symbols, children };
}
