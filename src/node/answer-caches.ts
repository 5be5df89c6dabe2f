import { createIdempotency, type Idempotency } from '../cache/idempotency.ts';
import { memoryStore } from '../cache/memory.ts';
import { redisStore } from '../cache/redis.ts';
import { createResponseCache } from '../cache/response-cache.ts';
import type { AnswerStore } from '../cache/store.ts';
import { textStore } from '../cache/text-store.ts';
import type { ResponseCache } from '../cache/through.ts';
import type { Config } from '../config.ts';
import { nodeDigest } from '../core/digest.node.ts';
import type { Redis } from '../core/redis.ts';
import type { Target } from '../core/route.ts';
import type { ResponseCacheStatus } from '../core/status.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { embedWith } from './embed.ts';

/** Stored answers as `cache:` of the configuration says. */
export interface AnswerCaches {
  readonly cache: ResponseCache;
  readonly idempotency: Idempotency;
  /** Of the answers in this process's memory. */
  status(): ResponseCacheStatus;
}

export interface AnswerCachesOptions {
  readonly config: Config['cache'];
  readonly redisAt: (url: string) => Promise<Redis>;
  /** Keeps the answers to an Idempotency-Key over a restart. */
  readonly ledger: Ledger | undefined;
  readonly targetsOf: (model: string) => readonly Target[];
  /** Of the configuration before: the answers in memory stay where their room does. */
  readonly memory?: { readonly maxBytes: number; readonly store: AnswerStore };
}

/** Whether `cache.store` is an address of Redis. */
export const isRedis = (store: string): boolean => /^rediss?:/.test(store);

/** The response cache and the answers by Idempotency-Key, on the store that the configuration names. */
export async function openAnswerCaches({
  config: { store, maxBytes, maxAnswerBytes, embeddings, idempotency },
  redisAt,
  ledger,
  targetsOf,
  memory,
}: AnswerCachesOptions): Promise<AnswerCaches & Required<Pick<AnswerCachesOptions, 'memory'>>> {
  const answers = memory?.maxBytes === maxBytes ? memory.store : memoryStore({ maxBytes });
  const shared = isRedis(store) ? redisStore(await redisAt(store)) : undefined;
  const lasting = shared ?? (ledger ? textStore(ledger.answers) : memoryStore({ maxBytes }));
  return {
    memory: { maxBytes, store: answers },
    cache: createResponseCache({
      store: shared ?? answers,
      digest: nodeDigest(),
      maxAnswerBytes,
      ...(embeddings !== undefined && { embed: (text, signal) => embedWith(targetsOf(embeddings), text, signal) }),
    }),
    idempotency: createIdempotency({
      store: lasting,
      digest: nodeDigest(),
      keepMs: idempotency.keep,
      inFlight: idempotency.inFlight,
    }),
    status: () => answers.status?.() ?? { entries: 0, bytes: 0, maxBytes },
  };
}
