import type { Run } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import type { AnswerStore, StoredAnswer } from './store.ts';

const leaseMs = 15_000;
const pollMs = 50;

/** A run, and what to call when its answer is stored or will never be. */
export interface SharedRun {
  readonly run: Run;
  readonly release: () => void;
}

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
): Promise<SharedRun> {
  const alone = async (release = () => {}): Promise<SharedRun> => {
    try {
      return { run: await make(signal), release };
    } catch (error) {
      release();
      throw error;
    }
  };
  if (!store.lock) return alone();
  const before = (await look(key))?.storedAt;
  for (;;) {
    let release: (() => void) | undefined;
    try {
      release = await store.lock(key, leaseMs, before);
    } catch {
      return alone();
    }
    const answer = await look(key);
    if (answer && answer.storedAt !== before) {
      release?.();
      return { run: replay(answer), release: () => {} }; // another gateway was faster
    }
    if (release) return alone(release);
    await sleep(pollMs, signal);
  }
}
