/** Time and randomness are arguments, so that tests are exact. */
export interface Clock {
  /** Monotonic milliseconds: durations, deadlines, limiters. */
  now(): number;
  /** Unix milliseconds: records only. */
  wall(): number;
}

/** The clock of this process. */
export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };

/** The time as OpenAI's objects tell it: whole Unix seconds. */
export const nowSeconds = (): number => Math.floor(Date.now() / 1000);

/** A timer that does not keep the process alive; at the edge, where nothing could, it is left as it is. */
export function unref(timer: ReturnType<typeof setTimeout>): void {
  if (typeof timer === 'object' && 'unref' in timer) timer.unref();
}

const alphabet = Uint8Array.from('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', codeOf);
const hexDigits = Uint8Array.from('0123456789abcdef', codeOf);
const pool = new Uint8Array(16 * 1024); // asking the platform for a few bytes at a time costs more than all else in an id
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
  const start = takeRandom(length);
  // In one piece: letter by letter it would stay a chain of as many objects, in every record of every request.
  const codes = new Array<number>(length);
  for (let at = 0; at < length; at++) codes[at] = alphabet[(pool[start + at] ?? 0) % 62] ?? 0;
  return prefix + String.fromCharCode(...codes);
}

/** So many random bytes, at most 4096, as hex digits. */
export function randomHex(bytes: number): string {
  const start = takeRandom(bytes);
  const codes = new Array<number>(2 * bytes);
  for (let at = 0; at < bytes; at++) {
    const byte = pool[start + at] ?? 0;
    codes[2 * at] = hexDigits[byte >> 4] ?? 0;
    codes[2 * at + 1] = hexDigits[byte & 15] ?? 0;
  }
  return String.fromCharCode(...codes);
}

function codeOf(char: string): number {
  return char.charCodeAt(0);
}
