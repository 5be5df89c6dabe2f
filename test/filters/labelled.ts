/** Texts with known personal data, made from templates by a seeded generator: values are valid, places and formats vary. */
export interface Labelled {
  readonly text: string;
  /** The values in it, by the kind that should find them. */
  readonly values: readonly { readonly kind: string; readonly value: string }[];
}

/** Small seeded generator (mulberry32). */
export function seeded(seed: number) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const integer = (min: number, max: number) => min + Math.floor(next() * (max - min + 1));
  const pick = <T>(items: readonly T[]): T => items[integer(0, items.length - 1)] as T; // never empty here
  const digits = (count: number) => Array.from({ length: count }, () => integer(0, 9)).join('');
  const letters = (count: number, from = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') =>
    Array.from({ length: count }, () => pick([...from])).join('');
  return { integer, pick, digits, letters };
}
type Random = ReturnType<typeof seeded>;

const mod = (number: string, modulus: number) =>
  [...number].reduce((rest, digit) => (rest * 10 + Number(digit)) % modulus, 0);
const luhnDigit = (number: string) => {
  const sum = [...number].reverse().reduce((total, char, index) => {
    const digit = Number(char) * (index % 2 === 0 ? 2 : 1);
    return total + (digit > 9 ? digit - 9 : digit);
  }, 0);
  return String((10 - (sum % 10)) % 10);
};
const groups = (text: string, sizes: readonly number[], separator: string) => {
  const pieces: string[] = [];
  let at = 0;
  for (const size of sizes) {
    pieces.push(text.slice(at, at + size));
    at += size;
  }
  return [...pieces, text.slice(at)].filter(Boolean).join(separator);
};
const date = (r: Random) =>
  `${String(r.integer(40, 99))}${String(r.integer(1, 12)).padStart(2, '0')}${String(r.integer(1, 28)).padStart(2, '0')}`;

const names = [
  'anna',
  'b.müller',
  'jean-luc',
  'o.kowalski',
  'maria_garcia',
  'li.wei',
  'sven+news',
  'p',
  'José.Pérez',
  'x2001',
];
const domains = ['example.org', 'mail.example.co.uk', 'firma-nord.de', 'uni.example.edu', '例え.jp', 'exämple.fr'];

