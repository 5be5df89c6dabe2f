/**
 * How text is read before it is compared: code point by code point, so that it can be done while text streams.
 * Each code point becomes its NFKD symbols (`ﬁ` → `f i`, `é` → `e ◌́`, `４` → `4`); invisible ones become none.
 * Case is kept: phrases fold it with `foldCase`, regular expressions say for themselves.
 */
export interface FoldedSymbol {
  readonly code: number;
  /** A match may not begin or end here: inside one canonical character (`é` is not `e`). */
  readonly noStart: boolean;
  readonly noEnd: boolean;
}

const sharp: Readonly<Record<string, string>> = { ß: 'ss', ẞ: 'SS' };

// Unicode classes stand inside functions: V8 makes their tables when a text needs them, not as a gateway starts.
function isInvisible(char: string): boolean {
  return /^\p{Default_Ignorable_Code_Point}$/u.test(char);
}

/** Of a script written without spaces: a word boundary would hide every word in them. */
function isUnspaced(char: string): boolean {
  return /^[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}]$/u.test(
    char,
  );
}

/** The plain symbols that a character stands for: accents apart, ligatures and wide forms undone; none for invisible ones. */
export function symbolsOf(codePoint: number): readonly FoldedSymbol[] {
  if (codePoint < 128 || (codePoint >= 0xd800 && codePoint <= 0xdfff))
    return [{ code: codePoint, noStart: false, noEnd: false }];
  const char = String.fromCodePoint(codePoint);
  if (isInvisible(char)) return [];
  const canonical = [...char.normalize('NFD')].length > 1;
  const codes = [...(sharp[char] ?? char.normalize('NFKD'))]
    .filter((piece) => !isInvisible(piece))
    .map((piece) => piece.codePointAt(0) ?? 0);
  return codes.map((code, index) => ({
    code,
    noStart: canonical && index > 0,
    noEnd: canonical && index < codes.length - 1,
  }));
}

/** One symbol without its case; every white space is a space. */
export function foldCase(code: number): number {
  if (code < 128) return code >= 65 && code <= 90 ? code + 32 : code >= 9 && code <= 13 ? 32 : code;
  if (code >= 0xd800 && code <= 0xdfff) return code;
  const char = String.fromCodePoint(code);
  if (/^\s$/u.test(char)) return 32;
  const folded = char.toUpperCase().toLowerCase();
  return [...folded].length === 1 ? (folded.codePointAt(0) ?? code) : code;
}

/** Letters, marks, digits and `_`, except where a script has no spaces. */
export function isWord(code: number): boolean {
  if (code < 128) return /\w/.test(String.fromCharCode(code));
  if (code >= 0xd800 && code <= 0xdfff) return false;
  const char = String.fromCodePoint(code);
  return /^[\p{L}\p{M}\p{N}_]$/u.test(char) && !isUnspaced(char);
}

/** The symbols of a whole text as a string: what checks (Luhn, …) get to see. */
export function foldText(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text;
  let folded = '';
  for (const char of text) {
    for (const { code } of symbolsOf(char.codePointAt(0) ?? 0)) folded += String.fromCodePoint(code);
  }
  return folded;
}
