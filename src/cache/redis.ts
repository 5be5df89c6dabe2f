import { randomId } from '../core/clock.ts';
import { type Redis, redisScript } from '../core/redis.ts';
import type { AnswerStore, StoredAnswer } from './store.ts';

const answers = 'tidegate:answers:';
const locks = 'tidegate:locks:';
const ifMine = (action: string) =>
  `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call(${action}) else return 0 end`;

/** Answers in Redis or Valkey, shared by several gateways, with the lock for single flight among them. */
export function redisStore(redis: Redis): AnswerStore {
  const release = redisScript(redis, ifMine("'DEL', KEYS[1]"));
  const renew = redisScript(redis, ifMine("'PEXPIRE', KEYS[1], ARGV[2]"));
  return {
    async get(key) {
      const text = await redis.send(['GET', answers + key]);
      return typeof text === 'string' ? (JSON.parse(text) as StoredAnswer) : undefined; // only `set` writes there
    },
    async set(key, answer, keepMs) {
      await redis.send(['SET', answers + key, JSON.stringify(answer), 'PX', String(Math.ceil(keepMs))]);
    },
    async lock(key, leaseMs) {
      const holder = randomId('');
      const got = await redis.send(['SET', locks + key, holder, 'NX', 'PX', String(leaseMs)]);
      if (got === null) return undefined;
      const timer = setInterval(() => {
        renew([locks + key], [holder, String(leaseMs)]).catch(() => {}); // the lease runs out
      }, leaseMs / 3);
      return () => {
        clearInterval(timer);
        release([locks + key], [holder]).catch(() => {}); // the lease runs out
      };
    },
    close: () => redis.close(),
  };
}
