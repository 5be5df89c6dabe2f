/** Vocabulary types of llama.cpp whose raw token texts we can turn into bytes ourselves. */
const vocabularyTypes = { sentencePiece: 1, bytePair: 2 } as const;

/**
 * The bytes of a token's raw vocabulary text. Byte-pair vocabularies write each byte as one printable character (GPT-2's
 * table), sentence-piece ones write a space as ▁ and a lone byte as <0xNN>. Null for vocabularies with another notation.
 */
export function tokenTextToBytes(text: string, vocabularyType: number, isByteToken: boolean): Uint8Array | null {
  if (vocabularyType === vocabularyTypes.bytePair) {
    const bytes = new Uint8Array(text.length);
    let length = 0;
    for (const character of text) {
      const byte = gpt2Bytes.get(character);
      if (byte === undefined) return encoder.encode(text); // an added token, written as plain text
      bytes[length++] = byte;
    }
    return bytes.subarray(0, length);
  }
  if (vocabularyType === vocabularyTypes.sentencePiece) {
    const byte = isByteToken ? /^<0x([0-9A-Fa-f]{2})>$/.exec(text) : null;
    if (byte?.[1]) return Uint8Array.of(Number.parseInt(byte[1], 16));
    return encoder.encode(text.replaceAll('▁', ' '));
  }
  return null;
}

/** Bytes in, whole characters out: the bytes of a character split over tokens wait for its last one. */
export function createDetokenizer(): { push(bytes: Uint8Array): string } {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return { push: (bytes) => decoder.decode(bytes, { stream: true }) };
}

const encoder = new TextEncoder();

/** GPT-2's byte table: printable Latin-1 characters stand for themselves, the other bytes for U+0100 and on. */
const gpt2Bytes: ReadonlyMap<string, number> = (() => {
  const table = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
    table.set(String.fromCodePoint(printable ? byte : next++), byte);
  }
  return table;
})();