const makers: Readonly<Record<string, (r: Random) => string>> = {
  email: (r) => `${r.pick(names)}${r.pick(['', r.digits(2)])}@${r.pick(domains)}`,
  phone: (r) =>
    r.pick([
      () => `+49 ${r.integer(30, 89)} ${r.integer(1, 9)}${r.digits(6)}`,
      () => `+1 (${r.integer(2, 9)}${r.digits(2)}) ${r.integer(2, 9)}${r.digits(2)}-${r.digits(4)}`,
      () => `+33 ${r.integer(1, 7)} ${groups(r.digits(8), [2, 2, 2], ' ')}`,
      () => `+44 20 ${r.integer(2, 8)}${r.digits(3)} ${r.digits(4)}`,
      () => `0049-${r.integer(30, 89)}-${r.integer(1, 9)}${r.digits(6)}`,
      () => `(${r.integer(2, 9)}${r.digits(2)}) ${r.integer(2, 9)}${r.digits(2)}-${r.digits(4)}`,
      () => `${r.integer(2, 9)}${r.digits(2)}-${r.integer(2, 9)}${r.digits(2)}-${r.digits(4)}`,
      () => `0${r.integer(1, 7)} ${groups(r.digits(8), [2, 2, 2], ' ')}`,
      () => `0${r.integer(30, 89)}/${r.integer(1, 9)}${r.digits(6)}`,
    ])(),
  card: (r) => {
    const start = r.pick(['4', '51', '55', '2221', '34', '37', '6011', '3530']);
    const body = start + r.digits((start.startsWith('34') || start.startsWith('37') ? 14 : 15) - start.length);
    const number = body + luhnDigit(body);
    return r.pick([number, groups(number, number.length === 15 ? [4, 6] : [4, 4, 4], r.pick([' ', '-']))]);
  },
  iban: (r) => {
    const [country, bban] = r.pick<() => [string, string]>([
      () => ['DE', r.digits(18)],
      () => ['GB', r.letters(4) + r.digits(14)],
      () => ['FR', r.digits(23)],
      () => ['ES', r.digits(20)],
      () => ['NL', r.letters(4) + r.digits(10)],
      () => ['PL', r.digits(24)],
      () => ['NO', r.digits(11)],
    ])();
    const numeric = [...`${bban}${country}00`].map((char) => Number.parseInt(char, 36)).join('');
    const iban = `${country}${String(98 - mod(numeric, 97)).padStart(2, '0')}${bban}`;
    return r.pick([iban, groups(iban, [4, 4, 4, 4, 4, 4, 4], ' '), iban.toLowerCase()]);
  },
  'us-ssn': (r) => `${r.integer(100, 665)}-${r.integer(10, 99)}-${r.integer(1000, 9999)}`,
  'gb-nino': (r) =>
    groups(
      `${r.pick(['AB', 'CE', 'JH', 'LM', 'PW', 'SX', 'TY', 'ZA'])}${r.digits(6)}${r.letters(1, 'ABCD')}`,
      [2, 2, 2, 2],
      r.pick([' ', '']),
    ),
  'de-tax-id': (r) => {
    for (;;) {
      const order = [...'0123456789'].sort(() => r.integer(0, 1) - 0.5);
      const body = [...order.slice(0, 9)];
      body.splice(r.integer(1, 9), 0, r.pick(body));
      if (body[0] === '0') continue;
      let product = 10;
      for (const digit of body) product = (((Number(digit) + product) % 10 || 10) * 2) % 11;
      const id = body.join('') + String((11 - product) % 10);
      return r.pick([id, groups(id, [2, 3, 3], ' ')]);
    }
  },
  'fr-nir': (r) => {
    const body = `${r.integer(1, 2)}${r.digits(2)}${String(r.integer(1, 12)).padStart(2, '0')}${r.integer(10, 95)}${r.digits(6)}`;
    const nir = body + String(97 - mod(body, 97)).padStart(2, '0');
    return r.pick([nir, groups(nir, [1, 2, 2, 2, 3, 3], ' ')]);
  },
  'es-id': (r) => {
    const body = r.digits(8);
    return `${body}${r.pick(['', '-'])}${'TRWAGMYFPDXBNJZSQVHLCKE'[Number(body) % 23]}`;
  },
  'it-code': (r) => {
    const odd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    const body = `${r.letters(6)}${r.digits(2)}${r.letters(1, 'ABCDEHLMPRST')}${r.integer(10, 31)}${r.letters(1)}${r.digits(3)}`;
    const value = (char: string) => (/\d/.test(char) ? Number(char) : char.charCodeAt(0) - 65);
    const sum = [...body].reduce(
      (total, char, index) => total + (index % 2 === 0 ? (odd[value(char)] ?? 0) : value(char)),
      0,
    );
    return body + String.fromCharCode(65 + (sum % 26));
  },
  'br-cpf': (r) => {
    const check = (body: string) =>
      (([...body].reduce((sum, digit, index) => sum + Number(digit) * (body.length + 1 - index), 0) * 10) % 11) % 10;
    const nine = r.digits(9);
    const ten = nine + check(nine);
    return `${groups(nine, [3, 3], '.')}-${check(nine)}${check(ten)}`;
  },
  'pl-pesel': (r) => {
    const body = date(r) + r.digits(4);
    const sum = [1, 3, 7, 9, 1, 3, 7, 9, 1, 3].reduce(
      (total, weight, index) => total + weight * Number(body[index]),
      0,
    );
    return body + String((10 - (sum % 10)) % 10);
  },
  'se-number': (r) => {
    const body = date(r) + r.digits(3);
    return `${r.pick(['', '19'])}${body.slice(0, 6)}-${body.slice(6)}${luhnDigit(body)}`;
  },
  'fi-id': (r) => {
    const day =
      String(r.integer(1, 28)).padStart(2, '0') + String(r.integer(1, 12)).padStart(2, '0') + r.integer(40, 99);
    const serial = String(r.integer(100, 899));
    return `${day}-${serial}${'0123456789ABCDEFHJKLMNPRSTUVWXY'[Number(day + serial) % 31]}`;
  },
  'ch-ahv': (r) => {
    const body = `756${r.digits(9)}`;
    const sum = [...body].reduce((total, digit, index) => total + Number(digit) * (index % 2 === 0 ? 1 : 3), 0);
    return groups(body + String((10 - (sum % 10)) % 10), [3, 4, 4], '.');
  },
  ip: (r) =>
    r.pick([
      () => `${r.integer(1, 223)}.${r.integer(0, 255)}.${r.integer(0, 255)}.${r.integer(1, 254)}`,
      () => `2001:db8:${r.integer(1, 9999)}::${r.integer(1, 9999)}`,
      () => `fe80:0:0:0:${r.integer(1, 999)}:${r.integer(1, 999)}:${r.integer(1, 999)}:${r.integer(1, 999)}`,
    ])(),
  mac: (r) => Array.from({ length: 6 }, () => r.integer(16, 255).toString(16)).join(r.pick([':', '-'])),
  hostname: (r) =>
    `${r.pick(['db', 'web-1', 'mail.eu', 'jenkins'])}${r.digits(1)}.${r.pick(['corp', 'prod.internal', 'lan', 'office.local'])}`,
};

