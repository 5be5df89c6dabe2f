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
  /** Where nodes below `rows` lead: node × width + symbol; from `closer` on, `step` and `ends` tell. */
  readonly table: Uint16Array;
  readonly rows: number;
  readonly width: number;
  /** Where any node leads. */
  step(node: number, symbol: number): number;
  /** 1 where patterns end. */
  readonly ends: Uint8Array;
  /** Patterns that end at a node, longest first; undefined for none. */
  matches(node: number): readonly { readonly pattern: number; readonly depth: number }[] | undefined;
  /** Symbols of the longest live prefix at a node: of phrases that hold text back, and of all. */
  readonly holdDepth: Int32Array;
  readonly liveDepth: Int32Array;
  /** True when a text put between two pieces could become part of a match. */
  canJoin(text: string): boolean;
}

/**
 * Cells of the table. Nodes are numbered breadth first, so it holds the shallow ones, where text nearly always is; deeper
 * ones search their few children and follow failure links. 1 MiB of two-byte cells stays in a processor's cache; all
 * nodes of ten thousand phrases would take seven times that.
 */
const maxCells = 524_288;
const root = 0;
/** Entries of the table from here on need a closer look: patterns end there, or the node has no row. */
export const closer = 0x8000;
const noRow = 0xffff;
const maxRows = closer - 1;

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
  const { parents, symbols, firstChild } = buildTrie(paths, width);

  const size = parents.length;
  const fail = new Int32Array(size);
  const depth = new Int32Array(size);
  const level = new Int32Array(size);
  const rows = Math.max(1, Math.min(size, maxRows, Math.floor(cells / width)));
  const table = new Uint16Array(rows * width);
  const childOf = (node: number, symbol: number): number => {
    let low = firstChild[node] as number;
    let high = firstChild[node + 1] as number; // children lie together, by symbol
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((symbols[middle] as number) < symbol) low = middle + 1;
      else high = middle;
    }
    return low < (firstChild[node + 1] as number) && symbols[low] === symbol ? low : root;
  };
  const step = (node: number, symbol: number): number => {
    for (let at = node; ; at = fail[at] as number) {
      if (at < rows) {
        const entry = table[at * width + symbol] as number; // nodes and symbols come from here
        if (entry !== noRow) return entry & ~closer;
      }
      const child = childOf(at, symbol);
      if (child !== root) return child;
    }
  };
  // Breadth first: a node's failure link is shallower, so its row is complete when the node's own is made from it.
  for (let node = root, next = 1; node < size; node++) {
    const shorter = fail[node] as number;
    if (node < rows && node !== root) table.copyWithin(node * width, shorter * width, (shorter + 1) * width);
    for (; parents[next] === node && next < size; next++) {
      const symbol = symbols[next] as number;
      level[next] = (level[node] as number) + 1;
      depth[next] = (depth[node] as number) + (boundary > 0 && symbol === boundary ? 0 : 1);
      fail[next] = node === root ? root : step(shorter, symbol);
      if (node < rows) table[node * width + symbol] = next < rows ? next : noRow;
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
  const ends = new Uint8Array(size);
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
    if (both) ends[node] = 1;
  }
  for (let cell = 0; cell < table.length; cell++) {
    const next = table[cell] as number; // cell is in range
    if (next < closer && ends[next] === 1) table[cell] = next | closer;
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
    table,
    rows,
    width,
    step,
    ends,
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

/** The trie, numbered breadth first; the children of a node lie together, by symbol, from `firstChild` on. */
function buildTrie(paths: readonly (readonly number[])[], width: number) {
  const edges = new Map<number, number>(); // node × width + symbol → node
  const below: number[][] = [[]];
  const symbolAt: number[] = [0];
  for (const path of paths) {
    let node = 0;
    for (const symbol of path) {
      const key = node * width + symbol;
      let next = edges.get(key);
      if (next === undefined) {
        next = symbolAt.push(symbol) - 1;
        edges.set(key, next);
        below.push([]);
        below[node]?.push(next);
      }
      node = next;
    }
  }
  const order = [0];
  const parents = new Int32Array(symbolAt.length);
  const symbols = new Int32Array(symbolAt.length);
  const firstChild = new Int32Array(symbolAt.length + 1);
  for (let at = 0; at < order.length; at++) {
    firstChild[at] = order.length;
    const next = below[order[at] ?? 0] ?? [];
    for (const node of next.sort((a, b) => (symbolAt[a] ?? 0) - (symbolAt[b] ?? 0))) {
      const id = order.push(node) - 1;
      parents[id] = at;
      symbols[id] = symbolAt[node] ?? 0;
    }
  }
  firstChild[symbolAt.length] = order.length;
  return { parents, symbols, firstChild };
}
