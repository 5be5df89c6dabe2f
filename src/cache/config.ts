import * as z from 'zod';
import { bytes, duration } from '../config-values.ts';
import { once } from '../core/once.ts';

/** The same fields as `cache:` of one model, which comes before it. */
const cacheRule = once(() =>
  z
    .strictObject({
      ttl: duration().describe('How long an answer is fresh: 10m.'),
      scope: z
        .enum(['key', 'team', 'global'])
        .default('key')
        .describe('Who shares answers: the holder of one key, the keys of a team, or everybody.'),
      staleWhileRevalidate: duration()
        .optional()
        .describe('So long after the ttl, a stale answer is given while a new one is fetched.'),
      staleIfError: duration()
        .optional()
        .describe('So long after the ttl, a stale answer is given when every target fails.'),
      semanticThreshold: z
        .number()
        .gt(0)
        .max(1)
        .optional()
        .describe('Cosine similarity from which an answer to another wording counts: 0.95. Exact only if absent.'),
    })
    .describe('Which answers are kept.'),
);

export const cacheConfig = once(() =>
  z
    .strictObject({
      response: cacheRule()
        .optional()
        .describe('For every model that has no `cache` of its own. Nothing is kept if absent.'),
      store: z
        .string()
        .regex(/^(memory|workers-kv|rediss?:\/\/.+)$/, 'write memory, redis://host:port or workers-kv')
        .default('memory')
        .describe(
          'Where answers are kept: memory, redis://… (Redis or Valkey) for several gateways, workers-kv at the edge.',
        ),
      maxBytes: bytes()
        .default(64 * 1024 * 1024)
        .describe('Most memory for answers; the least recently used leave first.'),
      maxAnswerBytes: bytes()
        .default(1024 * 1024)
        .describe('Longer answers are not kept.'),
      embeddings: z.string().optional().describe('The public embedding model that measures nearness in meaning.'),
      idempotency: z
        .strictObject({
          keep: duration().default(86_400_000).describe('How long the answer to an Idempotency-Key is kept.'),
          inFlight: z
            .enum(['conflict', 'wait'])
            .default('wait')
            .describe('A second request with the key while the first is under way: the same answer, or 409.'),
        })
        .prefault({})
        .describe('Requests with an Idempotency-Key.'),
    })
    .describe('The response cache.'),
);
