/** Reads UTF-16 units into code points, each with the part of the source that it is written in. */
export interface UnitReader {
  /** False when the text is over. */
  take(unit: number, offset: number): boolean;
  /** A surrogate half that stays alone is a character of its own. False when the text is over. */
  settle(offset: number): boolean;
  /** Where a character that is not whole yet begins; `none` where there is none. */
  pendingStart(none: number): number;
  /** Inside a string of JSON. */
  readonly inString: boolean;
}

/** Takes one code point, written in the source as [start, end); false when the text is over. */
export type Feed = (codePoint: number, start: number, end: number) => boolean;

const isHigh = (unit: number): boolean => (unit & 0xfc00) === 0xd800;
const isLow = (unit: number): boolean => (unit & 0xfc00) === 0xdc00;
const codePointOf = (high: number, low: number): number => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);

/** Text as it is: only surrogates are paired. */
export function createTextReader(feed: Feed): UnitReader {
  let high = -1; // a high surrogate whose other half has not come
  return {
    inString: false,
    take(unit, offset) {
      if (high >= 0) {
        const first = high;
        high = -1;
        if (isLow(unit)) return feed(codePointOf(first, unit), offset - 1, offset + 1);
        if (!feed(first, offset - 1, offset)) return false;
      }
      if (!isHigh(unit)) return feed(unit, offset, offset + 1);
      high = unit;
      return true;
    },
    settle(offset) {
      const first = high;
      high = -1;
      return first < 0 || feed(first, offset - 1, offset);
    },
    pendingStart: (none) => (high >= 0 ? none - 1 : none),
  };
}

export interface JsonEvents {
  readonly feed: Feed;
  /** A string or value ends: the next one is a text of its own. */
  readonly endText: () => boolean;
  /** A digit outside strings. */
  readonly bareDigit: (offset: number) => void;
}

const [quote, backslash, letterU] = [34, 92, 117];
const simpleEscapes: Readonly<Record<string, number>> = { b: 8, f: 12, n: 10, r: 13, t: 9, '"': 34, '\\': 92, '/': 47 };

/** JSON: escapes in strings are decoded, and each string and value is a text of its own. */
export function createJsonReader({ feed, endText, bareDigit }: JsonEvents): UnitReader {
  let inString = false;
  let escapeStart = -1; // offset of the backslash of an escape under way
  let hex = ''; // what came of `uXXXX`
  let high = -1; // a high surrogate, raw or escaped, whose other half has not come
  let highStart = -1;
  let highEnd = -1;

  const settle = (): boolean => {
    const first = high;
    high = -1;
    return first < 0 || feed(first, highStart, highEnd);
  };
  const feedUnit = (unit: number, start: number, end: number): boolean => {
    if (high >= 0 && isLow(unit)) {
      const first = high;
      high = -1;
      return feed(codePointOf(first, unit), highStart, end);
    }
    if (!settle()) return false;
    if (!isHigh(unit)) return feed(unit, start, end);
    [high, highStart, highEnd] = [unit, start, end];
    return true;
  };
  const outside = (unit: number, offset: number): boolean => {
    if (unit === quote) {
      if (!settle() || !endText()) return false;
      inString = true;
      return true;
    }
    const separator =
      unit === 32 || (unit >= 9 && unit <= 13) || (unit < 128 && '{}[],:'.includes(String.fromCharCode(unit)));
    if (separator) return settle() && endText();
    if (unit >= 48 && unit <= 57) bareDigit(offset);
    return feedUnit(unit, offset, offset + 1);
  };
  const escaped = (unit: number, offset: number): boolean => {
    const from = escapeStart;
    if (hex === '' && unit === letterU) {
      hex = 'u';
      return true;
    }
    if (hex !== '') {
      const digit = Number.parseInt(String.fromCharCode(unit), 16);
      if (!Number.isNaN(digit) && hex.length < 4) {
        hex += String.fromCharCode(unit);
        return true;
      }
      escapeStart = -1;
      const code = Number.isNaN(digit) ? 0xfffd : Number.parseInt(hex.slice(1) + String.fromCharCode(unit), 16);
      hex = '';
      if (!Number.isNaN(digit)) return feedUnit(code, from, offset + 1);
      return feedUnit(code, from, offset) && take(unit, offset); // no JSON: what breaks the escape counts for itself
    }
    escapeStart = -1;
    return feedUnit(simpleEscapes[String.fromCharCode(unit)] ?? unit, from, offset + 1);
  };
  const take = (unit: number, offset: number): boolean => {
    if (!inString) return outside(unit, offset);
    if (escapeStart >= 0) return escaped(unit, offset);
    if (unit === backslash) {
      escapeStart = offset;
      return true;
    }
    if (unit === quote) {
      if (!settle() || !endText()) return false;
      inString = false;
      return true;
    }
    return feedUnit(unit, offset, offset + 1);
  };

  return {
    take,
    settle,
    pendingStart(none) {
      let from = none;
      if (high >= 0) from = Math.min(from, highStart);
      if (escapeStart >= 0) from = Math.min(from, escapeStart);
      return from;
    },
    get inString() {
      return inString;
    },
  };
}

/** The characters that a piece of a JSON string stands for; leaves what is not a valid escape. */
export function decodeEscapes(raw: string): string {
  if (!raw.includes('\\')) return raw;
  return raw.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (whole, code: string | undefined, simple: string | undefined) => {
    if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
    const known = simple === undefined ? undefined : simpleEscapes[simple];
    return known === undefined ? whole.slice(1) : String.fromCharCode(known);
  });
}