const templates = [
  'Please write to {} about it.',
  'My number: {}, thanks!',
  'Bitte {} verwenden (dringend).',
  'Contact : {} ; merci d’avance.',
  'El dato es {}.',
  'Il mio è “{}”, grazie.',
  '私のは{}です。',
  '请用{}联系我',
  'Mój to: {}\nDziękuję',
  '{"value":"{}"}',
  '| {} | row |',
  '{}',
];

/** Text that looks like data and is none. */
const decoys = (r: Random): string =>
  r.pick([
    () =>
      `Order ${r.digits(10)} of ${r.integer(1, 28)}.${r.integer(1, 12)}.2024 costs 1,${r.digits(3)}.${r.digits(2)} EUR.`,
    () =>
      `Version ${r.integer(1, 9)}.${r.integer(0, 20)}.${r.integer(0, 20)} was released at 12:${r.integer(10, 59)}:${r.integer(10, 59)}.`,
    () =>
      `ISBN 978-3-${r.digits(2)}-${r.digits(6)}-${r.integer(0, 9)}, pages ${r.integer(100, 199)}-${r.integer(200, 300)}`,
    () => `The constant is ${r.integer(1, 9)}.${r.digits(15)} and π is 3.14159265358979.`,
    () => `uuid ${[8, 4, 4, 4, 12].map((size) => r.letters(size, '0123456789abcdef')).join('-')}`,
    () => `Invoice no. ${r.letters(2)}-${r.digits(8)}; ticket #${r.digits(6)}; room ${r.digits(3)}`,
    () => `Coordinates ${r.integer(10, 80)}.${r.digits(4)}, ${r.integer(10, 80)}.${r.digits(4)}; ratio 16:9; score 3:2`,
    () => `sha256 ${r.letters(64, '0123456789abcdef')}`,
    () => `@mention and user @ home, see example.org/a?b=c or std::vector<int>; a::b`,
    () =>
      `In 2024-${r.integer(10, 12)}-${r.integer(10, 28)} there were ${r.integer(1, 9)} ${r.digits(3)} ${r.digits(3)} people.`,
    () => `timestamp 17${r.digits(8)}${r.digits(3)} ms, phone model X${r.digits(4)}`,
  ])();

/** `perKind` texts for each kind, and as many decoys as one kind has texts times three. */
export function labelledSet(seed: number, perKind: number): readonly Labelled[] {
  const r = seeded(seed);
  const texts: Labelled[] = [];
  for (const [kind, make] of Object.entries(makers)) {
    for (let i = 0; i < perKind; i++) {
      const value = make(r);
      texts.push({ text: r.pick(templates).replace('{}', () => value), values: [{ kind, value }] });
    }
  }
  for (let i = 0; i < perKind * 3; i++) texts.push({ text: decoys(r), values: [] });
  return texts;
}
