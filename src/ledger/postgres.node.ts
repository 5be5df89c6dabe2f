import type { Pool, PoolClient } from 'pg';
import type { Db, Row, Statement, Value } from './db.ts';

const int8 = 20;
const bytea = 17;

/** A Postgres database, by `postgres://…`. Connections come back by themselves when the server does. */
export async function openPostgres(url: string, { connections = 4 }: { connections?: number } = {}): Promise<Db> {
  const { default: pg } = await import('pg').catch((cause: unknown) => {
    throw new Error("The ledger's postgres:// address needs the optional package pg: npm install pg", { cause });
  });
  const pool: Pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 3000,
    idleTimeoutMillis: 30_000,
    statement_timeout: 10_000,
    allowExitOnIdle: true,
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') => {
        if (oid === int8) return (text: string) => Number(text); // counts and times stay below 2^53
        if (oid === bytea) return (text: string) => Uint8Array.from(Buffer.from(text.slice(2), 'hex'));
        return pg.types.getTypeParser(oid, format);
      },
    },
  });
  pool.on('error', () => {}); // an idle connection that broke is replaced; the next query tells if there is trouble

  const query = (client: Pool | PoolClient, { sql, params = [] }: Statement) =>
    client.query<Record<string, Value>>(numbered(sql), params.map(toPostgres));

  return {
    dialect: 'postgres',
    run: async (sql, params = []) => (await query(pool, { sql, params })).rowCount ?? 0,
    all: async (sql, params = []): Promise<readonly Row[]> => (await query(pool, { sql, params })).rows,
    async transaction(statements) {
      const client = await pool.connect();
      let broken = false;
      try {
        await client.query('BEGIN');
        const counts: number[] = [];
        for (const statement of statements) counts.push((await query(client, statement)).rowCount ?? 0);
        await client.query('COMMIT');
        return counts;
      } catch (error) {
        await client.query('ROLLBACK').catch(() => {
          broken = true;
        });
        throw error;
      } finally {
        client.release(broken);
      }
    },
    close: () => pool.end(),
  };
}

/** `?` → `$1`, `$2`, … No statement of ours holds a question mark in a text. */
function numbered(sql: string): string {
  let n = 0;
  return sql.replace(/\?/g, () => `$${++n}`);
}

/** Postgres has no text with a NUL in it, and what clients send (`user`) may have one. */
function toPostgres(value: Value): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '') : value;
}
