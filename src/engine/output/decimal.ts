import { type Automaton, AutomatonTooLarge, explore, minimise } from './automaton.ts';

export interface NumberBounds {
  readonly least: number | null;
  readonly most: number | null;
  /** The bound itself is no value. */
  readonly openLeast: boolean;
  readonly openMost: boolean;
  readonly integer: boolean;
  readonly multipleOf: number | null;
}

/** Digits that a double tells apart. */
const maxDigits = 15;
const maxPlaces = 12;
/** Remainders × digits; more take longer than a second to minimise. */
const maxNumberStates = 5000;

/** A number without sign, by its digits. */
interface Decimal {
  readonly whole: string;
  readonly fraction: string;
}

/**
 * The numbers within bounds that are multiples, as JSON writes them without an exponent: exactly those of at most 15
 * digits before the point and some behind. Throws AutomatonTooLarge.
 */
export function numberAutomaton(bounds: NumberBounds): Automaton {
  const { least, most, openLeast, openMost } = bounds;
  const step = stepOf(bounds);
  const zero =
    least !== null && (least > 0 || (least === 0 && openLeast))
      ? false
      : !(most !== null && (most < 0 || (most === 0 && openMost)));
  const positive =
    most === null || most > 0
      ? magnitudes(lowEnd(least, openLeast), most === null ? null : { at: decimal(most), open: openMost }, step)
      : undefined;
  const negative =
    least === null || least < 0
      ? magnitudes(
          lowEnd(most === null ? null : -most, openMost),
          least === null ? null : { at: decimal(-least), open: openLeast },
          step,
        )
      : undefined;
  type At = readonly ['begin'] | readonly ['zero'] | readonly ['plus' | 'minus', number];
  const edgesOf = (sign: 'plus' | 'minus', automaton: Automaton | undefined, state: number) =>
    (automaton?.[state]?.edges ?? []).map(([first, last, to]) => [first, last, [sign, to] as At] as const);
  const whole = explore<At>(
    ['begin'],
    (state) => state.join(),
    (state) => {
      if (state[0] === 'zero') return { accepts: true, edges: [] };
      if (state[0] !== 'begin') {
        const automaton = state[0] === 'plus' ? positive : negative;
        return { accepts: automaton?.[state[1]]?.accepts ?? false, edges: edgesOf(state[0], automaton, state[1]) };
      }
      const plus = edgesOf('plus', positive, 0);
      const hasZero = plus.some(([first]) => first === 0x30);
      return {
        accepts: false,
        edges: [
          ...(negative && (negative[0]?.edges.length ?? 0) > 0 ? [[0x2d, 0x2d, ['minus', 0]] as const] : []),
          ...(zero && !hasZero ? [[0x30, 0x30, ['zero']] as const] : []),
          ...plus,
        ],
      };
    },
    Number.POSITIVE_INFINITY,
  );
  // "0" and "0.5" begin alike: where both may come, zero itself is accepted on the way to its fractions.
  const start = whole[0];
  const zeroEdge = start?.edges.find(([first, last]) => first <= 0x30 && last >= 0x30);
  if (!zero || !zeroEdge) return minimise(whole);
  return minimise(
    whole.map((state, id) => (id === zeroEdge[2] && zeroEdge[0] === zeroEdge[1] ? { ...state, accepts: true } : state)),
  );
}

interface End {
  readonly at: Decimal;
  readonly open: boolean;
}

/** The lower end of what lies above zero. */
const lowEnd = (bound: number | null, open: boolean): End =>
  bound === null || bound <= 0 ? { at: { whole: '0', fraction: '' }, open: true } : { at: decimal(bound), open };

interface Step {
  /** The value times 10^places is a multiple of `of`. */
  readonly of: number;
  readonly places: number;
}

/** How far apart values are: undefined where any fraction will do. */
function stepOf({ integer, multipleOf }: NumberBounds): Step | undefined {
  if (multipleOf === null) return integer ? { of: 1, places: 0 } : undefined;
  const { whole, fraction } = decimal(multipleOf);
  const of = Number(whole + fraction);
  if (!Number.isSafeInteger(of) || of <= 0 || fraction.length > maxPlaces) throw new AutomatonTooLarge();
  if (!integer) return { of, places: fraction.length };
  const scale = 10 ** fraction.length;
  return { of: of / commonDivisor(of, scale), places: 0 };
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}

/** Least common multiple of two decimal steps. */
export function commonStep(a: number, b: number): number {
  const [x, y] = [decimal(a), decimal(b)];
  const places = Math.max(x.fraction.length, y.fraction.length);
  const scaled = ({ whole, fraction }: Decimal) => Number(whole + fraction.padEnd(places, '0'));
  const [m, n] = [scaled(x), scaled(y)];
  return ((m / commonDivisor(m, n)) * n) / 10 ** places;
}

/** Where a number's digits stand to a bound's: before (-1), the same so far (0), beyond (1). */
type Side = -1 | 0 | 1;

