import { foldCase, isWord, symbolsOf } from './fold.ts';
import type { SymbolSet } from './regex.ts';

/** Code points that no pattern tells apart. */
export interface SymbolClass {
  /** By set of the expressions: 1 where it holds the class. */
  readonly members: Uint8Array;
  /** Its number among the phrases' symbols. */
  readonly phraseSymbol: number;
  readonly word: boolean;
  /** A match may not begin or end with it. */
  readonly noStart: boolean;
  readonly noEnd: boolean;
}

export interface SymbolClasses {
  readonly all: readonly SymbolClass[];
  /** The class of a code point: ≥ 0; `invisible`; or below that, `several - index` into `sequences`. */
  of(codePoint: number): number;
  /** The same of the first code points, which most texts are made of: negative as well for one that was not met yet. */
  readonly common: Int32Array;
  readonly sequences: readonly (readonly number[])[];
}

export const invisible = -1;
export const several = -2;
/** The class of the text's end. */
export const endOfText = 0;

const unknown = -2_147_483_648;

/** Found as code points are met; `usesBoundary`: only then it matters what is part of a word. */
export function createClasses(
  sets: readonly SymbolSet[],
  phraseSymbol: (folded: number) => number,
  usesBoundary: boolean,
): SymbolClasses {
  const none = new Uint8Array(sets.length);
  const all: SymbolClass[] = [{ members: none, phraseSymbol: 0, word: false, noStart: true, noEnd: false }];
  const ids = new Map<string, number>();
  const classFor = (code: number, noStart: boolean, noEnd: boolean): number => {
    const members = Uint8Array.from(sets, (set) => (set.test(code) ? 1 : 0));
    const symbol = phraseSymbol(foldCase(code));
    const word = usesBoundary && isWord(code);
    const key = `${symbol} ${members.join('')} ${word} ${noStart} ${noEnd}`;
    let id = ids.get(key);
    if (id === undefined) {
      id = all.push({ members, phraseSymbol: symbol, word, noStart, noEnd }) - 1;
      ids.set(key, id);
    }
    return id;
  };
  const sequences: number[][] = [];
  const common = new Int32Array(256).fill(unknown);
  const pages: (Int32Array | undefined)[] = [common];
  return {
    all,
    common,
    sequences,
    of(codePoint) {
      let page = pages[codePoint >> 8];
      if (!page) {
        page = new Int32Array(256).fill(unknown);
        pages[codePoint >> 8] = page;
      }
      let found = page[codePoint & 255] as number; // a page has 256 places
      if (found === unknown) {
        const symbols = symbolsOf(codePoint).map(({ code, noStart, noEnd }) => classFor(code, noStart, noEnd));
        const only = symbols[0];
        if (only === undefined) found = invisible;
        else if (symbols.length === 1) found = only;
        else found = several - (sequences.push(symbols) - 1);
        page[codePoint & 255] = found;
      }
      return found;
    },
  };
}
