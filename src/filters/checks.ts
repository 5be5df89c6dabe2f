/** Checksums and number formats behind the detectors. All take the matched text and forgive separators and case. */

const digitsOf = (text: string): number[] => [...text].filter((char) => char >= '0' && char <= '9').map(Number);
const weighted = (digits: readonly number[], weights: readonly number[]): number =>
  weights.reduce((sum, weight, index) => sum + weight * (digits[index] ?? 0), 0);
const bare = (text: string): string => text.replace(/[^0-9A-Za-z]/g, '').toUpperCase();

/** Remainder of a long decimal number. */
function remainder(digits: string, modulus: number): number {
  let rest = 0;
  for (const digit of digits) rest = (rest * 10 + Number(digit)) % modulus;
  return rest;
}

/** ISO/IEC 7812: from the right, each second digit counts twice. */
function luhn(text: string): boolean {
  let sum = 0;
  let count = 0;
  for (let i = text.length - 1; i >= 0; i--) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) continue;
    sum += count % 2 === 0 ? digit : digit > 4 ? digit * 2 - 9 : digit * 2;
    count++;
  }
  return count > 1 && sum % 10 === 0;
}

/** Payment card: an issuer's prefix, 13 to 19 digits, Luhn, and not one digit repeated. */
export function isCard(text: string): boolean {
  return luhn(text) && /^(?:4|5[0-8]|6|3[0-9]|2[2-7])/.test(text) && variety(text) > 1;
}

/** How many different digits a text has. */
function variety(text: string): number {
  let seen = 0;
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9 || (seen & (1 << digit)) !== 0) continue;
    seen |= 1 << digit;
    count++;
  }
  return count;
}

const ibanLengths: Readonly<Record<string, number>> = Object.fromEntries(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 ' +
    'FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 ' +
    'LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 ' +
    'SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);

/** ISO 13616: the country's length and mod 97. */
export function isIban(text: string): boolean {
  const length = ibanLengths[text.slice(0, 2).toUpperCase()];
  if (length === undefined || text.length < length) return false;
  const iban = bare(text);
  if (iban.length !== length) return false;
  const numeric = [...iban.slice(4), ...iban.slice(0, 4)].map((char) => Number.parseInt(char, 36)).join('');
  return remainder(numeric, 97) === 1;
}

/** ITU-T E.164: 8 to 15 digits; national numbers have 9 to 11, with a leading 0 up to 12. A date with a time is none. */
export function isPhone(text: string): boolean {
  let count = 0;
  for (let i = 0; i < text.length; i++) if (isDigit(text.charCodeAt(i))) count++;
  const international = text.startsWith('+') || text.startsWith('00');
  if (international ? count < 8 || count > 17 : count < 9 || count > (/^\(?0/.test(text) ? 12 : 11)) return false;
  return variety(text) > 2 && (international || !date.test(text));
}
const isDigit = (unit: number): boolean => unit >= 48 && unit <= 57;
const date = /^(?:[0-3]?\d([./-])[0-3]?\d\1(?:19|20)\d\d|(?:19|20)\d\d([./-])[01]\d\2[0-3]\d)/;

/** IEEE 802; pairs of digits with hyphens are more often numbers of other things. */
export const isMac = (text: string): boolean => /[a-f]/i.test(text) || text.includes(':');

/** An IPv6 address as written, compressed or not. */
export function isIpv6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2 || !/\d/.test(text)) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  return halves.length === 2 ? text === '::1' || (groups.length >= 2 && groups.length <= 7) : groups.length === 8;
}

/** United States: numbers that were never given out are none. */
export function isSsn(text: string): boolean {
  const digits = digitsOf(text).join('');
  return !/^(?:000|666|9)/.test(digits) && digits.slice(3, 5) !== '00' && digits.slice(5) !== '0000';
}

/** United Kingdom: prefixes that are not used. */
export const isNino = (text: string): boolean => !/^(?:BG|GB|NK|KN|TN|NT|ZZ)/i.test(text);

/** Germany, Steuer-ID: ISO 7064 mod 11,10; one digit of the first ten comes twice or three times. */
export function isGermanTaxId(text: string): boolean {
  const digits = digitsOf(text);
  const counts = new Map<number, number>();
  for (const digit of digits.slice(0, 10)) counts.set(digit, (counts.get(digit) ?? 0) + 1);
  const repeated = [...counts.values()].filter((count) => count > 1);
  if (repeated.length !== 1 || (repeated[0] ?? 0) > 3) return false;
  let product = 10;
  for (const digit of digits.slice(0, 10)) product = (((digit + product) % 10 || 10) * 2) % 11;
  return (11 - product) % 10 === digits[10];
}

