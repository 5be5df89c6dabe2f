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
  isPesel,
  isPhone,
  isSpanishId,
  isSsn,
  isSwedishNumber,
} from './checks.ts';

/** A bounded expression, and what it must also fulfil. All begin and end at word boundaries or with a mark of their own. */
export interface Detector {
  readonly label: string;
  readonly regex: string;
  readonly ignoreCase?: boolean;
  /** `before`: the last few characters in front of the match. */
  readonly check?: (text: string, before: string) => boolean;
}

/** `1.4111…` and `978-3-03-11…` are parts of a longer number. */
const alone = (before: string): boolean => !/\d[.,/-]$/.test(before);
const phone = (text: string, before: string): boolean => alone(before) && isPhone(text);
const card = (text: string, before: string): boolean => alone(before) && isCard(text);
const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const letters = '\\p{L}\\p{N}';

/** Personal data by kind, as `kinds:` of a `pii` filter names them. Where two find the same text, the first here names it. */
export const piiDetectors = {
  'national-id': [
    { label: 'us-ssn', regex: '\\b\\d{3}-\\d{2}-\\d{4}\\b', check: isSsn },
    { label: 'gb-nino', regex: '\\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\\d{2} ?\\d{2} ?\\d{2} ?[A-D]\\b' },
    { label: 'de-tax-id', regex: '\\b[1-9]\\d ?\\d{3} ?\\d{3} ?\\d{3}\\b', check: isGermanTaxId },
    {
      label: 'fr-nir',
      regex: '\\b[12] ?\\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\\d) ?(?:\\d{2}|2[AB]) ?\\d{3} ?\\d{3} ?\\d{2}\\b',
      check: isFrenchNir,
    },
    { label: 'es-id', regex: '\\b(?:\\d{8}|[XYZ]-?\\d{7})-?[A-Z]\\b', ignoreCase: true, check: isSpanishId },
    {
      label: 'it-code',
      regex: '\\b[A-Z]{6}\\d{2}[A-EHLMPRST]\\d{2}[A-Z]\\d{3}[A-Z]\\b',
      ignoreCase: true,
      check: isItalianCode,
    },
    { label: 'nl-bsn', regex: '\\b\\d{4}\\.\\d{2}\\.\\d{3}\\b', check: isDutchBsn },
    { label: 'be-number', regex: '\\b\\d{2}\\.\\d{2}\\.\\d{2}-\\d{3}\\.\\d{2}\\b', check: isBelgianNumber },
    { label: 'br-cpf', regex: '\\b\\d{3}\\.\\d{3}\\.\\d{3}-\\d{2}\\b', check: isCpf },
    { label: 'pl-pesel', regex: '\\b\\d{11}\\b', check: isPesel },
    { label: 'se-number', regex: '\\b(?:19|20)?\\d{2}[01]\\d[0-3]\\d[-+]\\d{4}\\b', check: isSwedishNumber },
    { label: 'fi-id', regex: '\\b[0-3]\\d[01]\\d{3}[-+A-FYXWVU]\\d{3}[0-9A-FHJ-NPR-Y]\\b', check: isFinnishId },
    { label: 'ch-ahv', regex: '\\b756\\.?\\d{4}\\.?\\d{4}\\.?\\d{2}\\b', check: isAhv },
    { label: 'cn-id', regex: '\\b[1-9]\\d{5}(?:19|20)\\d{2}[01]\\d[0-3]\\d{4}[0-9Xx]\\b', check: isChineseId },
    { label: 'in-aadhaar', regex: '\\b[2-9]\\d{3}[ -]\\d{4}[ -]\\d{4}\\b', check: isAadhaar },
  ],
  iban: [{ label: 'iban', regex: '\\b[a-z]{2}\\d{2}(?: ?[a-z0-9]){11,30}\\b', ignoreCase: true, check: isIban }],
  card: [{ label: 'card', regex: '\\b[2-6]\\d(?:[ -]?\\d){11,17}\\b', check: card }],
  ip: [
    { label: 'ip', regex: `\\b(?:${octet}\\.){3}${octet}\\b` },
    { label: 'ip', regex: '\\b[0-9a-f]{1,4}(?:::?[0-9a-f]{1,4}){1,7}\\b', ignoreCase: true, check: isIpv6 },
  ],
  mac: [{ label: 'mac', regex: '\\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\\b', ignoreCase: true }],
  email: [
    {
      label: 'email',
      regex: `\\b[${letters}_][${letters}._%+'-]{0,63}@(?:[${letters}-]{1,63}\\.){1,6}(?:[a-zA-Z]{2,24}|xn--[a-z0-9-]{2,24}|\\p{Script=Cyrillic}{2,10})\\b`,
    },
  ],
  hostname: [
    {
      label: 'hostname',
      regex: '\\b(?:[a-z0-9][a-z0-9-]{0,62}\\.){1,6}(?:internal|intranet|local|localdomain|lan|corp|home|private)\\b',
      ignoreCase: true,
    },
  ],
  phone: [
    { label: 'phone', regex: '\\+[1-9](?:[ ./-]?[ (]?\\d\\)?){6,14}\\b', check: phone },
    { label: 'phone', regex: '\\b00[1-9](?:[ ./-]?\\d){7,14}\\b', check: phone },
    {
      label: 'phone',
      regex: '(?:\\([2-9]\\d{2}\\) ?|\\b(?:1[ .-])?[2-9]\\d{2}[ .-])[2-9]\\d{2}[ .-]\\d{4}\\b',
      check: isPhone,
    },
    { label: 'phone', regex: '\\b0[1-9]\\d{0,4}[ ./-]\\d(?:[ .-]?\\d){5,8}\\b', check: phone },
    { label: 'phone', regex: '\\(0[1-9]\\d{0,4}\\) ?\\d(?:[ .-]?\\d){5,8}\\b', check: phone },
  ],
} as const satisfies Record<string, readonly Detector[]>;

export type PiiKind = keyof typeof piiDetectors;
export const piiKinds = Object.keys(piiDetectors) as [PiiKind, ...PiiKind[]]; // Object.keys forgets the literal names

/** Credentials by the shapes that their issuers publish. */
export const secretDetectors: readonly Detector[] = [
  {
    label: 'private-key',
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
  { label: 'jwt', regex: '\\beyJ[A-Za-z0-9_-]{8,1024}\\.eyJ[A-Za-z0-9_-]{8,2048}\\.[A-Za-z0-9_-]{16,1024}\\b' },
  { label: 'tidegate-key', regex: '\\btg_[A-Za-z0-9]{20,64}\\b' },
  { label: 'url-password', regex: '\\b[a-z][a-z0-9+]{1,15}://[^\\s:@/]{1,64}:[^\\s:@/]{1,128}@', ignoreCase: true },
];
