import { foldCase, symbolsOf } from './fold.ts';

/** A regular expression as a tree of bounded length. Groups do not capture; greed does not matter (see automaton.ts). */
export type RegexNode =
  | { readonly type: 'set'; readonly set: SymbolSet }
  | { readonly type: 'sequence'; readonly items: readonly RegexNode[] }
  | { readonly type: 'choice'; readonly options: readonly RegexNode[] }
  | { readonly type: 'repeat'; readonly item: RegexNode; readonly min: number; readonly max: number }
  | { readonly type: 'boundary' | 'start' | 'end' }
  /** Lookbehind: what stands in front is (or is none) of these, each of one or two symbols. */
  | { readonly type: 'behind'; readonly negative: boolean; readonly options: readonly (readonly SymbolSet[])[] };

/** Equal keys are equal sets. */
export interface SymbolSet {
  readonly key: string;
  test(code: number): boolean;
}

const maxRegexSymbols = 8_192;
const maxRegexPositions = 16_384;

/** Why a regular expression is refused, in words for the person who wrote it. */
class RegexError extends Error {
  constructor(source: string, reason: string) {
    super(`The regular expression /${source}/ ${reason}`);
    this.name = 'RegexError';
  }
}

/**
 * Reads JavaScript's syntax (flag `u`; a leading `(?i)` ignores case) without back-references, lookahead and anything
 * whose match has no greatest length; lookbehind of one or two characters is possible. Throws RegexError with the
 * reason. `\b` is the Unicode-aware boundary of fold.ts.
 */
export function parseRegex(source: string, ignoreCase = false): RegexNode {
  const insensitive = ignoreCase || source.startsWith('(?i)');
  const body = source.startsWith('(?i)') ? source.slice(4) : source;
  try {
    new RegExp(body, 'u');
  } catch (error) {
    throw new RegexError(source, `is not valid: ${error instanceof Error ? error.message : 'syntax error'}.`);
  }
  const refuse = (reason: string): never => {
    throw new RegexError(source, reason);
  };
  let at = 0;

  const choice = (): RegexNode => {
    const options = [sequence()];
    while (body[at] === '|') {
      at++;
      options.push(sequence());
    }
    return options.length === 1 && options[0] ? options[0] : { type: 'choice', options };
  };
  const sequence = (): RegexNode => {
    const items: RegexNode[] = [];
    while (at < body.length && body[at] !== '|' && body[at] !== ')') items.push(quantified(atom()));
    return { type: 'sequence', items };
  };
  const quantified = (item: RegexNode): RegexNode => {
    const match = /^(?:[?*+]|\{(\d+)(,(\d*))?\})\??/.exec(body.slice(at));
    if (!match) return item;
    at += match[0].length;
    if (/^[*+]/.test(match[0]) || (match[2] && match[3] === '')) {
      refuse(`has no greatest match length because of '${match[0]}'. Write a bound instead, such as {1,100}.`);
    }
    if (match[0].startsWith('?')) return { type: 'repeat', item, min: 0, max: 1 };
    const min = Number(match[1]);
    return { type: 'repeat', item, min, max: match[3] ? Number(match[3]) : min };
  };
  const atom = (): RegexNode => {
    const char = body[at];
    if (char === '(') {
      const open = /^\((?:\?(?::|<[=!]|<[A-Za-z_][^>]*>)|(?!\?))/.exec(body.slice(at));
      if (!open) return refuse('uses lookaround or inline flags, which a filter on a stream cannot decide in order.');
      at += open[0].length;
      const inner = choice();
      at++; // the closing parenthesis; RegExp has checked that it is there
      if (!/<[=!]$/.test(open[0])) return inner;
      const options =
        contextsOf(inner) ?? refuse('uses lookaround: behind a place only one or two characters are seen.');
      return { type: 'behind', negative: open[0].endsWith('!'), options };
    }
    if (char === '[') {
      let end = at + 1;
      while (body[end] !== ']') end += body[end] === '\\' ? 2 : 1;
      const text = body.slice(at, end + 1);
      at = end + 1;
      for (const member of text) {
        const symbols = symbolsOf(member.codePointAt(0) ?? 0);
        if (symbols.length !== 1 || symbols[0]?.code !== member.codePointAt(0)) {
          refuse(`has '${member}' in a class, which is compared decomposed (NFKD). Write alternatives: (?:a|b).`);
        }
      }
      return { type: 'set', set: setOf(text, insensitive) };
    }
    if (char === '^' || char === '$') {
      at++;
      return { type: char === '^' ? 'start' : 'end' };
    }
    if (char === '.') {
      at++;
      return { type: 'set', set: setOf('.', false) };
    }
    if (char === '\\') {
      const written = /^\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|c[A-Za-z]|k<|[1-9]|.)/su.exec(
        body.slice(at),
      )?.[0];
      if (!written) return refuse('ends in a lone backslash.');
      at += written.length;
      if (written === '\\b') return { type: 'boundary' };
      if (written === '\\B') return refuse('uses \\B, which is not supported.');
      if (/^\\(?:k<|[1-9])/.test(written))
        return refuse('uses a back-reference, which no linear-time engine can match.');
      return { type: 'set', set: setOf(written, insensitive) };
    }
    const codePoint = body.codePointAt(at) ?? 0;
    at += codePoint > 0xffff ? 2 : 1;
    return {
      type: 'sequence',
      items: symbolsOf(codePoint).map(({ code }) => ({ type: 'set', set: literal(code, insensitive) })),
    };
  };

  const tree = choice();
  const { min, max, positions } = measure(tree);
  if (min === 0) refuse('matches empty text.');
  if (max > maxRegexSymbols) refuse(`matches up to ${max} characters; at most ${maxRegexSymbols} may be held back.`);
  if (positions > maxRegexPositions)
    refuse(`expands to ${positions} positions; at most ${maxRegexPositions} are allowed.`);
  return tree;
}

