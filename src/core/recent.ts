/** A map that forgets what was used longest ago. */
export interface Recent<K, V> {
  /** What it gives counts as used. */
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  delete(key: K): void;
  clear(): void;
  /** The most recently used first. */
  values(): V[];
}

/**
 * Holds at most `max` entries. A Map keeps them in order of use; packages for it allocate all places beforehand, which
 * every cold start of a worker paid for.
 */
export function createRecent<K, V>(max: number): Recent<K, V> {
  const entries = new Map<K, V>();
  let newest: K | undefined;
  const put = (key: K, value: V) => {
    entries.delete(key);
    entries.set(key, value);
    newest = key;
  };
  return {
    get(key) {
      const value = entries.get(key);
      if (value !== undefined && key !== newest) put(key, value);
      return value;
    },
    set(key, value) {
      put(key, value);
      if (entries.size <= max) return;
      const [oldest] = entries.keys();
      if (oldest !== undefined) entries.delete(oldest);
    },
    delete: (key) => void entries.delete(key),
    clear: () => entries.clear(),
    values: () => [...entries.values()].reverse(),
  };
}
