import { type Clock, systemClock } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { Redis } from '../core/redis.ts';

/** Which one-time numbers were used already. */
export interface Nonces {
  /** True the first time within `keepMs`. */
  fresh(nonce: string, keepMs: number): boolean | Promise<boolean>;
}

/** Those of one process: two generations, so that forgetting costs nothing. Throws overloaded rather than forget early. */
export function memoryNonces({
  clock = systemClock,
  max = 200_000,
}: {
  readonly clock?: Clock;
  readonly max?: number;
} = {}): Nonces {
  let young = new Set<string>();
  let old = new Set<string>();
  let turnsAt = 0;
  return {
    fresh(nonce, keepMs) {
      const now = clock.now();
      if (now >= turnsAt) {
        old = now < turnsAt + keepMs ? young : new Set();
        young = new Set();
        turnsAt = now + keepMs;
      }
      if (young.has(nonce) || old.has(nonce)) return false;
      if (young.size >= max) {
        throw new GatewayError('overloaded', 'Too many signed requests at once.', { retryAfterMs: 1000 });
      }
      young.add(nonce);
      return true;
    },
  };
}

/** Those of several gateways behind one address; each for itself while Redis is away. */
export const redisNonces = (redis: Redis, own: Nonces = memoryNonces()): Nonces => ({
  async fresh(nonce, keepMs) {
    if (!(await own.fresh(nonce, keepMs))) return false;
    try {
      return (await redis.send(['SET', `tidegate:nonce:${nonce}`, '1', 'NX', 'PX', String(keepMs)])) !== null;
    } catch {
      return true;
    }
  },
});
