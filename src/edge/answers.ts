import { type AnswerStore, type StoredAnswer, sizeOfAnswer } from '../cache/store.ts';
import { kvStore } from '../cache/workers-kv.ts';
import { randomId, systemClock } from '../core/clock.ts';
import { once } from '../core/once.ts';
import { type KvNamespace, type ObjectNamespace, type Outbox, tell } from './bindings.ts';
import type { LockAnswer } from './state-object.ts';

const shards = 16;

export interface EdgeAnswers extends AnswerStore {
  /** Resolves when everything set so far is kept: for the `waitUntil` of the request that set it. */
  written(): Promise<void>;
}

/**
 * Stored answers at the edge: KV for all, a small memory per isolate, and a Durable Object for the moment between, when
 * many ask for the same at once. KV alone is too slow to tell others of an answer that was just made.
 */
export function edgeAnswers({
  kv,
  objects,
  outbox,
  maxBytes = 8 * 1024 * 1024,
}: {
  readonly kv?: KvNamespace;
  readonly objects?: ObjectNamespace;
  /** With `objects`. */
  readonly outbox?: Outbox;
  readonly maxBytes?: number;
}): EdgeAnswers {
  const nearby = once(async () => {
    const { LRUCache } = await import('lru-cache'); // of no use where nothing is cached
    return new LRUCache<string, StoredAnswer>({ maxSize: maxBytes, sizeCalculation: sizeOfAnswer });
  });
  const far = kv && kvStore(kv);
  // The digest that ends every key spreads them.
  const shardOf = (key: string) => `answers-${Number.parseInt(key.slice(-4), 16) % shards || 0}`;
  const writing = new Set<Promise<unknown>>();
  return {
    async get(key) {
      const near = await nearby();
      const here = near.get(key);
      if (!far || (here && systemClock.wall() < here.freshUntil)) return here; // another isolate may have made a stale one anew
      const answer = await far.get(key);
      if (answer) near.set(key, answer);
      return answer ?? here;
    },
    async set(key, answer, keepMs) {
      const written = Promise.all([
        nearby().then((near) => near.set(key, answer, { ttl: keepMs })),
        far?.set(key, answer, keepMs),
        objects && tell(objects, shardOf(key), { kind: 'finish', key, answer }),
      ]);
      writing.add(written);
      try {
        await written;
      } finally {
        writing.delete(written);
      }
    },
    async written() {
      await Promise.allSettled(writing);
    },
    ...(objects && {
      async lock(key: string, leaseMs: number, knownAt?: number) {
        const holder = randomId('');
        const asking = { kind: 'lock', key, leaseMs, holder, knownAt };
        const { held, ...rest } = await tell<LockAnswer>(objects, shardOf(key), asking);
        if (!held) {
          if ('answer' in rest && rest.answer) (await nearby()).set(key, rest.answer);
          return undefined;
        }
        const beat = () => void tell(objects, shardOf(key), asking).catch(() => {}); // the lease runs out
        const renewing = setInterval(beat, leaseMs / 3);
        return () => {
          clearInterval(renewing);
          outbox?.post(shardOf(key), { kind: 'unlock', key, holder }).catch(() => {}); // the same
        };
      },
    }),
  };
}
