import type { AnswerStore, StoredAnswer } from './store.ts';

/** The part of a Workers KV binding that is used. */
export interface KvLike {
  get(key: string): Promise<string | null>;
  put(key: string, value: string, options: { expirationTtl: number }): Promise<void>;
}

/** KV keeps nothing for less than this. The answer's own `freshUntil` is what counts. */
const leastSeconds = 60;

/** Answers in Workers KV. It has no locks: edge/answers.ts adds them. */
export function kvStore(kv: KvLike): AnswerStore {
  return {
    async get(key) {
      const text = await kv.get(`answers:${key}`);
      return text === null ? undefined : (JSON.parse(text) as StoredAnswer); // only `set` writes there
    },
    set: (key, answer, keepMs) =>
      kv.put(`answers:${key}`, JSON.stringify(answer), {
        expirationTtl: Math.max(leastSeconds, Math.ceil(keepMs / 1000)),
      }),
  };
}
