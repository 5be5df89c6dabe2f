import {
  isAadhaar,
  isAhv,
  isBelgianNumber,
  isCard,
  isChineseId,
  isCpf,
  isDutchBsn,
  isFinnishId,
  isFrenchNir,
  isGermanTaxId,
  isIban,
  isIpv6,
  isItalianCode,
  isMac,
  isNino,
  isPesel,
  isPhone,
  isSpanishId,
  isSsn,
  isSwedishNumber,
} from './checks.ts';

/**
 * A bounded expression, and what it must also fulfil. Where digits may be grouped freely, a lookbehind lets a match begin
 * only where a number begins; usual groups may begin anywhere. So a soup of digits has few live matches at a time, and
 * reading it costs no more than reading prose.
 */
export interface Detector {
  readonly label: string;
  readonly regex: string;
  readonly ignoreCase?: boolean;
  /** Those with the same are read together where text is hard to read (see Automaton.groups). */
  readonly group?: string;
  /** `before`: up to 32 characters in front of the match. */
  readonly check?: (text: string, before: string) => boolean;
}

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const letters = '\\p{L}\\p{N}';
/** Hyphen, non-breaking hyphen, figure and en dash. */
const dash = '\\u2010-\\u2013-';
const separator = `[ ./${dash}]`;
/** `1.4111…` and `978-3-03-11…` are parts of a longer number; `12 4111…` may be two. */
const notInNumber = `\\b(?<!\\d[.,/${dash}])`;
const atNumberStart = `\\b(?<!\\d[ .,/${dash}])`;

/** Numbers without a form of their own count where a word in front of them says what they are. */
const after =
  (words: RegExp, check: (text: string) => boolean = () => true) =>
  (text: string, before: string): boolean =>
    words.test(before) && check(text);
const phoneWords =
  /(?:tele|\btel\b|phone|mobile?|móvil|celular|\bcell?\b|\bcall|\bring\b|\btext\b|whats|\bsms|\bfax|handy|anruf|rufnummer|durchwahl|erreich|appel|joindre|portable|\bgsm\b|llam|chiam|cellulare|dzwo|komórk|電話|携帯|电话|電話|手机|手機|联系|телефон|звон|\bтел\b)[^\d]{0,24}$/iu;
const versionWords = /(?:version|\bver\.?|\bv\.?|release|build|firmware|chapter|section|kapitel|abschnitt|§)\s*$/i;

