import { GatewayError } from '../core/errors.ts';

/** What SQL stores of every kind can hold. */
export type Value = string | number | null | Uint8Array;
export type Row = Readonly<Record<string, Value>>;

/** SQL with `?` for its parameters. */
export interface Statement {
  readonly sql: string;
  readonly params?: readonly Value[];
}

/**
 * A database. Small on purpose: D1 knows no transaction that code may think in, so the unit is a list of statements that
 * happen all or none.
 */
export interface Db {
  readonly dialect: 'sqlite' | 'postgres';
  /** Rows that were changed. */
  run(sql: string, params?: readonly Value[]): Promise<number>;
  all(sql: string, params?: readonly Value[]): Promise<readonly Row[]>;
  /** Rows changed by each statement. Throws where one fails, and then none has happened. */
  transaction(statements: readonly Statement[]): Promise<readonly number[]>;
  close(): Promise<void>;
}

/** For what is no statement's own fault: the database cannot be reached, is full, or may only be read just now. */
export const outOfService = (cause: unknown) =>
  new GatewayError('unavailable', 'The database of the ledger is out of service. Try again soon.', {
    cause,
    retryAfterMs: 2000,
  });

/** The same database for what a client waits for: a server that has not answered after `ms` is out of service for it. */
export function answeringWithin(ms: number, db: Db): Db {
  const within = async <T>(answer: Promise<T>): Promise<T> => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(outOfService(new Error(`There was no answer in ${ms} ms.`))), ms);
    });
    return Promise.race([answer, late]).finally(() => clearTimeout(timer));
  };
  return {
    ...db,
    run: (sql, params) => within(db.run(sql, params)),
    all: (sql, params) => within(db.all(sql, params)),
    transaction: (statements) => within(db.transaction(statements)),
  };
}

/** JSON out of a column; `fallback` where it holds none. */
export function jsonOf<T>(value: Value | undefined, fallback: T): T {
  if (typeof value !== 'string') return fallback;
  try {
    return JSON.parse(value) as T; // what was written by the typed query beside it
  } catch {
    return fallback;
  }
}
