import type { Db, Row, Statement } from './db.ts';

/** The part of Cloudflare's D1 binding that is used. */
export interface D1Like {
  prepare(sql: string): D1StatementLike;
  batch(statements: D1StatementLike[]): Promise<{ meta: { changes?: number } }[]>;
}
export interface D1StatementLike {
  bind(...params: unknown[]): D1StatementLike;
  run(): Promise<{ meta: { changes?: number } }>;
  all(): Promise<{ results: unknown[] }>;
}

/** A D1 database; its batches are transactions. */
export function d1(binding: D1Like): Db {
  const prepare = ({ sql, params = [] }: Statement) => binding.prepare(sql).bind(...params);
  return {
    dialect: 'sqlite',
    run: async (sql, params = []) => (await prepare({ sql, params }).run()).meta.changes ?? 0,
    all: async (sql, params = []) => (await prepare({ sql, params }).all()).results.map(fromD1),
    transaction: async (statements) =>
      (await binding.batch(statements.map(prepare))).map(({ meta }) => meta.changes ?? 0),
    close: async () => {},
  };
}

/** D1 gives bytes as arrays of numbers. */
function fromD1(row: unknown): Row {
  const values = Object.entries(row as Record<string, Row[string] | number[]>); // one row as D1 documents it
  return Object.fromEntries(
    values.map(([name, value]) => [name, Array.isArray(value) ? Uint8Array.from(value) : value]),
  );
}
