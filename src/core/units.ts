const durations: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const sizes: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};

/** `10m`, `1.5 h`, or milliseconds as a number → milliseconds; undefined where it is none of these. */
export function parseDurationMs(value: string | number): number | undefined {
  return parse(value, durations);
}

/** `1GiB`, `500 MB`, or bytes as a number → bytes; undefined where it is none of these. */
export function parseBytes(value: string | number): number | undefined {
  return parse(value, sizes);
}

/** The other way: `10m`, in the largest unit that leaves a whole number. */
export const writtenDuration = (ms: number): string => written(ms, durations);

/** `1GiB`, likewise. */
export const writtenBytes = (bytes: number): string => written(bytes, sizes);

function written(value: number, units: Readonly<Record<string, number>>): string {
  const [unit, factor] = Object.entries(units).findLast(([, factor]) => value % factor === 0) ?? ['', 1];
  return `${value / factor}${unit}`;
}

function parse(value: string | number, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? value : undefined;
  const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*$/.exec(value);
  const factor = match?.[2] === undefined ? undefined : units[match[2]];
  return factor === undefined ? undefined : Number(match?.[1]) * factor;
}
