/** Time and randomness are arguments, so that tests are exact. */
export interface Clock {
  /** Monotonic milliseconds: durations, deadlines, limiters. */
  now(): number;
  /** Unix milliseconds: records only. */
  wall(): number;
}

export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };

/** `prefix` and `length` random characters of [0-9A-Za-z] from the platform's secure generator. */
export function randomId(prefix: string, length = 24): string {
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let id = prefix;
  for (const byte of crypto.getRandomValues(new Uint8Array(length))) id += alphabet[byte % 62];
  return id;
}