/** Personal data by kind, as `kinds:` of a `pii` filter names them. Where two find the same text, the first here names it. */
export const piiDetectors = {
  'national-id': [
    { label: 'us-ssn', regex: `${notInNumber}\\d{3}-\\d{2}-\\d{4}\\b`, check: isSsn },
    {
      label: 'us-ssn',
      regex: `${atNumberStart}(?:\\d{3} \\d{2} \\d{4}|\\d{9})\\b`,
      check: after(/\b(?:ssn|social security)\b[^\d]{0,24}$/i, isSsn),
    },
    {
      label: 'gb-nino',
      regex: '\\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\\d{2} ?\\d{2} ?\\d{2} ?[A-D]\\b',
      ignoreCase: true,
      check: isNino,
    },
    {
      label: 'de-tax-id',
      regex: '\\b(?:[1-9]\\d{10}|[1-9]\\d \\d{3} \\d{3} \\d{3}|[1-9]\\d{4} \\d{6})\\b',
      check: isGermanTaxId,
    },
    {
      label: 'fr-nir',
      regex: '\\b[12] ?\\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\\d) ?(?:\\d{2}|2[AB]) ?\\d{3} ?\\d{3}[ /-]?\\d{2}\\b',
      ignoreCase: true,
      check: isFrenchNir,
    },
    {
      label: 'es-id',
      regex: `${notInNumber}(?:\\d{8}|\\d{2}\\.\\d{3}\\.\\d{3}|[XYZ]-?\\d{7})[ -]?[A-Z]\\b`,
      ignoreCase: true,
      check: isSpanishId,
    },
    {
      label: 'it-code',
      regex: '\\b[A-Z]{3} ?[A-Z]{3} ?\\d{2}[A-EHLMPRST]\\d{2} ?[A-Z]\\d{3}[A-Z]\\b',
      ignoreCase: true,
      check: isItalianCode,
    },
    { label: 'nl-bsn', regex: `${notInNumber}\\d{4}\\.\\d{2}\\.\\d{3}\\b`, check: isDutchBsn },
    {
      label: 'nl-bsn',
      regex: `${atNumberStart}\\d{9}\\b`,
      check: after(/\b(?:bsn|burgerservicenummer|sofi)\b[^\d]{0,24}$/i, isDutchBsn),
    },
    { label: 'be-number', regex: `${notInNumber}\\d{2}\\.\\d{2}\\.\\d{2}-\\d{3}[.-]\\d{2}\\b`, check: isBelgianNumber },
    { label: 'br-cpf', regex: `${notInNumber}\\d{3}\\.\\d{3}\\.\\d{3}-\\d{2}\\b`, check: isCpf },
    {
      label: 'br-cpf',
      regex: `${atNumberStart}\\d{11}\\b`,
      check: after(/\bcpf\b[^\d]{0,24}$/i, isCpf),
    },
    { label: 'pl-pesel', regex: '\\b\\d{11}\\b', check: isPesel },
    {
      label: 'se-number',
      regex: `${notInNumber}(?:19|20)?\\d{2}[01]\\d[0-3]\\d[-+]\\d{4}\\b`,
      check: isSwedishNumber,
    },
    { label: 'fi-id', regex: '\\b[0-3]\\d[01]\\d{3}[-+A-FYXWVU]\\d{3}[0-9A-FHJ-NPR-Y]\\b', check: isFinnishId },
    { label: 'ch-ahv', regex: '\\b756[. ]?\\d{4}[. ]?\\d{4}[. ]?\\d{2}\\b', check: isAhv },
    { label: 'cn-id', regex: '\\b[1-9]\\d{5}(?:19|20)\\d{2}[01]\\d[0-3]\\d{4}[0-9Xx]\\b', check: isChineseId },
    { label: 'in-aadhaar', regex: '\\b[2-9]\\d{3}[ -]\\d{4}[ -]\\d{4}\\b', check: isAadhaar },
  ],
  iban: [
    {
      label: 'iban',
      regex:
        '\\b(?:[a-z]{2}\\d{2}(?:[a-z0-9]{11,30}|(?: [a-z0-9]{4}){2,7}(?: [a-z0-9]{1,4})?)' +
        '|(?<!\\d )[a-z]{2}\\d{2}(?:[ -]?[a-z0-9]){11,30})\\b',
      ignoreCase: true,
      check: isIban,
    },
  ],
  card: [
    {
      label: 'card',
      regex:
        `${notInNumber}(?:[2-6]\\d{12,18}|[2-6]\\d{3}(?:[ .${dash}]\\d{4}){3}(?:[ .${dash}]\\d{1,3})?` +
        `|3\\d{3}[ .${dash}]\\d{6}[ .${dash}]\\d{4,5}|(?<!\\d )[2-6](?:[ ${dash}]?\\d){12,18})\\b`,
      check: isCard,
    },
  ],
  ip: [
    {
      label: 'ip',
      regex: `\\b(?<!\\d\\.)(?:${octet}\\.){3}${octet}\\b`,
      check: (_, before) => !versionWords.test(before),
    },
    { label: 'ip', regex: '\\b(?<!:)[0-9a-f]{1,4}(?:::?[0-9a-f]{1,4}){1,7}\\b', ignoreCase: true, check: isIpv6 },
    {
      label: 'ip',
      regex: `(?<![${letters}:])::[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6}\\b`,
      ignoreCase: true,
      check: isIpv6,
    },
  ],
  mac: [
    {
      label: 'mac',
      regex: '\\b[0-9a-f]{2}(?:(?:-[0-9a-f]{2}){5}|(?::[0-9a-f]{2}){5})\\b',
      ignoreCase: true,
      check: isMac,
    },
    { label: 'mac', regex: '\\b[0-9a-f]{4}\\.[0-9a-f]{4}\\.[0-9a-f]{4}\\b', ignoreCase: true, check: isMac },
  ],
  email: [
    {
      label: 'email',
      regex:
        `\\b(?<![${letters}_][.%+'-])(?:[${letters}_][.%+'-]?){1,64}@` +
        `(?:[${letters}-]{1,63}\\.){1,6}(?:[a-zA-Z]{2,24}|xn--[a-z0-9-]{2,24}|\\p{Script=Cyrillic}{2,10})\\b`,
    },
  ],
  hostname: [
    {
      label: 'hostname',
      regex:
        '(?<![a-z0-9-]|[a-z0-9-]\\.)(?:[a-z0-9][a-z0-9-]{0,62}\\.){1,8}' +
        '(?:internal|intranet|local|localdomain|lan|corp|home|private)\\b',
      ignoreCase: true,
    },
  ],
  phone: [
    { label: 'phone', regex: `\\+[1-9](?:${separator}?[ (]?\\d\\)?){6,14}\\b`, check: isPhone },
    { label: 'phone', regex: `${atNumberStart}00 ?[1-9](?:${separator}?[ (]?\\d\\)?){7,14}\\b`, check: isPhone },
    {
      label: 'phone',
      regex: `(?:\\([2-9]\\d{2}\\) ?|${notInNumber}(?:1[ .${dash}])?[2-9]\\d{2}[ .${dash}])[2-9]\\d{2}[ .${dash}]\\d{4}\\b`,
      check: isPhone,
    },
    {
      label: 'phone',
      regex: `${atNumberStart}0[1-9]\\d{0,4}(?: ?[/${dash}] ?|[ .])\\d(?:[ .${dash}]?\\d){5,8}\\b`,
      check: isPhone,
    },
    {
      label: 'phone',
      regex: `${notInNumber}(?:0[1-9](?:[ .]\\d\\d){4}|0[1-9]\\d{1,4}[ /${dash}]\\d{5,8})\\b`,
      check: isPhone,
    },
    { label: 'phone', regex: `\\(0 ?[1-9]\\d{0,4}\\) ?\\d(?:[ .${dash}]?\\d){5,8}\\b`, check: isPhone },
    { label: 'phone', regex: `\\([1-9]\\d\\) ?9?\\d{4}[ ${dash}]\\d{4}\\b`, check: isPhone },
    {
      label: 'phone',
      regex: `${notInNumber}8[ ${dash}]?\\(?\\d{3}\\)?[ ${dash}]?\\d{3}[ ${dash}]\\d{2}[ ${dash}]\\d{2}\\b`,
      check: isPhone,
    },
    { label: 'phone', regex: `${notInNumber}1[3-9]\\d[ ${dash}]\\d{4}[ ${dash}]\\d{4}\\b`, check: isPhone },
    {
      label: 'phone',
      regex: `${atNumberStart}\\d(?:${separator}?\\d){8,10}\\b`,
      check: after(phoneWords, isPhone),
    },
  ],
} as const satisfies Record<string, readonly Detector[]>;

