import { GatewayError } from '../../core/errors.ts';

/** What stays of JSON's own rules inside a string: quotes, backslashes and control characters are escaped. */
const anyChar = '[^"\\\\\\x7F\\x00-\\x1F\\n]';
const maxPattern = 512;
const maxCount = 200;

const classes: Readonly<Record<string, string>> = { d: '0-9', w: '0-9A-Za-z_', s: ' ' };

/**
 * An ECMA-262 regular expression as GBNF for a JSON string's content. Covers literals, classes, groups, alternatives,
 * counts and anchors at the ends; unanchored ends may be preceded and followed by anything. Throws unsupported for what
 * has no grammar (look-around, back references, word boundaries).
 */
export function patternGrammar(source: string, path: string): string {
  const refuse = (what: string): never => {
    throw new GatewayError('unsupported', `${path}.pattern: ${what} can't be enforced.`, {
      param: `${path}.pattern`,
      code: 'invalid_json_schema',
    });
  };
  if (source.length > maxPattern) refuse(`an expression of more than ${maxPattern} characters`);
  let at = 0;
  let depth = 0;
  const anchored = { start: false, end: false };

  const alternatives = (top: boolean): string => {
    if (++depth > 30) refuse('nesting of more than 30 groups');
    const parts = [sequence(top)];
    while (source[at] === '|') {
      at++;
      parts.push(sequence(top));
    }
    depth--;
    if (top && parts.length > 1 && (anchored.start || anchored.end)) {
      // ^a|b$ anchors single alternatives: only fully anchored ones are exact here.
      if (!source.split('|').every((part) => part.startsWith('^') && part.endsWith('$'))) {
        refuse('an anchor inside an alternative (write ^(?:a|b)$)');
      }
    }
    return parts.length === 1 ? (parts[0] ?? '""') : `( ${parts.join(' | ')} )`;
  };

  const sequence = (top: boolean): string => {
    const items: string[] = [];
    while (at < source.length && source[at] !== '|' && source[at] !== ')') {
      if (source[at] === '^') {
        if (!top || items.length > 0) refuse('^ in the middle');
        anchored.start = true;
        at++;
        continue;
      }
      if (source[at] === '$') {
        if (!top || (at + 1 < source.length && source[at + 1] !== '|')) refuse('$ in the middle');
        anchored.end = true;
        at++;
        continue;
      }
      items.push(quantified(atom()));
    }
    return items.length === 0 ? '""' : items.join(' ');
  };

  const quantified = (item: string): string => {
    const rest = source.slice(at);
    const match = /^(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})\??/.exec(rest);
    if (!match) return item;
    at += match[0].length;
    const symbol = match[0][0];
    if (symbol !== '{') return `( ${item} )${symbol}`;
    const least = Number(match[1]);
    const most = match[2] === undefined ? least : match[3] ? Number(match[3]) : null;
    if (least > maxCount || (most ?? 0) > maxCount) refuse(`a count above ${maxCount}`);
    return `( ${item} ){${least}${match[2] === undefined ? '' : `,${most ?? ''}`}}`;
  };

  const atom = (): string => {
    const char = source[at] ?? '';
    if (char === '(') {
      const open = /^\((?:\?:|\?<[A-Za-z_]\w*>)?/.exec(source.slice(at))?.[0] ?? '(';
      if (open === '(' && source[at + 1] === '?') refuse('look-around');
      at += open.length;
      const inner = alternatives(false);
      if (source[at] !== ')') refuse('an unclosed group');
      at++;
      return inner.startsWith('(') ? inner : `( ${inner} )`;
    }
    if (char === '[') return charClass();
    if (char === '.') {
      at++;
      return anyChar;
    }
    if (char === '\\') return escapeSequence();
    if ('*+?{'.includes(char)) refuse(`a misplaced ${char}`);
    const whole = String.fromCodePoint(source.codePointAt(at) ?? 0);
    at += whole.length;
    return character(whole);
  };

  const escapeSequence = (): string => {
    const next = source[at + 1] ?? '';
    at += 2;
    if (classes[next]) return `[${classes[next]}]`;
    if (next === 'D') return '[^0-9"\\\\\\x00-\\x1F]';
    if (next === 'W') return '[^0-9A-Za-z_"\\\\\\x00-\\x1F]';
    if (next === 'S') return '[^ "\\\\\\x00-\\x1F]';
    if (next === 'b' || next === 'B' || /[1-9]/.test(next) || next === 'k' || next === 'p' || next === 'P') {
      refuse(`\\${next}`);
    }
    return character(escaped(next));
  };

  /** The character that `\next` stands for. */
  const escaped = (next: string): string => {
    const simple: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', f: '\f', v: '\v', 0: '\0' };
    if (simple[next] !== undefined) return simple[next];
    const hex = next === 'x' ? /^[0-9a-fA-F]{2}/ : next === 'u' ? /^[0-9a-fA-F]{4}/ : null;
    if (!hex) return next;
    const code = hex.exec(source.slice(at))?.[0] ?? refuse(`\\${next}`);
    at += code.length;
    return String.fromCharCode(Number.parseInt(code, 16));
  };

  const charClass = (): string => {
    at++;
    const negated = source[at] === '^';
    if (negated) at++;
    let body = '';
    let quote = false;
    for (let first = true; source[at] !== ']' || first; first = false) {
      if (at >= source.length) refuse('an unclosed class');
      if (first && source[at] === ']') refuse('an empty class');
      let char = String.fromCodePoint(source.codePointAt(at) ?? 0);
      at += char.length;
      if (char === '\\') {
        const next = source[at] ?? '';
        at++;
        if (classes[next]) {
          body += classes[next];
          continue;
        }
        if (/[DWSbpP]/.test(next)) refuse(`\\${next} in a class`);
        char = escaped(next);
      }
      if (char === '"' || char === '\\' || char < ' ') {
        quote = true;
        continue;
      }
      body += classChar(char);
      if (source[at] === '-' && source[at + 1] !== ']' && at + 1 < source.length) {
        body += '-';
        at++;
      }
    }
    at++;
    if (negated) return `[^${body}"\\\\\\x00-\\x1F]`;
    if (body === '' && !quote) refuse('an empty class');
    const escapes = quote ? ' | "\\\\" ["\\\\nrtbf]' : '';
    return body === '' ? '"\\\\" ["\\\\nrtbf]' : quote ? `( [${body}]${escapes} )` : `[${body}]`;
  };

  const body = alternatives(true);
  if (at < source.length) refuse('an unopened group');
  const any = `${anyChar}{0,32}`; // bounded: a weak model would fill its answer here
  return `${anchored.start ? '' : `${any} `}( ${body} )${anchored.end ? '' : ` ${any}`}`;
}

/** One character of the string's value, as JSON writes it. */
function character(char: string): string {
  const json = JSON.stringify(char).slice(1, -1);
  return `"${json.replace(/[\\"]/g, (found) => `\\${found}`)}"`;
}

function classChar(char: string): string {
  return /[\]\\^-]/.test(char)
    ? `\\${char === '-' || char === '^' ? `x${char.charCodeAt(0).toString(16)}` : char}`
    : char;
}
