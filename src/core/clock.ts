/** Time and randomness are arguments, so that tests are exact. */
export interface Clock {
  /** Monotonic milliseconds: durations, deadlines, limiters. */
  now(): number;
  /** Unix milliseconds: records only. */
  wall(): number;
}

export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const pool = new Uint8Array(4096); // asking the platform for a few bytes at a time costs more than all else in an id
let used = pool.length;

/** Where in `pool` so many fresh bytes stand. */
function takeRandom(length: number): number {
  if (used + length > pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  used += length;
  return used - length;
}

/** `prefix` and `length` random characters of [0-9A-Za-z] from the platform's secure generator; `length` at most 4096. */
export function randomId(prefix: string, length = 24): string {
  let id = prefix;
  const start = takeRandom(length);
  for (let at = start; at < start + length; at++) id += alphabet[(pool[at] ?? 0) % 62];
  return id;
}

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** So many random bytes, at most 4096, as hex digits. */
export function randomHex(bytes: number): string {
  let hex = '';
  const start = takeRandom(bytes);
  for (let at = start; at < start + bytes; at++) hex += hexPairs[pool[at] ?? 0];
  return hex;
}
