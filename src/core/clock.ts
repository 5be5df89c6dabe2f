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

/** `prefix` and `length` random characters of [0-9A-Za-z] from the platform's secure generator; `length` at most 4096. */
export function randomId(prefix: string, length = 24): string {
  if (used + length > pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  let id = prefix;
  for (const end = used + length; used < end; used++) id += alphabet[(pool[used] ?? 0) % 62];
  return id;
}
