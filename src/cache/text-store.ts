import type { AnswerStore, StoredAnswer } from './store.ts';

/** Where texts are kept by name, with a lock per name: the ledger's table of answers. */
export interface TextStore {
  get(id: string): Promise<string | undefined>;
  set(id: string, text: string, keepMs: number): Promise<void>;
  lock(id: string, leaseMs: number): Promise<(() => void) | undefined>;
}

/** Answers as JSON in a store of texts. */
export function textStore(texts: TextStore): AnswerStore {
  return {
    async get(key) {
      const text = await texts.get(key);
      return text === undefined ? undefined : (JSON.parse(text) as StoredAnswer); // only `set` writes there
    },
    set: (key, answer, keepMs) => texts.set(key, JSON.stringify(answer), keepMs),
    lock: (key, leaseMs) => texts.lock(key, leaseMs),
  };
}
