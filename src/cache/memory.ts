import { LRUCache } from 'lru-cache';
import { type AnswerStore, type StoredAnswer, sizeOfAnswer } from './store.ts';

/** Answers in this process's memory, the least recently used ones leaving first; never more than `maxBytes` together. */
export function memoryStore({ maxBytes = 64 * 1024 * 1024 }: { maxBytes?: number } = {}): AnswerStore {
  const answers = new LRUCache<string, StoredAnswer>({
    maxSize: maxBytes,
    sizeCalculation: (answer, key) => sizeOfAnswer(answer) + key.length * 2,
  });
  return {
    get: (key) => answers.get(key),
    set: (key, answer, keepMs) => {
      answers.set(key, answer, { ttl: keepMs });
    },
    status: () => ({ entries: answers.size, bytes: answers.calculatedSize, maxBytes }),
  };
}
