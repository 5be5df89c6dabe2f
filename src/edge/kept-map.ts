import type { ObjectStorage } from './storage.ts';

/**
 * Names and texts in an object's database, written together at most once per `everyMs`: a counter that changes a hundred
 * times a second costs one row. A timer holds the object in memory until it is written, so an eviction loses nothing; a
 * crash forgets at most `everyMs`.
 */
export function createKeptMap({ sql, transactionSync }: Bound, table: string, everyMs: number) {
  sql.exec(`CREATE TABLE IF NOT EXISTS ${table} (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID`);
  let due = false;
  const write = (changes: ReadonlyMap<string, string | undefined>) =>
    transactionSync(() => {
      for (const [name, value] of changes) {
        if (value === undefined) sql.exec(`DELETE FROM ${table} WHERE name = ?`, name);
        else sql.exec(`INSERT OR REPLACE INTO ${table} (name, value) VALUES (?, ?)`, name, value);
      }
    });
  return {
    entries: (): [name: string, value: string][] =>
      sql
        .exec(`SELECT name, value FROM ${table}`)
        .toArray()
        .map(({ name, value }) => [String(name), String(value)]),
    write,
    /** Writes what `changes` gives, soon. */
    later(changes: () => ReadonlyMap<string, string | undefined>) {
      if (due) return;
      due = true;
      setTimeout(() => {
        due = false;
        write(changes());
      }, everyMs);
    },
  };
}

type Bound = Pick<ObjectStorage, 'sql' | 'transactionSync'>;

/** The storage's methods, safe to take apart. */
export const boundStorage = (storage: ObjectStorage): Bound => ({
  sql: { exec: (query, ...values) => storage.sql.exec(query, ...values) },
  transactionSync: (work) => storage.transactionSync(work),
});
