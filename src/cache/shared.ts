import type { Run } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import type { AnswerStore, StoredAnswer } from './store.ts';

const leaseMs = 15_000;

/** How long to wait before asking again, after so long: each question is a call, of which the edge has few for a request. */
export const nextPollMs = (waitedMs: number): number => Math.min(500, Math.max(50, waitedMs / 5));

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
  let waitedMs = 0;
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
    const pauseMs = nextPollMs(waitedMs);
    await sleep(pauseMs, signal);
    waitedMs += pauseMs;
  }
}
