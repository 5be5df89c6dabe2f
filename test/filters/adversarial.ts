import { seeded } from './labelled.ts';

/** Texts that are made to be hard for a filter, by name; each of `length` characters. For tests and for the bench. */
export function hardTexts(length: number): Readonly<Record<string, string>> {
  const { pick } = seeded(7);
  const soup = (pieces: readonly string[]): string => {
    let text = '';
    while (text.length < length) text += pick(pieces);
    return text.slice(0, length);
  };
  const digits = [...'0123456789'];
  return {
    digits: soup([...digits, ' ', '-', '.']),
    'spaced digits': soup([...digits, ' ', ' ', ' ', ' ']),
    'phone marks': soup([...digits, '+', '(', ')', '/', '-', ' ', '.']),
    'card groups': '4111 1111-'.repeat(length / 10),
    'number groups': soup(
      ['1', '22', '333', '4444', '0', '01', '+', '00'].flatMap((group) => [`${group} `, `${group}-`, `${group}.`]),
    ),
    'iban pieces': soup(['DE12', 'AB34', '1234', 'X', 'ZZ', ' ', ' ', 'de89 3704 ']),
    'hex and colons': soup([...'0123456789abcdef:-']),
    'address marks': soup([...'abc.-_@+']),
    'host names': soup(['a', '1', '.', '-']),
    'key prefixes': soup([
      ...['sk-', 'ghp_', 'eyJ', '-----BEGIN ', 'PRIVATE KEY-----', 'A', 'b', '9'],
      ...['://', ':', '@', 'hf_', 'SG.', '.', '_'],
    ]),
    'one letter': 'a'.repeat(length),
  };
}