/** A lookbehind's alternatives, where each is one or two symbols. */
function contextsOf(node: RegexNode): readonly (readonly SymbolSet[])[] | undefined {
  const options = node.type === 'choice' ? node.options : [node];
  const contexts = options.map(symbolsIn);
  return contexts.every((symbols) => symbols.length === 1 || symbols.length === 2) ? contexts : undefined;
}
/** Three where it is not a plain sequence. */
function symbolsIn(node: RegexNode): readonly SymbolSet[] {
  if (node.type === 'set') return [node.set];
  const none = { key: '', test: () => false };
  return node.type === 'sequence' ? node.items.flatMap(symbolsIn) : [none, none, none];
}

function literal(code: number, insensitive: boolean): SymbolSet {
  if (!insensitive) return { key: `=${code}`, test: (other) => other === code };
  const folded = foldCase(code);
  return { key: `~${folded}`, test: (other) => foldCase(other) === folded };
}

/**
 * One class, tested by RegExp on a single character, which is always linear. A class with precomposed letters takes
 * combining marks too, because letters arrive decomposed.
 */
function setOf(text: string, insensitive: boolean): SymbolSet {
  const regex = new RegExp(`^${text}$`, insensitive ? 'iu' : 'u');
  const marks = regex.test('é');
  return {
    key: `${insensitive ? 'i' : ''}${text}`,
    test: (code) => regex.test(String.fromCodePoint(code)) || (marks && code >= 0x300 && code <= 0x36f),
  };
}

interface Size {
  readonly min: number;
  readonly max: number;
  readonly positions: number;
}

/** Least and greatest match length in symbols, and how many positions the tree unrolls to. */
function measure(node: RegexNode): Size {
  switch (node.type) {
    case 'set':
      return { min: 1, max: 1, positions: 1 };
    case 'sequence':
      return node.items.map(measure).reduce(
        (sum, size) => ({
          min: sum.min + size.min,
          max: sum.max + size.max,
          positions: sum.positions + size.positions,
        }),
        { min: 0, max: 0, positions: 0 },
      );
    case 'choice': {
      const sizes = node.options.map(measure);
      return {
        min: Math.min(...sizes.map((size) => size.min)),
        max: Math.max(...sizes.map((size) => size.max)),
        positions: sizes.reduce((sum, size) => sum + size.positions, 1),
      };
    }
    case 'repeat': {
      const size = measure(node.item);
      return { min: size.min * node.min, max: size.max * node.max, positions: (size.positions + 1) * node.max };
    }
    default:
      return { min: 0, max: 0, positions: 1 };
  }
}
