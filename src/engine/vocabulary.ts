import type { NativeModel } from './binding.ts';
import { tokenTextToBytes } from './detokenize.ts';

/** Text to tokens and back, and what single tokens mean. */
export interface Vocabulary {
  tokenize(text: string, parseSpecial: boolean): Uint32Array;
  /** Text of tokens as llama.cpp writes it; parts of characters at the ends are lost. */
  detokenize(tokens: Uint32Array, special: boolean): string;
  /** The token's own text in the vocabulary, as it is stored. */
  tokenText(token: number): string;
  /** UTF-8 bytes of one token. Control tokens are empty unless `special`. */
  tokenBytes(token: number, special: boolean): Uint8Array;
  isEndOfGeneration(token: number): boolean;
  readonly endTokens: readonly number[];
  readonly bosToken: number | undefined;
  readonly eosToken: number | undefined;
  readonly separatorToken: number | undefined;
  /** Token ids of prefix, suffix and middle for filling gaps. */
  readonly fillInMiddle: FillInMiddle | undefined;
  readonly addsBos: boolean;
  readonly addsEos: boolean;
  /** Texts of control tokens: in user text they must not become tokens. */
  readonly controlTexts: readonly string[];
}

export interface FillInMiddle {
  readonly prefix: number;
  readonly suffix: number;
  readonly middle: number;
  /** Begins a repository, and each of its files, where the model was taught so. */
  readonly repository: number | undefined;
  readonly file: number | undefined;
}

/** As llama.cpp finds them, which the binding does not tell. */
const repositoryTexts = ['<|fim_repo|>', '<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>'];
const controlAttribute = 8;
const byteAttribute = 32;

/** `size` in tokens; `metadata`: the GGUF's `tokenizer.ggml`. */
export function createVocabulary(
  native: NativeModel,
  size: number,
  metadata: Readonly<Record<string, unknown>>,
): Vocabulary {
  const type = native.getVocabularyType();
  const ends = new Set<number>();
  const controls = new Map<string, number>();
  const controlTexts: string[] = [];
  for (let token = 0; token < size; token++) {
    if (native.isEogToken(token)) ends.add(token);
    if (!(native.getTokenAttributes(token) & controlAttribute)) continue;
    const text = native.getTokenString(token);
    controlTexts.push(text);
    controls.set(text, token);
  }
  const optional = (token: number) => (token >= 0 ? token : undefined);
  const bosToken = optional(native.tokenBos());
  const eosToken = optional(native.tokenEos());

  const plain = new Map<number, Uint8Array>();
  const special = new Map<number, Uint8Array>();
  const nothing = new Uint8Array(0);
  const encoder = new TextEncoder();
  function bytesOf(token: number, withSpecial: boolean): Uint8Array {
    const attributes = native.getTokenAttributes(token);
    const text = native.getTokenString(token);
    if (attributes & controlAttribute) return withSpecial ? encoder.encode(text) : nothing;
    return (
      tokenTextToBytes(text, type, (attributes & byteAttribute) !== 0) ??
      encoder.encode(native.detokenize(Uint32Array.of(token), withSpecial))
    );
  }

  return {
    tokenize: (text, parseSpecial) => (text === '' ? new Uint32Array(0) : native.tokenize(text, parseSpecial)),
    detokenize: (tokens, withSpecial) => native.detokenize(tokens, withSpecial),
    tokenText: (token) => native.getTokenString(token),
    tokenBytes(token, withSpecial) {
      const known = withSpecial ? special : plain;
      let bytes = known.get(token);
      if (!bytes) {
        bytes = bytesOf(token, withSpecial);
        known.set(token, bytes);
      }
      return bytes;
    },
    isEndOfGeneration: (token) => ends.has(token),
    endTokens: [...ends],
    bosToken,
    eosToken,
    separatorToken: optional(native.sepToken()),
    fillInMiddle: fillInMiddle(native, metadata, controls),
    addsBos: native.shouldPrependBosToken() && bosToken !== undefined,
    addsEos: native.shouldAppendEosToken() && eosToken !== undefined,
    controlTexts: controlTexts.filter((text) => text.length > 1),
  };
}

function fillInMiddle(
  native: NativeModel,
  metadata: Readonly<Record<string, unknown>>,
  controls: ReadonlyMap<string, number>,
): FillInMiddle | undefined {
  const named = (key: string, texts: readonly string[]) => {
    const id = metadata[key];
    return typeof id === 'number' ? id : texts.map((text) => controls.get(text)).find((token) => token !== undefined);
  };
  const [prefix, suffix, middle] = [native.prefixToken(), native.suffixToken(), native.middleToken()];
  if (prefix < 0 || suffix < 0 || middle < 0) return undefined;
  return {
    prefix,
    suffix,
    middle,
    repository: named('fim_rep_token_id', repositoryTexts),
    file: named('fim_sep_token_id', ['<|file_sep|>']),
  };
}
