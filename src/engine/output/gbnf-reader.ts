/** Characters that a terminal matches: pairs of first and last code point; `negated` means all others. */
export interface CharacterSet {
  readonly negated: boolean;
  readonly ranges: readonly (readonly [first: number, last: number])[];
}
/** A rule's number, or what it matches. */
export type GrammarElement = number | CharacterSet;
export type Alternatives = readonly (readonly GrammarElement[])[];

export interface GrammarRules {
  readonly rules: readonly Alternatives[];
  readonly root: number;
}

/** Message with the line, for whoever wrote the grammar. */
export class GrammarSyntaxError extends Error {}

/** llama.cpp copies what is repeated; more elements than this after that are refused. */
const maxElements = 500_000;
const maxRepetition = 2000;
const everything: CharacterSet = { negated: true, ranges: [] };
/** A token by its id: no character of ours stands for it. */
const nothing: CharacterSet = { negated: false, ranges: [] };

/**
 * Reads GBNF as llama.cpp's own parser does (llama-grammar.cpp), repetitions rewritten to rules alike, so that a grammar
 * can be judged before native code meets it. Throws GrammarSyntaxError.
 */
export function readGrammar(source: string): GrammarRules {
  const ids = new Map<string, number>();
  const rules: GrammarElement[][][] = [];
  let at = 0;
  let elements = 0;

  const fail = (what: string): never => {
    const line = source.slice(0, at).split('\n').length;
    throw new GrammarSyntaxError(`line ${line}: ${what}`);
  };
  const count = (added: number) => {
    elements += added;
    if (elements > maxElements) fail('the grammar repeats too much');
  };
  const idOf = (name: string): number => {
    const id = ids.get(name) ?? ids.size;
    ids.set(name, id);
    return id;
  };
  const fresh = (base: string): number => idOf(`${base}_${ids.size}`);
  const space = (newlines: boolean) => {
    const blank = newlines ? /(?:[ \t\r\n]|#[^\r\n]*)*/y : /(?:[ \t]|#[^\r\n]*)*/y;
    take(blank);
  };
  function take(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const match = pattern.exec(source)?.[0];
    if (match !== undefined) at += match.length;
    return match;
  }
  const name = () => take(/[A-Za-z0-9-]+/y);

  function character(): number {
    const escaped = take(/\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\"[\]-])/y);
    if (escaped === undefined) {
      const code = source.codePointAt(at);
      if (code === undefined) return fail('a text or a character class does not end');
      if (code === 0x5c) return fail('an unknown escape');
      at += code > 0xffff ? 2 : 1;
      return code;
    }
    const kind = escaped[1] ?? '';
    if (/[xuU]/.test(kind)) return Number.parseInt(escaped.slice(2), 16);
    return { t: 9, r: 13, n: 10 }[kind] ?? kind.charCodeAt(0);
  }

  function characterClass(): CharacterSet {
    const negated = source[at] === '^';
    if (negated) at++;
    const ranges: [number, number][] = [];
    while (source[at] !== ']') {
      const first = character();
      let last = first;
      if (source[at] === '-' && source[at + 1] !== ']') {
        at++;
        last = character();
      }
      ranges.push([first, last]);
    }
    at++;
    return { negated, ranges };
  }

  function alternatives(rule: string, nested: boolean): GrammarElement[][] {
    const list = [sequence(rule, nested)];
    while (source[at] === '|') {
      at++;
      space(true);
      list.push(sequence(rule, nested));
    }
    return list;
  }

  function sequence(rule: string, nested: boolean): GrammarElement[] {
    const out: GrammarElement[] = [];
    let start = 0;
    let previousRules = 1;
    const repeat = (least: number, most: number) => {
      if (start === out.length) fail('a repetition of nothing');
      const times = most === Number.POSITIVE_INFINITY || most === 0 ? Math.max(1, least) : most;
      if (previousRules * times >= maxRepetition) fail('too many repetitions');
      const item = out.splice(start);
      count(item.length * times);
      for (let i = 0; i < least; i++) for (const element of item) out.push(element);
      const optional = most === Number.POSITIVE_INFINITY ? 1 : most - least;
      let last = -1;
      for (let i = 0; i < optional; i++) {
        const id = fresh(rule);
        const next = most === Number.POSITIVE_INFINITY ? [id] : i > 0 ? [last] : [];
        rules[id] = [[...item, ...next], []];
        last = id;
      }
      if (optional > 0) out.push(last);
      previousRules *= times;
    };
    for (;;) {
      const sign = source[at];
      switch (sign) {
        case '"':
          at++;
          [start, previousRules] = [out.length, 1];
          while (source[at] !== '"') {
            const code = character();
            out.push({ negated: false, ranges: [[code, code]] });
            count(1);
          }
          at++;
          break;
        case '[':
          at++;
          [start, previousRules] = [out.length, 1];
          out.push(characterClass());
          break;
        case '.':
          at++;
          [start, previousRules] = [out.length, 1];
          out.push(everything);
          break;
        case '<':
        case '!':
          [start, previousRules] = [out.length, 1];
          if (take(/!?<[^>\r\n]*>/y) === undefined) fail('a token is written <[id]> or <text>');
          out.push(nothing);
          break;
        case '(': {
          at++;
          space(true);
          const before = ids.size;
          const id = fresh(rule);
          rules[id] = alternatives(rule, true);
          [start, previousRules] = [out.length, Math.max(1, ids.size - before)];
          out.push(id);
          if (source[at] !== ')') fail('a parenthesis is not closed');
          at++;
          break;
        }
        case '*':
          at++;
          repeat(0, Number.POSITIVE_INFINITY);
          break;
        case '+':
          at++;
          repeat(1, Number.POSITIVE_INFINITY);
          break;
        case '?':
          at++;
          repeat(0, 1);
          break;
        case '{': {
          const [, least = '', comma, most = ''] =
            /^\{\s*(\d+)\s*(,?)\s*(\d*)\s*\}$/.exec(take(/\{[^}]*\}/y) ?? '') ?? [];
          if (least === '') fail('a count is written {2}, {2,} or {2,5}');
          if (Number(least) > maxRepetition) fail('too many repetitions');
          const upper = comma === '' ? Number(least) : most === '' ? Number.POSITIVE_INFINITY : Number(most);
          if (upper < Number(least)) fail('a count from more to less');
          repeat(Number(least), upper > maxRepetition ? Number.POSITIVE_INFINITY : upper);
          break;
        }
        default: {
          const reference = name();
          if (reference === undefined) return out;
          [start, previousRules] = [out.length, 1];
          out.push(idOf(reference));
        }
      }
      space(nested);
    }
  }

  space(true);
  while (at < source.length) {
    const rule = name() ?? fail('a rule begins with its name');
    space(false);
    if (take(/::=/y) === undefined) fail(`'::=' is missing after '${rule.slice(0, 50)}'`);
    space(true);
    rules[idOf(rule)] = alternatives(rule, false);
    if (at < source.length && take(/\r\n|\r|\n/y) === undefined) {
      fail(`unexpected '${String.fromCodePoint(source.codePointAt(at) ?? 0)}'`);
    }
    space(true);
  }
  const undefinedRule = [...ids].find(([, id]) => rules[id] === undefined)?.[0];
  if (undefinedRule !== undefined)
    throw new GrammarSyntaxError(`the rule '${undefinedRule.slice(0, 50)}' is not defined`);
  const root = ids.get('root');
  if (root === undefined) throw new GrammarSyntaxError("the rule 'root' is not defined");
  return { rules, root };
}
