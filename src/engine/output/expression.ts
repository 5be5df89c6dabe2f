import { lastCodePoint } from './automaton.ts';

export type Ranges = readonly (readonly [first: number, last: number])[];
/** A regular expression as a tree. `start` and `end` match the empty text there only. */
export type Expression =
  | { readonly kind: 'characters'; readonly ranges: Ranges }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly Expression[] }
  | { readonly kind: 'repeat'; readonly part: Expression; readonly least: number; readonly most: number | null }
  | { readonly kind: 'start' | 'end' };

export interface ParsedPattern {
  readonly expression: Expression;
  /** What a text must, or must not, begin with: look-ahead at the very beginning. */
  readonly ahead: readonly { readonly wanted: boolean; readonly expression: Expression }[];
}

/** The message names what can't be compiled. */
export class PatternError extends Error {}

const maxCount = 1000;
const maxDepth = 30;
const digits: Ranges = [[0x30, 0x39]];
const word: Ranges = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
const blanks: Ranges = [
  [9, 13],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const lineEnds: Ranges = [
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
];
const controls: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11, 0: 0 };

/** Reads an ECMA-262 pattern (flag u). Throws PatternError for what no automaton can do, or this one doesn't. */
export function parsePattern(source: string): ParsedPattern {
  let at = 0;
  let depth = 0;
  const fail = (what: string): never => {
    throw new PatternError(what);
  };
  const next = (): number => {
    const code = source.codePointAt(at) ?? fail('an expression that ends too early');
    at += code > 0xffff ? 2 : 1;
    return code;
  };
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(source)?.[0];
    if (match !== undefined) at += match.length;
    return match;
  };

  function choice(): Expression {
    if (++depth > maxDepth) fail(`nesting of more than ${maxDepth} groups`);
    const parts = [sequence()];
    while (source[at] === '|') {
      at++;
      parts.push(sequence());
    }
    depth--;
    return parts.length === 1 && parts[0] ? parts[0] : { kind: 'choice', parts };
  }

  function sequence(): Expression {
    const parts: Expression[] = [];
    while (at < source.length && source[at] !== '|' && source[at] !== ')') parts.push(quantified(atom()));
    return parts.length === 1 && parts[0] ? parts[0] : { kind: 'sequence', parts };
  }

  function quantified(part: Expression): Expression {
    const sign = take(/(?:[*+?]|\{\d+(?:,\d*)?\})\??/y);
    if (sign === undefined) return part;
    if (sign[0] === '*') return { kind: 'repeat', part, least: 0, most: null };
    if (sign[0] === '+') return { kind: 'repeat', part, least: 1, most: null };
    if (sign[0] === '?') return { kind: 'repeat', part, least: 0, most: 1 };
    const [, low = '', comma, high = ''] = /^\{(\d+)(,?)(\d*)\}/.exec(sign) ?? [];
    const least = Number(low);
    const most = comma === '' ? least : high === '' ? null : Number(high);
    if (least > maxCount || (most ?? 0) > maxCount) fail(`a count above ${maxCount}`);
    if (most !== null && most < least) fail('a count from more to less');
    return { kind: 'repeat', part, least, most };
  }

  function atom(): Expression {
    const char = source[at];
    if (char === '(') {
      const open = take(/\((?:\?:|\?<[A-Za-z_$][\w$]*>)?/y);
      if (open === '(' && source[at] === '?') fail('look-around');
      const inner = choice();
      if (source[at++] !== ')') fail('an unclosed group');
      return inner;
    }
    if (char === '[') return { kind: 'characters', ranges: characterClass() };
    if (char !== undefined && '*+?{'.includes(char)) fail(`a misplaced ${char}`);
    at += char === '^' || char === '$' || char === '.' ? 1 : 0;
    if (char === '^') return { kind: 'start' };
    if (char === '$') return { kind: 'end' };
    if (char === '.') return { kind: 'characters', ranges: complement(lineEnds) };
    if (char === '\\') return { kind: 'characters', ranges: escaped() };
    const code = next();
    return { kind: 'characters', ranges: [[code, code]] };
  }

  /** What stands behind a backslash, as characters. */
  function escaped(): Ranges {
    at++;
    const kind = source[at] ?? '';
    if (/[bBk1-9]/.test(kind)) fail(`\\${kind}`);
    const code = next();
    if (kind === 'd') return digits;
    if (kind === 'D') return complement(digits);
    if (kind === 'w') return word;
    if (kind === 'W') return complement(word);
    if (kind === 's') return blanks;
    if (kind === 'S') return complement(blanks);
    if (kind === 'p' || kind === 'P') {
      const ranges = property(take(/\{[\w=]{1,60}\}/y) ?? fail(`\\${kind}`));
      return kind === 'p' ? ranges : complement(ranges);
    }
    const one = controls[kind] ?? (kind === 'x' || kind === 'u' ? hexadecimal(kind) : kind === 'c' ? control() : code);
    return [[one, one]];
  }

  function hexadecimal(kind: string): number {
    const braced = kind === 'u' ? take(/\{[0-9a-fA-F]{1,6}\}/y) : undefined;
    if (braced) return Math.min(lastCodePoint, Number.parseInt(braced.slice(1), 16));
    const pair = kind === 'u' ? take(/[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}/y) : undefined;
    if (pair) {
      const [high, low] = [Number.parseInt(pair.slice(0, 4), 16), Number.parseInt(pair.slice(6), 16)];
      return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    return Number.parseInt(take(kind === 'x' ? /[0-9a-fA-F]{2}/y : /[0-9a-fA-F]{4}/y) ?? fail(`\\${kind}`), 16);
  }
  const control = (): number => (take(/[A-Za-z]/y) ?? fail('\\c')).charCodeAt(0) % 32;

  function characterClass(): Ranges {
    at++;
    const negated = source[at] === '^';
    if (negated) at++;
    const ranges: (readonly [number, number])[] = [];
    while (source[at] !== ']') {
      if (at >= source.length) fail('an unclosed class');
      const low = member();
      const [first] = low[0] ?? [0];
      const single = low.length === 1 && low[0]?.[0] === low[0]?.[1];
      if (single && source[at] === '-' && source[at + 1] !== ']' && at + 1 < source.length) {
        at++;
        const high = member();
        const last = high[0]?.[0] ?? 0;
        if (high.length !== 1 || high[0]?.[1] !== last || last < first) fail('a class with a range out of order');
        ranges.push([first, last]);
      } else ranges.push(...low);
    }
    at++;
    return negated ? complement(ranges) : unite(ranges);
  }

  function member(): Ranges {
    if (source[at] === '\\') {
      if (source[at + 1] !== 'b') return escaped();
      at += 2;
      return [[8, 8]];
    }
    const code = next();
    return [[code, code]];
  }

  const ahead: { wanted: boolean; expression: Expression }[] = [];
  const anchored = /^\^(?=\(\?[=!])/.test(source);
  if (anchored) at = 1;
  for (let sign = anchored ? take(/\(\?[=!]/y) : undefined; sign !== undefined; sign = take(/\(\?[=!]/y)) {
    const expression: Expression = { kind: 'sequence', parts: [{ kind: 'start' }, choice()] };
    if (source[at++] !== ')') fail('an unclosed group');
    ahead.push({ wanted: sign.endsWith('='), expression });
  }
  const rest = choice();
  if (at < source.length) fail(anchored && source[at] === '|' ? 'look-around' : 'an unopened group');
  if (anchored && rest.kind === 'choice') fail('look-around in an alternative');
  return { expression: anchored ? { kind: 'sequence', parts: [{ kind: 'start' }, rest] } : rest, ahead };
}

/** In order and without overlaps. */
function unite(ranges: Ranges): Ranges {
  const out: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const before = out.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else out.push([first, last]);
  }
  return out;
}

function complement(ranges: Ranges): Ranges {
  const out: [number, number][] = [];
  let from = 0;
  for (const [first, last] of unite(ranges)) {
    if (first > from) out.push([from, first - 1]);
    from = last + 1;
  }
  if (from <= lastCodePoint) out.push([from, lastCodePoint]);
  return out;
}

const properties = new Map<string, Ranges>();

/** Characters with a Unicode property, as the JavaScript engine knows it; `braced` is `{L}` or `{Script=Greek}`. */
function property(braced: string): Ranges {
  const known = properties.get(braced);
  if (known) return known;
  let pattern: RegExp;
  try {
    pattern = new RegExp(`\\p${braced}`, 'u');
  } catch {
    throw new PatternError(`\\p${braced}`);
  }
  const ranges: [number, number][] = [];
  for (let code = 0; code <= lastCodePoint; code++) {
    if (code === 0xd800) code = 0xe000;
    if (!pattern.test(String.fromCodePoint(code))) continue;
    const before = ranges.at(-1);
    if (before && before[1] + 1 === code) before[1] = code;
    else ranges.push([code, code]);
  }
  if (properties.size > 20) properties.clear();
  properties.set(braced, ranges);
  return ranges;
}
