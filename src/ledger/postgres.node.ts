import type { Pool, PoolClient, QueryResult } from 'pg';
import { GatewayError } from '../core/errors.ts';
import { type Db, outOfService, type Row, type Statement, type Value } from './db.ts';

const int8 = 20;
const bytea = 17;

/** So long a statement may take there, and so long its answer is waited for here. */
const statementMs = 10_000;
const answerMs = 11_000;

/**
 * A Postgres database, by `postgres://…`. Connections come back by themselves when the server does; meanwhile what needs
 * it fails with `unavailable`.
 */
export async function openPostgres(url: string, { connections = 4 }: { connections?: number } = {}): Promise<Db> {
  const { default: pg } = await import('pg').catch((cause: unknown) => {
    throw new Error("The ledger's postgres:// address needs the optional package pg: npm install pg", { cause });
  });
  const pool: Pool = new pg.Pool({
    connectionString: url,
    max: connections,
    connectionTimeoutMillis: 3000,
    idleTimeoutMillis: 30_000,
    statement_timeout: statementMs,
    query_timeout: answerMs, // a server that hangs does not tell
    allowExitOnIdle: true,
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') => {
        if (oid === int8) return (text: string) => Number(text); // counts and times stay below 2^53
        if (oid === bytea) return (text: string) => Uint8Array.from(Buffer.from(text.slice(2), 'hex'));
        return pg.types.getTypeParser(oid, format);
      },
    },
  });
  // A connection that broke is replaced; whose query it had is told, and the next query tells if there is trouble.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));

  const query = async (
    client: Pool | PoolClient,
    { sql, params = [] }: Statement,
  ): Promise<QueryResult<Record<string, Value>>> => {
    try {
      return await client.query(numbered(sql), params.map(toPostgres));
    } catch (error) {
      throw isAway(error) ? outOfService(error) : error;
    }
  };

  return {
    dialect: 'postgres',
    run: async (sql, params = []) => (await query(pool, { sql, params })).rowCount ?? 0,
    all: async (sql, params = []): Promise<readonly Row[]> => (await query(pool, { sql, params })).rows,
    async transaction(statements) {
      const client = await pool.connect().catch((error: unknown) => {
        throw outOfService(error);
      });
      let broken = false;
      try {
        await query(client, { sql: 'BEGIN' });
        const counts: number[] = [];
        for (const statement of statements) counts.push((await query(client, statement)).rowCount ?? 0);
        await query(client, { sql: 'COMMIT' });
        return counts;
      } catch (error) {
        broken = error instanceof GatewayError; // the server ends what a lost connection had begun
        if (!broken) {
          await client.query('ROLLBACK').catch(() => {
            broken = true;
          });
        }
        throw error;
      } finally {
        client.release(broken);
      }
    },
    close: () => pool.end(),
  };
}

/** What is no statement's own fault: no connection, no room, no rights, a server that shuts down, only reads or hangs. */
const isAway = (error: unknown): boolean =>
  !(error instanceof Error && 'severity' in error && 'code' in error) ||
  /^(08|25|28|3D|53|57|58)/.test(`${error.code}`);

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