export type PiiKind = keyof typeof piiDetectors;
/** Kinds whose states multiply little (see Automaton.groups). */
export const readTogether: Readonly<Record<PiiKind, string>> = {
  'national-id': 'numbers',
  ip: 'numbers',
  mac: 'numbers',
  iban: 'accounts',
  card: 'accounts',
  email: 'mail',
  hostname: 'hosts',
  phone: 'phones',
};
export const piiKinds = Object.keys(piiDetectors) as [PiiKind, ...PiiKind[]]; // Object.keys forgets the literal names

/** Credentials by the shapes that their issuers publish. */
export const secretDetectors: readonly Detector[] = [
  {
    label: 'private-key',
    group: 'private-key',
    regex: '-----BEGIN (?:[A-Z0-9]{2,10} ){0,3}PRIVATE KEY-----[A-Za-z0-9+/=\\s:,.-]{0,6000}',
  },
  { label: 'aws-key', regex: '\\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\\b' },
  { label: 'github-token', regex: '\\bgh[pousr]_[A-Za-z0-9]{36,255}\\b' },
  { label: 'github-token', regex: '\\bgithub_pat_[A-Za-z0-9_]{22,255}\\b' },
  { label: 'gitlab-token', regex: '\\bglpat-[A-Za-z0-9_-]{20,64}\\b' },
  {
    label: 'api-key',
    regex: '\\bsk-(?:proj-|svcacct-|admin-|ant-(?:api|admin)\\d{2}-|or-v1-)?[A-Za-z0-9_-]{20,255}\\b',
  },
  { label: 'google-key', regex: '\\bAIza[A-Za-z0-9_-]{35}\\b' },
  { label: 'google-token', regex: '\\bya29\\.[A-Za-z0-9_-]{20,512}\\b' },
  { label: 'slack-token', regex: '\\bxox[abeoprs]-[A-Za-z0-9-]{10,255}\\b' },
  {
    label: 'slack-webhook',
    regex: '\\bhooks\\.slack\\.com/services/T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{16,32}\\b',
  },
  { label: 'stripe-key', regex: '\\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,128}\\b' },
  { label: 'huggingface-token', regex: '\\bhf_[A-Za-z0-9]{30,64}\\b' },
  { label: 'npm-token', regex: '\\bnpm_[A-Za-z0-9]{36}\\b' },
  { label: 'pypi-token', regex: '\\bpypi-AgE[A-Za-z0-9_-]{50,512}\\b' },
  { label: 'sendgrid-key', regex: '\\bSG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}\\b' },
  { label: 'twilio-key', regex: '\\bSK[0-9a-f]{32}\\b' },
  { label: 'telegram-token', regex: '\\b\\d{8,10}:AA[A-Za-z0-9_-]{33}\\b' },
  {
    label: 'jwt',
    group: 'jwt',
    regex: '\\beyJ[A-Za-z0-9_-]{8,1024}\\.eyJ[A-Za-z0-9_-]{8,2048}\\.[A-Za-z0-9_-]{16,1024}\\b',
  },
  { label: 'tidegate-key', regex: '\\btg-[A-Za-z0-9]{43}\\b' },
  {
    label: 'url-password',
    group: 'url',
    regex: '\\b[a-z][a-z0-9+]{1,15}://[^\\s:@/]{1,64}:[^\\s:@/]{1,128}@',
    ignoreCase: true,
  },
];