interface Reading {
  readonly place: 'begin' | 'whole' | 'point' | 'fraction';
  /** Digits read before the point, then behind it. */
  readonly digits: number;
  readonly low: Side;
  readonly high: Side;
  readonly rest: number;
  /** The whole part is "0": no further digit before the point. */
  readonly isZero: boolean;
}

/** Numbers above zero between two ends. */
function magnitudes(low: End, high: End | null, step: Step | undefined): Automaton {
  const widest = Math.max(low.at.whole.length, high?.at.whole.length ?? 1);
  if (widest > maxDigits) throw new AutomatonTooLarge();
  const places =
    step?.places ??
    Math.max(low.at.fraction.length, high?.at.fraction.length ?? 0, Math.min(maxPlaces, maxDigits - widest));
  const of = step?.of ?? 1;
  const track = step !== undefined;
  // Whether a whole number is a multiple, one digit later, doesn't depend on more of the remainder than this.
  const later = places === 0 ? of / commonDivisor(of, 10) : of;

  const remainder = (value: number): number => (value % of === 0 ? 0 : value % later || later);

  const compare = (digit: number, side: Side, other: string | undefined): Side =>
    side !== 0 ? side : (Math.sign(digit - Number(other ?? '0')) as Side); // Math.sign gives these
  /** At the end of the whole part, where its length tells. */
  const settle = (side: Side, digits: number, whole: string): Side =>
    digits === whole.length ? side : digits > whole.length ? 1 : -1;

  const settled = ({ place, digits, low: l, high: h }: Reading): readonly [Side, Side] =>
    place === 'whole'
      ? [settle(l, digits, low.at.whole), high ? settle(h, digits, high.at.whole) : -1]
      : [l, high ? h : -1];

  /** What the digits not written would say: they are zeros. */
  const ended = (side: Side, end: End, written: number): Side =>
    side === 0 && /[1-9]/.test(end.at.fraction.slice(written)) ? -1 : side;

  const accepts = (state: Reading): boolean => {
    if (state.place === 'begin' || state.place === 'point') return false;
    const [l, h] = settled(state);
    const written = state.place === 'fraction' ? state.digits : 0;
    const lowSide = ended(l, low, written);
    const highSide = high ? ended(h, high, written) : -1;
    if (lowSide < 0 || (lowSide === 0 && low.open)) return false;
    if (highSide > 0 || (highSide === 0 && high?.open)) return false;
    return !track || (state.rest * 10 ** (places - written)) % of === 0;
  };

  const read = (state: Reading, digit: number): Reading | undefined => {
    const inWhole = state.place === 'begin' || state.place === 'whole';
    const position = state.place === 'begin' || state.place === 'point' ? 0 : state.digits;
    if (inWhole ? position >= maxDigits || state.isZero : position >= places) return undefined;
    const part = inWhole ? 'whole' : 'fraction';
    const next: Reading = {
      place: part,
      digits: position + 1,
      low: compare(digit, state.low, inWhole && position >= low.at.whole.length ? undefined : low.at[part][position]),
      high: high ? compare(digit, state.high, high.at[part][position]) : -1,
      rest: track ? remainder(state.rest * 10 + digit) : 0,
      isZero: inWhole && position === 0 && digit === 0,
    };
    if (!inWhole && (next.low < 0 || next.high > 0)) return undefined;
    if (
      high &&
      inWhole &&
      (next.digits > high.at.whole.length || (next.digits === high.at.whole.length && next.high > 0))
    )
      return undefined;
    return next;
  };

  return explore<Reading>(
    { place: 'begin', digits: 0, low: 0, high: high ? 0 : -1, rest: 0, isZero: false },
    ({ place, digits, low: l, high: h, rest, isZero }) => `${place} ${digits} ${l} ${h} ${rest} ${isZero}`,
    (state) => {
      const edges: [number, number, Reading][] = [];
      if (state.place === 'whole' && places > 0) {
        const [l, h] = settled(state);
        if (l >= 0 && h <= 0)
          edges.push([0x2e, 0x2e, { ...state, place: 'point', digits: 0, low: l, high: h, isZero: false }]);
      }
      for (let digit = 0; digit <= 9; digit++) {
        const next = read(state, digit);
        if (next) edges.push([0x30 + digit, 0x30 + digit, next]);
      }
      return { accepts: accepts(state), edges };
    },
    maxNumberStates,
  );
}

function decimal(value: number): Decimal {
  const text = String(value);
  const [, whole = '', fraction = '', exponent] = /^(\d+)(?:\.(\d+))?(?:e([-+]\d+))?$/.exec(text) ?? [];
  if (exponent === undefined) return { whole, fraction };
  const shift = Number(exponent);
  if (whole === '' || Math.abs(shift) > 30) throw new AutomatonTooLarge();
  if (shift >= 0) {
    const all = whole + fraction.padEnd(shift, '0');
    return { whole: all.slice(0, whole.length + shift), fraction: all.slice(whole.length + shift) };
  }
  const all = whole.padStart(1 - shift, '0');
  return { whole: all.slice(0, all.length + shift), fraction: all.slice(all.length + shift) + fraction };
}

/** Digits behind the point. */
export const decimalPlaces = (value: number): number => decimal(Math.abs(value)).fraction.length;
