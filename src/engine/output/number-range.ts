/** GBNF for the decimal integers from `least` to `most` (either may be null: no bound), without leading zeros. */
export function integerRange(least: number | null, most: number | null): string | null {
  if (least === null && most === null) return 'integer';
  if (least !== null && most !== null && least > most) return null;
  const parts: string[] = [];
  if (most !== null && most < 0) {
    return `"-" ${group(naturals(-most, least === null ? null : -least))}`;
  }
  if (least === null || least < 0) parts.push(`"-" ${group(naturals(1, least === null ? null : -least))}`);
  parts.push(...naturals(Math.max(0, least ?? 0), most));
  return group(parts);
}

const group = (parts: readonly string[]) =>
  parts.length === 1 && parts[0] !== undefined ? parts[0] : `( ${parts.join(' | ')} )`;
const maxDigits = 16;

/** Alternatives for the natural numbers from `least` to `most`. */
function naturals(least: number, most: number | null): string[] {
  const low = String(least);
  if (most === null) {
    // The same length and at least `low`, or longer.
    const parts = fixedWidth(low, '9'.repeat(low.length));
    if (low.length < maxDigits) parts.push(`[1-9] [0-9]{${low.length},${maxDigits - 1}}`);
    return parts;
  }
  const high = String(most);
  const parts: string[] = [];
  for (let width = low.length; width <= high.length; width++) {
    const from = width === low.length ? low : `1${'0'.repeat(width - 1)}`;
    const to = width === high.length ? high : '9'.repeat(width);
    parts.push(...fixedWidth(from, to));
  }
  return parts;
}

/** Alternatives for the digit strings of one width between `low` and `high`, both included. */
export function fixedWidth(low: string, high: string): string[] {
  if (low === high) return low === '' ? ['""'] : [`"${low}"`];
  let shared = 0;
  while (low[shared] === high[shared]) shared++;
  const prefix = low.slice(0, shared);
  const start = prefix === '' ? '' : `"${prefix}" `;
  const rest = low.length - shared - 1;
  const [a, b] = [Number(low[shared]), Number(high[shared])];
  if (rest === 0) return [`${start}${digits(a, b)}`];
  const lowRest = low.slice(shared + 1);
  const highRest = high.slice(shared + 1);
  const parts: string[] = [];
  const lowFull = /^0+$/.test(lowRest);
  const highFull = /^9+$/.test(highRest);
  const from = lowFull ? a : a + 1;
  const to = highFull ? b : b - 1;
  if (!lowFull) for (const tail of fixedWidth(lowRest, '9'.repeat(rest))) parts.push(`${start}"${a}" ${tail}`);
  if (from <= to) parts.push(`${start}${digits(from, to)} [0-9]{${rest}}`);
  if (!highFull) for (const tail of fixedWidth('0'.repeat(rest), highRest)) parts.push(`${start}"${b}" ${tail}`);
  return parts;
}

const digits = (from: number, to: number) => (from === to ? `"${from}"` : `[${from}-${to}]`);

/**
 * GBNF for numbers between bounds: a subset that never breaks them (an integer part that leaves room for any fraction, and
 * the integers at the edges), or where no such integer is between, fractions of the bounds' own precision. Null if empty.
 */
export function numberRange(bounds: {
  readonly least: number | null;
  readonly most: number | null;
  readonly openLeast: boolean;
  readonly openMost: boolean;
}): string | null {
  const { least, most, openLeast, openMost } = bounds;
  if (least === null && most === null) return 'number';
  const parts: string[] = [];
  // Whole numbers within the bounds.
  const lowInteger = least === null ? null : openLeast && Number.isInteger(least) ? least + 1 : Math.ceil(least);
  const highInteger = most === null ? null : openMost && Number.isInteger(most) ? most - 1 : Math.floor(most);
  if (lowInteger === null || highInteger === null || lowInteger <= highInteger) {
    const whole = integerRange(lowInteger, highInteger);
    if (whole) parts.push(whole);
  }
  // i.fraction lies in (i, i + 1) where the fraction is not zero; for negative ones in (−i − 1, −i).
  const fraction = '"." [0-9]{0,15} [1-9]';
  const floor = least === null ? null : Math.ceil(least);
  const ceiling = most === null ? null : Math.floor(most);
  const positive = [floor === null ? 0 : Math.max(0, floor), ceiling === null ? null : ceiling - 1] as const;
  if (positive[1] === null || positive[0] <= positive[1]) {
    const whole = integerRange(positive[0], positive[1]);
    if (whole) parts.push(`${whole} ${fraction}`);
  }
  if (floor === null || floor < 0) {
    const [from, to] = [ceiling === null ? 0 : Math.max(0, -ceiling), floor === null ? null : -floor - 1];
    if (to === null || from <= to) {
      const whole = integerRange(from, to);
      if (whole) parts.push(`"-" ${whole} ${fraction}`);
    }
  }
  if (parts.length > 0) return group(parts);
  return least === null || most === null ? null : betweenIntegers(least, most, openLeast, openMost);
}

function betweenIntegers(least: number, most: number, openLeast: boolean, openMost: boolean): string | null {
  if (least < 0 && most > 0) return null;
  const negative = most <= 0 && least < 0;
  const [low, high] = negative ? [-most, -least] : [least, most];
  const [openLow, openHigh] = negative ? [openMost, openLeast] : [openLeast, openMost];
  const places = Math.min(9, Math.max(decimals(low), decimals(high)) + 1);
  const scale = 10 ** places;
  const whole = Math.floor(low);
  const from = Math.round((low - whole) * scale) + (openLow ? 1 : 0);
  const to = Math.round((high - whole) * scale) - (openHigh ? 1 : 0);
  if (from > to || to >= scale) return null;
  const fractions = fixedWidth(String(from).padStart(places, '0'), String(to).padStart(places, '0'));
  return `${negative ? '"-" ' : ''}"${whole}." ${group(fractions)}`;
}

function decimals(value: number): number {
  const text = String(value);
  return text.includes('e') ? 9 : (text.split('.')[1]?.length ?? 0);
}