/** France, NIR: 13 characters and 97 − (number mod 97); Corsica counts as 19 and 18. */
export function isFrenchNir(text: string): boolean {
  const nir = bare(text).replace('2A', '19').replace('2B', '18');
  return nir.length === 15 && 97 - remainder(nir.slice(0, 13), 97) === Number(nir.slice(13));
}

/** Spain, DNI and NIE: the letter is the number mod 23. */
export function isSpanishId(text: string): boolean {
  const id = bare(text).replace(/^[XYZ]/, (letter) => String('XYZ'.indexOf(letter)));
  return 'TRWAGMYFPDXBNJZSQVHLCKE'[Number(id.slice(0, -1)) % 23] === id.at(-1);
}

const italianOdd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

/** Italy, codice fiscale. */
export function isItalianCode(text: string): boolean {
  const code = bare(text);
  const value = (char: string) => (char >= '0' && char <= '9' ? Number(char) : char.charCodeAt(0) - 65);
  const sum = [...code.slice(0, 15)].reduce(
    (total, char, index) => total + (index % 2 === 0 ? (italianOdd[value(char)] ?? 0) : value(char)),
    0,
  );
  return code.length === 16 && String.fromCharCode(65 + (sum % 26)) === code.at(-1);
}

/** Netherlands, burgerservicenummer: the eleven test. */
export function isDutchBsn(text: string): boolean {
  const digits = digitsOf(text);
  return new Set(digits).size > 1 && weighted(digits, [9, 8, 7, 6, 5, 4, 3, 2, -1]) % 11 === 0;
}

/** Belgium, Rijksregisternummer: 97 − (number mod 97), with a 2 in front for those born from 2000. */
export function isBelgianNumber(text: string): boolean {
  const digits = digitsOf(text).join('');
  const check = Number(digits.slice(9));
  return [digits.slice(0, 9), `2${digits.slice(0, 9)}`].some((number) => 97 - remainder(number, 97) === check);
}

/** Brazil, CPF. */
export function isCpf(text: string): boolean {
  const digits = digitsOf(text);
  const check = (length: number) => {
    const sum = digits.slice(0, length).reduce((total, digit, index) => total + digit * (length + 1 - index), 0);
    return ((sum * 10) % 11) % 10;
  };
  return new Set(digits).size > 1 && check(9) === digits[9] && check(10) === digits[10];
}

/** Poland, PESEL. */
export function isPesel(text: string): boolean {
  const digits = digitsOf(text);
  const month = ((digits[2] ?? 0) * 10 + (digits[3] ?? 0)) % 20;
  const day = (digits[4] ?? 0) * 10 + (digits[5] ?? 0);
  const sum = weighted(digits, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
  return month >= 1 && month <= 12 && day >= 1 && day <= 31 && (10 - (sum % 10)) % 10 === digits[10];
}

/** Sweden, personnummer: Luhn over ten digits. */
export const isSwedishNumber = (text: string): boolean => luhn(digitsOf(text).slice(-10).join(''));

/** Finland, henkilötunnus: date and serial mod 31. */
export const isFinnishId = (text: string): boolean =>
  '0123456789ABCDEFHJKLMNPRSTUVWXY'[Number(digitsOf(text.slice(0, -1)).join('')) % 31] === text.at(-1)?.toUpperCase();

/** Switzerland, AHV: EAN-13. */
export function isAhv(text: string): boolean {
  const digits = digitsOf(text);
  return (10 - (weighted(digits, [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3]) % 10)) % 10 === digits[12];
}

/** China, resident identity card: ISO 7064 mod 11-2. */
export function isChineseId(text: string): boolean {
  const weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
  return '10X98765432'[weighted(digitsOf(text.slice(0, 17)), weights) % 11] === text.at(-1)?.toUpperCase();
}

const verhoeffTable = [
  '0123456789',
  '1234067895',
  '2340178956',
  '3401289567',
  '4012395678',
  '5987604321',
  '6598710432',
  '7659821043',
  '8765932104',
  '9876543210',
];
const verhoeffPermutation = [
  '0123456789',
  '1576283094',
  '5803796142',
  '8916043527',
  '9453126870',
  '4286573901',
  '2793806415',
  '7046913258',
];

/** India, Aadhaar: Verhoeff. */
export function isAadhaar(text: string): boolean {
  let check = 0;
  let count = 0;
  for (let i = text.length - 1; i >= 0; i--) {
    const unit = text.charCodeAt(i);
    if (!isDigit(unit)) continue;
    const permuted = (verhoeffPermutation[count++ % 8] ?? '').charCodeAt(unit - 48) - 48;
    check = (verhoeffTable[check] ?? '').charCodeAt(permuted) - 48;
  }
  return check === 0;
}
