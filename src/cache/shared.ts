import type { Run } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import type { AnswerStore, StoredAnswer } from './store.ts';

const leaseMs = 15_000;
const pollMs = 50;

/**
 * Single flight across gateways that share a store: whoever gets the lock makes the answer; the others wait until it is
 * stored, or until the holder is gone and one of them gets the lock. A store that fails or has no locks stops nobody.
 */
export async function makeShared(
  store: AnswerStore,
  key: string,
  signal: AbortSignal,
  look: (key: string) => Promise<StoredAnswer | undefined>,
  make: (signal: AbortSignal) => Promise<Run>,
  replay: (answer: StoredAnswer) => Run,
): Promise<Run> {
  if (!store.lock) return make(signal);
  const before = (await look(key))?.storedAt;
  for (;;) {
    let release: (() => void) | undefined;
    try {
      release = await store.lock(key, leaseMs);
    } catch {
      return make(signal);
    }
    const answer = await look(key);
    if (answer && answer.storedAt !== before) {
      release?.();
      return replay(answer); // another gateway was faster
    }
    if (release) return released(make, signal, release);
    await sleep(pollMs, signal);
  }
}

/** Holds the lock until the answer has ended and its storing has begun. */
async function released(
  make: (signal: AbortSignal) => Promise<Run>,
  signal: AbortSignal,
  release: () => void,
): Promise<Run> {
  let held = true;
  const letGo = () => {
    if (held) setTimeout(release, pollMs); // a moment for `set` to arrive
    held = false;
  };
  signal.addEventListener('abort', letGo, { once: true });
  try {
    const run = await make(signal);
    return {
      ...run,
      events: (async function* () {
        try {
          yield* run.events;
        } finally {
          letGo();
        }
      })(),
    };
  } catch (error) {
    if (held) release(); // nothing to arrive
    held = false;
    throw error;
  }
}
