/** Reads UTF-16 units into code points, each with the part of the source that it is written in. */
export interface UnitReader {
  /** False when the text is over. */
  take(unit: number, offset: number): boolean;
  /** A surrogate half that stays alone is a character of its own. False when the text is over. */
  settle(offset: number): boolean;
  /** Where a character that is not whole yet begins; `none` where there is none. */
  pendingStart(none: number): number;
  /** Up to where units from `from` on stand for themselves, halves of characters aside; at least so far. */
  plainUntil(text: string, from: number): number;
  /** Inside a string of JSON. */
  readonly inString: boolean;
}

/** Whom a reader gives what it read; false when the text is over. */
export interface UnitSink {
  /** One code point, written in the source as [start, end). */
  feed(codePoint: number, start: number, end: number): boolean;
  /** JSON: a string or value ends, and the next one is a text of its own. */
  endText(): boolean;
  /** JSON: a digit outside strings. */
  bareDigit(offset: number): void;
}

const isHigh = (unit: number): boolean => (unit & 0xfc00) === 0xd800;
const isLow = (unit: number): boolean => (unit & 0xfc00) === 0xdc00;
const codePointOf = (high: number, low: number): number => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);

/** Text as it is: only surrogates are paired. */
export class TextReader implements UnitReader {
  readonly inString = false;
  readonly #sink: UnitSink;
  /** A high surrogate whose other half has not come. */
  #high = -1;

  constructor(sink: UnitSink) {
    this.#sink = sink;
  }

  take(unit: number, offset: number): boolean {
    if (this.#high >= 0) {
      const first = this.#high;
      this.#high = -1;
      if (isLow(unit)) return this.#sink.feed(codePointOf(first, unit), offset - 1, offset + 1);
      if (!this.#sink.feed(first, offset - 1, offset)) return false;
    }
    if (!isHigh(unit)) return this.#sink.feed(unit, offset, offset + 1);
    this.#high = unit;
    return true;
  }

  settle(offset: number): boolean {
    const first = this.#high;
    this.#high = -1;
    return first < 0 || this.#sink.feed(first, offset - 1, offset);
  }

  pendingStart(none: number): number {
    return this.#high >= 0 ? none - 1 : none;
  }

  plainUntil(text: string, from: number): number {
    return this.#high >= 0 ? from : text.length;
  }
}

const [quote, backslash, letterU] = [34, 92, 117];
const maxPlain = 64;
const simpleEscapes: Readonly<Record<string, number>> = { b: 8, f: 12, n: 10, r: 13, t: 9, '"': 34, '\\': 92, '/': 47 };

/** JSON: escapes in strings are decoded, and each string and value is a text of its own. */
export class JsonReader implements UnitReader {
  inString = false;
  readonly #sink: UnitSink;
  /** Offset of the backslash of an escape under way. */
  #escapeStart = -1;
  /** What came of `uXXXX`. */
  #hex = '';
  /** A high surrogate, raw or escaped, whose other half has not come. */
  #high = -1;
  #highStart = -1;
  #highEnd = -1;

  constructor(sink: UnitSink) {
    this.#sink = sink;
  }

  take(unit: number, offset: number): boolean {
    if (!this.inString) return this.#outside(unit, offset);
    if (this.#escapeStart >= 0) return this.#escaped(unit, offset);
    if (unit === backslash) {
      this.#escapeStart = offset;
      return true;
    }
    if (unit === quote) {
      if (!this.settle() || !this.#sink.endText()) return false;
      this.inString = false;
      return true;
    }
    return this.#feedUnit(unit, offset, offset + 1);
  }

  settle(): boolean {
    const first = this.#high;
    this.#high = -1;
    return first < 0 || this.#sink.feed(first, this.#highStart, this.#highEnd);
  }

  pendingStart(none: number): number {
    let from = none;
    if (this.#high >= 0) from = Math.min(from, this.#highStart);
    if (this.#escapeStart >= 0) from = Math.min(from, this.#escapeStart);
    return from;
  }

  plainUntil(text: string, from: number): number {
    if (!this.inString || this.#escapeStart >= 0 || this.#high >= 0) return from;
    const most = Math.min(text.length, from + maxPlain); // what follows may be asked for again
    let at = from;
    for (; at < most; at++) {
      const unit = text.charCodeAt(at);
      if (unit === quote || unit === backslash) break;
    }
    return at;
  }

  #feedUnit(unit: number, start: number, end: number): boolean {
    if (this.#high >= 0 && isLow(unit)) {
      const first = this.#high;
      this.#high = -1;
      return this.#sink.feed(codePointOf(first, unit), this.#highStart, end);
    }
    if (!this.settle()) return false;
    if (!isHigh(unit)) return this.#sink.feed(unit, start, end);
    this.#high = unit;
    this.#highStart = start;
    this.#highEnd = end;
    return true;
  }

  #outside(unit: number, offset: number): boolean {
    if (unit === quote) {
      if (!this.settle() || !this.#sink.endText()) return false;
      this.inString = true;
      return true;
    }
    const separator =
      unit === 32 || (unit >= 9 && unit <= 13) || (unit < 128 && '{}[],:'.includes(String.fromCharCode(unit)));
    if (separator) return this.settle() && this.#sink.endText();
    if (unit >= 48 && unit <= 57) this.#sink.bareDigit(offset);
    return this.#feedUnit(unit, offset, offset + 1);
  }

  #escaped(unit: number, offset: number): boolean {
    const from = this.#escapeStart;
    if (this.#hex === '' && unit === letterU) {
      this.#hex = 'u';
      return true;
    }
    if (this.#hex !== '') {
      const digit = Number.parseInt(String.fromCharCode(unit), 16);
      if (!Number.isNaN(digit) && this.#hex.length < 4) {
        this.#hex += String.fromCharCode(unit);
        return true;
      }
      this.#escapeStart = -1;
      const code = Number.isNaN(digit) ? 0xfffd : Number.parseInt(this.#hex.slice(1) + String.fromCharCode(unit), 16);
      this.#hex = '';
      if (!Number.isNaN(digit)) return this.#feedUnit(code, from, offset + 1);
      return this.#feedUnit(code, from, offset) && this.take(unit, offset); // no JSON: what breaks the escape counts for itself
    }
    this.#escapeStart = -1;
    return this.#feedUnit(simpleEscapes[String.fromCharCode(unit)] ?? unit, from, offset + 1);
  }
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
