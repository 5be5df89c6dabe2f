/** What is under way just now. */
export interface Roster<T> extends Iterable<T> {
  readonly size: number;
  /** Gives how to leave again; leaving twice is nothing. */
  add(item: T): () => void;
}

/**
 * Not a Set: one that gains and loses an entry with every request makes a new table every few, and an old one can keep
 * what was in it alive until the next full collection.
 */
export function createRoster<T>(): Roster<T> {
  const entries: { readonly item: T; at: number }[] = [];
  return {
    get size() {
      return entries.length;
    },
    add(item) {
      const entry = { item, at: entries.length };
      entries.push(entry);
      return () => {
        if (entry.at < 0) return;
        const last = entries.pop();
        if (last && last !== entry) {
          entries[entry.at] = last; // order does not matter
          last.at = entry.at;
        }
        entry.at = -1;
      };
    },
    *[Symbol.iterator]() {
      for (const { item } of [...entries]) yield item;
    },
  };
}
