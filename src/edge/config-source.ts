import { type Clock, systemClock } from '../core/clock.ts';
import type { After } from './bindings.ts';

export interface ConfigSourceOptions<T> {
  /** The newest text. A rejection means that nothing is known, which changes nothing. */
  readonly read: () => Promise<string>;
  /** The newest text that was good once, for an isolate that begins while the newest one is not. */
  readonly readGood?: () => Promise<string | null>;
  /** Everything that a text stands for. Throws where the text can't be used. */
  readonly build: (text: string) => Promise<T>;
  /** A new text is in use. */
  readonly onGood?: (text: string) => Promise<void>;
  readonly onBad?: (error: unknown) => void;
  readonly freshMs?: number;
  readonly staleMs?: number;
  readonly clock?: Clock;
}

export interface ConfigSource<T> {
  /** What to go by now: looked up anew behind an answer after `freshMs`, and before one after `staleMs`. */
  current(after: After): Promise<T>;
  /** Why the newest text is not in use; undefined where it is. */
  problem(): string | undefined;
}

/** A configuration that changes under a running isolate. One that can't be used leaves the one before in charge. */
export function createConfigSource<T>({
  read,
  readGood = async () => null,
  build,
  onGood = async () => {},
  onBad = () => {},
  freshMs = 5_000,
  staleMs = 30_000,
  clock = systemClock,
}: ConfigSourceOptions<T>): ConfigSource<T> {
  let inUse: { readonly text: string; readonly value: T } | undefined;
  let refused: { readonly text: string; readonly reason: string } | undefined;
  let checkedAt = 0;

  const take = async (text: string): Promise<boolean> => {
    try {
      inUse = { text, value: await build(text) };
      refused = undefined;
      return true;
    } catch (error) {
      refused = { text, reason: error instanceof Error ? error.message : String(error) };
      onBad(error);
      return false;
    }
  };

  const check = async (): Promise<void> => {
    const text = await read();
    checkedAt = clock.now();
    if (text === inUse?.text) refused = undefined;
    else if (text !== refused?.text && (await take(text))) await onGood(text);
  };

  const begin = async (after: After): Promise<T> => {
    const text = await read();
    checkedAt = clock.now();
    if (await take(text)) after(onGood(text));
    else {
      const reason = refused;
      const good = await readGood();
      if (good === null || good === text || !(await take(good))) {
        throw new Error(reason?.reason ?? 'The configuration can’t be used.');
      }
      refused = reason;
    }
    if (!inUse) throw new Error('The configuration can’t be used.');
    return inUse.value;
  };

  let beginning: Promise<T> | undefined;
  return {
    problem: () => refused?.reason,
    async current(after) {
      if (!inUse) {
        beginning ??= begin(after).finally(() => {
          beginning = undefined; // a failure is tried again with the next request
        });
        return beginning;
      }
      const age = clock.now() - checkedAt;
      if (age >= staleMs) await check().catch(onBad);
      else if (age >= freshMs) {
        checkedAt = clock.now(); // one request at a time looks
        after(check().catch(onBad));
      }
      return inUse.value;
    },
  };
}
