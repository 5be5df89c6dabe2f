/** Builds a GBNF text rule by rule; equal bodies share a rule. */
export interface GrammarBuilder {
  /** Names `body`; the same body gets the same name. */
  rule(hint: string, body: string): string;
  /** Reserves a name for a rule whose body is not known yet (recursion). */
  reserve(hint: string): { readonly name: string; define(body: string): void };
  text(root: string): string;
}

const primitives: Readonly<Record<string, string>> = {
  // Bounded, so that a weak model cannot fill its answer with blanks.
  ws: '| " " | "\\n"{1,2} [ \\t]{0,20}',
  value: 'object | array | string | number | boolean | null',
  object: '"{" ws ( string ":" ws value ( "," ws string ":" ws value )* ws )? "}"',
  array: '"[" ws ( value ( "," ws value )* ws )? "]"',
  string: '"\\"" char* "\\""',
  // No lone surrogates: \\ud800 alone is JSON but no text.
  char: '[^"\\\\\\x7F\\x00-\\x1F] | "\\\\" ( ["\\\\/bfnrt] | "u" ( [0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2} ) )',
  number: 'integer ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,2} )?',
  integer: '"-"? ( "0" | [1-9] [0-9]{0,15} )',
  boolean: '"true" | "false"',
  null: '"null"',
};

export function createGrammar(): GrammarBuilder {
  const rules = new Map<string, string>();
  const byBody = new Map<string, string>();
  const nameFor = (hint: string) => {
    const base = `r-${hint.replace(/[^A-Za-z0-9]+/g, '-').slice(0, 40) || 'x'}`;
    let name = base;
    for (let n = 2; rules.has(name); n++) name = `${base}-${n}`;
    return name;
  };
  return {
    rule(hint, body) {
      const known = byBody.get(body);
      if (known) return known;
      const name = nameFor(hint);
      rules.set(name, body);
      byBody.set(body, name);
      return name;
    },
    reserve(hint) {
      const name = nameFor(hint);
      rules.set(name, '""');
      return { name, define: (body) => void rules.set(name, body) };
    },
    text(root) {
      const lines = [`root ::= ${root}`, ...[...rules].map(([name, body]) => `${name} ::= ${body}`)];
      const used = new Set<string>();
      const need = (text: string) => {
        for (const [word] of text
          .replace(/"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]/g, ' ')
          .matchAll(/[a-z][A-Za-z0-9-]*/g)) {
          const body = primitives[word];
          if (body === undefined || used.has(word)) continue;
          used.add(word);
          need(body);
        }
      };
      for (const line of lines) need(line.slice(line.indexOf('::=') + 3));
      for (const word of used) lines.push(`${word} ::= ${primitives[word]}`);
      return `${lines.join('\n')}\n`;
    },
  };
}

/** A text as GBNF literal. */
export function literal(text: string): string {
  let out = '"';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (char === '"' || char === '\\') out += `\\${char}`;
    else if (char === '\n') out += '\\n';
    else if (char === '\r') out += '\\r';
    else if (char === '\t') out += '\\t';
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, '0')}`;
    else out += char;
  }
  return `${out}"`;
}

/**
 * One of the texts. Written as a tree of their common beginnings: with as many alternatives side by side as there are
 * texts, each of 5,000 would be held against every token of the vocabulary (12 s an answer).
 */
export function oneOfTexts(builder: GrammarBuilder, texts: readonly string[]): string {
  return oneOfSorted(builder, [...new Set(texts)].sort(), 0);
}

/** `texts` rise and share their first `from` UTF-16 units, which are not written. */
function oneOfSorted(builder: GrammarBuilder, texts: readonly string[], from: number): string {
  const [first = '', last = first] = [texts[0], texts.at(-1)];
  if (texts.length === 1) return literal(first.slice(from));
  let end = from;
  while (end < first.length && first[end] === last[end]) end++;
  if (end > from && /[\uD800-\uDBFF]/.test(first[end - 1] ?? '')) end--; // no half of a character
  const groups = new Map<string, string[]>();
  for (const text of texts) {
    const next = String.fromCodePoint(...(end < text.length ? [text.codePointAt(end) ?? 0] : []));
    const group = groups.get(next) ?? [];
    group.push(text);
    groups.set(next, group);
  }
  const body = [...groups.values()].map((group) => oneOfSorted(builder, group, end)).join(' | ');
  const name = builder.rule('one-of', body);
  return end > from ? `${literal(first.slice(from, end))} ${name}` : name;
}

/**
 * `item` from `least` to `most` times (null: no limit). llama.cpp copies an item per repetition, so large counts are
 * built from blocks: the grammar grows with the root of the count and stays exact.
 */
export function repeat(builder: GrammarBuilder, item: string, least: number, most: number | null): string {
  if (most === 0) return '""';
  if (least === 0 && most === null) return `( ${item} )*`;
  if (most === null) return `${exactly(builder, item, least)} ( ${item} )*`;
  const head = least > 0 ? `${exactly(builder, item, least)} ` : '';
  const more = most - least;
  return more === 0 ? head.trim() : `${head}${upTo(builder, item, more)}`;
}

const blockLimit = 64;

function exactly(builder: GrammarBuilder, item: string, count: number): string {
  if (count <= blockLimit) return `( ${item} ){${count}}`;
  const size = Math.ceil(Math.sqrt(count));
  const block = builder.rule('block', `( ${item} ){${size}}`);
  const rest = count % size;
  return `( ${block} ){${Math.floor(count / size)}}${rest > 0 ? ` ( ${item} ){${rest}}` : ''}`;
}

function upTo(builder: GrammarBuilder, item: string, most: number): string {
  if (most <= blockLimit) return `( ${item} ){0,${most}}`;
  const size = Math.ceil(Math.sqrt(most));
  const block = builder.rule('block', `( ${item} ){${size}}`);
  const blocks = Math.floor(most / size);
  return `( ( ${block} ){0,${blocks - 1}} ( ${item} ){0,${size - 1}} | ( ${block} ){${blocks}} ( ${item} ){0,${most % size}} )`;
}
