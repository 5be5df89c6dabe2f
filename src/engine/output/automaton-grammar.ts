import type { Automaton } from './automaton.ts';
import type { Ranges } from './expression.ts';
import type { GrammarBuilder } from './gbnf.ts';

/** Characters that JSON writes with a backslash and one letter; other control characters are left out. */
const escapes = new Map([
  [0x22, '"'],
  [0x5c, '\\'],
  [8, 'b'],
  [9, 't'],
  [10, 'n'],
  [12, 'f'],
  [13, 'r'],
]);

const mostInlined = 20;

/** GBNF for the automaton's texts, as they stand or (`json`) as the content of a JSON string. */
export function automatonRule(builder: GrammarBuilder, hint: string, automaton: Automaton, json: boolean): string {
  const entered = automaton.map(() => 0);
  for (const { edges } of automaton)
    for (const to of new Set(edges.map(([, , target]) => target))) entered[to] = (entered[to] ?? 0) + 1;
  const names = new Map<number, { readonly name: string; define(body: string): void }>();
  const todo: number[] = [];
  const classes = new Map<string, string>();
  const classOf = (ranges: Ranges): string => {
    const key = ranges.join();
    const made = classes.get(key) ?? (json ? jsonCharacter(builder, ranges) : characterClass(ranges));
    classes.set(key, made);
    return made;
  };
  const nameOf = (state: number): string => {
    const known = names.get(state);
    if (known) return known.name;
    const reserved = builder.reserve(`${hint}-${state}`);
    names.set(state, reserved);
    todo.push(state);
    return reserved.name;
  };
  const body = (state: number, inlined = 0): string => {
    const { accepts, edges } = automaton[state] ?? { accepts: true, edges: [] };
    const byTarget = new Map<number, [number, number][]>();
    for (const [first, last, target] of edges) {
      const ranges = byTarget.get(target);
      if (ranges) ranges.push([first, last]);
      else byTarget.set(target, [[first, last]]);
    }
    const parts = [...byTarget].map(([target, ranges]) => {
      const character = classOf(ranges);
      const rest = automaton[target];
      if (rest?.accepts && rest.edges.length === 0) return character;
      // A state that is entered from one place only needs no rule of its own while the text has one way on.
      const inline =
        inlined < mostInlined && target !== 0 && entered[target] === 1 && !rest?.accepts && rest?.edges.length === 1;
      return `${character} ${inline ? body(target, inlined + 1) : nameOf(target)}`;
    });
    return [...parts, ...(accepts ? ['""'] : [])].join(' | ');
  };
  const start = nameOf(0);
  for (let state = todo.pop(); state !== undefined; state = todo.pop()) names.get(state)?.define(body(state));
  return start;
}

/** One of the characters, as JSON writes it between quotes. */
function jsonCharacter(builder: GrammarBuilder, ranges: Ranges): string {
  const plain: [number, number][] = [];
  let escaped = '';
  for (const [first, last] of ranges) {
    for (const [code, letter] of escapes)
      if (code >= first && code <= last) escaped += letter === '"' || letter === '\\' ? `\\${letter}` : letter;
    for (const [from, to] of plainRanges) {
      if (from <= last && to >= first) plain.push([Math.max(from, first), Math.min(to, last)]);
    }
  }
  const parts = [
    ...(plain.length > 0 ? [characterClass(plain)] : []),
    ...(escaped === '' ? [] : [`"\\\\" [${escaped}]`]),
  ];
  if (parts.length === 0) return '"\\\\u00" [01] [0-9a-f]'; // only control characters that nobody writes
  if (parts.length === 1 && (parts[0]?.length ?? 0) < 60) return parts[0] ?? '';
  return builder.rule('char', parts.join(' | '));
}

/** What stands in a JSON string as it is: no quotes, backslashes, control characters or halves of characters. */
const plainRanges: Ranges = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff],
];

function characterClass(ranges: Ranges): string {
  return `[${ranges.map(([first, last]) => (first === last ? write(first) : `${write(first)}-${write(last)}`)).join('')}]`;
}

function write(code: number): string {
  const char = String.fromCodePoint(code);
  if (/[A-Za-z0-9 _.,:;+*/#@!?=()]/.test(char)) return char;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`;
}
