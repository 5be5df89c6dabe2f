import fc from 'fast-check';
import type { Rule } from '../../src/filters/rules.ts';

/** A rule and, spelled out, every text it matches: the meaning of a pattern without an automaton. */
export interface Spelled {
  readonly rule: Rule;
  readonly texts: ReadonlySet<string>;
}

interface Expression {
  readonly source: string;
  readonly texts: readonly string[];
}

const alphabet = ['a', 'b', 'c', '-'];
const join = (left: readonly string[], right: readonly string[]) => [
  ...new Set(left.flatMap((a) => right.map((b) => a + b))),
];

const { expression } = fc.letrec<{ expression: Expression; atom: Expression }>((tie) => ({
  atom: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom(...alphabet).map((char) => ({ source: char, texts: [char] })),
    fc.constantFrom('[ab]', '[^ab]').map((source) => ({
      source,
      texts: alphabet.filter((char) => new RegExp(source).test(char)),
    })),
    tie('expression').map(({ source, texts }) => ({ source: `(?:${source})`, texts })),
  ),
  expression: fc.oneof(
    { maxDepth: 2 },
    tie('atom'),
    fc
      .tuple(tie('atom'), tie('atom'))
      .map(([a, b]) => ({ source: a.source + b.source, texts: join(a.texts, b.texts) })),
    fc
      .tuple(tie('atom'), tie('atom'))
      .map(([a, b]) => ({ source: `(?:${a.source}|${b.source})`, texts: [...new Set([...a.texts, ...b.texts])] })),
    fc.tuple(tie('atom'), fc.integer({ min: 0, max: 1 }), fc.integer({ min: 1, max: 3 })).map(([a, min, max]) => {
      const texts = new Set<string>();
      let row: readonly string[] = [''];
      for (let count = 0; count <= max; count++) {
        if (count >= min) for (const text of row) texts.add(text);
        row = join(row, a.texts);
      }
      return { source: `${a.source}{${min},${max}}`, texts: [...texts] };
    }),
  ),
}));

const action = fc.constantFrom('block', 'mask', 'mask', 'mask', 'replace', 'flag', 'stop') as fc.Arbitrary<
  Rule['action']
>;
const matcher = fc.oneof(
  fc
    .string({ unit: fc.constantFrom(...alphabet), minLength: 1, maxLength: 5 })
    .map((phrase) => ({ match: { phrase }, texts: [phrase] })),
  expression
    .filter(({ texts }) => texts.length < 200 && !texts.includes(''))
    .map(({ source, texts }) => ({ match: { regex: source }, texts })),
);

export const spelledRules: fc.Arbitrary<readonly Spelled[]> = fc
  .array(fc.tuple(matcher, action), { minLength: 1, maxLength: 5 })
  .map((drawn) =>
    drawn.map(([{ match, texts }, does], index) => ({
      rule: { filter: `f${index}`, label: `l${index}`, action: does, match, replacement: () => `#${index}#` },
      texts: new Set(texts),
    })),
  );

export const text = fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 24 });

const isEnding = ({ rule }: Spelled) => rule.action === 'block' || rule.action === 'stop' || rule.action === 'retry';
const isChanging = ({ rule }: Spelled) => rule.action === 'mask' || rule.action === 'replace';

interface Found {
  readonly start: number;
  readonly end: number;
  readonly order: number;
  readonly spelled: Spelled;
}

/** Every match: each part of `input` that a rule spells out. */
function allMatches(rules: readonly Spelled[], input: string): readonly Found[] {
  const found: Found[] = [];
  for (let start = 0; start < input.length; start++) {
    for (let end = start + 1; end <= input.length; end++) {
      for (const [order, spelled] of rules.entries()) {
        if (spelled.texts.has(input.slice(start, end))) found.push({ start, end, order, spelled });
      }
    }
  }
  return found;
}

/** The earliest place from which `input` could still grow into a match of a rule that holds text back. */
function liveStart(rules: readonly Spelled[], input: string): number {
  const holding = rules.filter((spelled) => isEnding(spelled) || isChanging(spelled));
  for (let start = 0; start < input.length; start++) {
    const tail = input.slice(start);
    if (holding.some(({ texts }) => [...texts].some((text) => text.length > tail.length && text.startsWith(tail)))) {
      return start;
    }
  }
  return input.length;
}

/**
 * What must have been sent once `input` has arrived, by definition and in quadratic time: everything that is decided,
 * and nothing else. `complete`: the text is over.
 */
export function expectedOutput(
  rules: readonly Spelled[],
  input: string,
  complete: boolean,
): { sent: string; ended: boolean } {
  const matches = allMatches(rules, input);
  const ending = matches
    .filter(({ spelled }) => isEnding(spelled))
    .sort((a, b) => a.end - b.end || a.start - b.start)[0];
  const known = ending ? input.slice(0, ending.end) : input;
  const live = complete && !ending ? known.length : liveStart(rules, known);
  const limit = ending ? Math.min(ending.start, live) : live;

  const covering = matches
    .filter(({ spelled, end }) => isChanging(spelled) && end <= known.length)
    .sort((a, b) => a.start - b.start || b.end - a.end || a.order - b.order);
  let out = '';
  let at = 0;
  for (let i = 0; i < covering.length; ) {
    const first = covering[i];
    if (!first) break;
    let end = first.end;
    let j = i + 1;
    for (let next = covering[j]; next && next.start < end; next = covering[++j]) end = Math.max(end, next.end);
    if (end > limit)
      return { sent: out + input.slice(at, Math.max(at, Math.min(limit, first.start))), ended: ending !== undefined };
    out += input.slice(at, first.start) + (first.spelled.rule.replacement?.('') ?? '');
    at = end;
    i = j;
  }
  return { sent: out + input.slice(at, Math.max(at, limit)), ended: ending !== undefined };
}

/** Texts that must never be seen. */
export const forbidden = (rules: readonly Spelled[]): readonly string[] =>
  rules.filter((spelled) => isEnding(spelled) || isChanging(spelled)).flatMap(({ texts }) => [...texts]);
