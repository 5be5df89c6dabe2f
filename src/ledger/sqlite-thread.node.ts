/** What the thread is asked. */
export interface SqliteCall {
  readonly id: number;
  readonly kind: 'run' | 'all' | 'transaction' | 'close';
  readonly statements: readonly { readonly sql: string; readonly params?: readonly unknown[] }[];
}

export type SqliteReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string };

interface Prepared {
  run(...params: unknown[]): { changes: number | bigint };
  all(...params: unknown[]): unknown[];
}
interface Sqlite {
  exec(sql: string): unknown;
  prepare(sql: string): Prepared;
  close(): void;
}

/**
 * The body of the database thread. Sent to it as text, so that it needs no file of its own in any build: it must not
 * use anything from outside this function. Uses node:sqlite where Node has it (22.13 on), else the libsql package, which
 * has the same calls.
 */
export function sqliteThread(): void {
  const { parentPort, workerData } = process.getBuiltinModule('node:worker_threads');
  const { statSync } = process.getBuiltinModule('node:fs');
  const { createRequire } = process.getBuiltinModule('node:module');
  const { path, from } = workerData as { path: string; from: string };
  const port = parentPort;
  if (!port) return;

  const open = (): Sqlite => {
    const builtIn = process.getBuiltinModule('node:sqlite') as
      | { DatabaseSync: new (path: string) => Sqlite }
      | undefined;
    if (builtIn) return new builtIn.DatabaseSync(path);
    let Libsql: new (path: string) => Sqlite;
    try {
      Libsql = createRequire(from)('libsql');
    } catch (cause) {
      const what = 'a SQLite file needs Node 22.13 or newer, or the optional package libsql: npm install libsql';
      throw new Error(what, { cause });
    }
    return new Libsql(path);
  };

  let db: Sqlite | undefined;
  /** The file that is open, by its number: one that was deleted or replaced can be written to as before, for nobody. */
  let file: number | undefined;
  const fileNow = (): number | undefined => (path === ':memory:' ? 0 : statSync(path, { throwIfNoEntry: false })?.ino);
  const prepared = new Map<string, Prepared>();
  const connect = (): Sqlite => {
    const now = file === undefined ? undefined : fileNow();
    if (db && now === file) return db;
    if (file !== undefined && now !== file) {
      if (db) throw new Error('unable to open the database file: it was deleted or replaced');
      if (now === undefined) throw new Error('unable to open the database file: it was deleted');
    }
    const opened = open();
    opened.exec('PRAGMA busy_timeout = 5000');
    opened.exec('PRAGMA journal_mode = WAL');
    // FULL: what has been taken out of the write-ahead file must survive a power loss here.
    opened.exec('PRAGMA synchronous = FULL');
    db = opened;
    file = fileNow();
    return opened;
  };
  const prepare = (sql: string): Prepared => {
    let statement = prepared.get(sql);
    if (!statement) {
      statement = connect().prepare(sql);
      if (prepared.size > 200) prepared.clear();
      prepared.set(sql, statement);
    }
    return statement;
  };
  const changes = ({ sql, params = [] }: SqliteCall['statements'][number]) =>
    Number(prepare(sql).run(...params).changes);

  const answer = ({ kind, statements }: SqliteCall): unknown => {
    const [first] = statements;
    if (kind === 'close') {
      prepared.clear();
      db?.close();
      return undefined;
    }
    connect();
    if (kind === 'run') return first && changes(first);
    if (kind === 'all') return first && prepare(first.sql).all(...(first.params ?? []));
    prepare('BEGIN IMMEDIATE').run();
    try {
      const counts = statements.map(changes);
      prepare('COMMIT').run();
      return counts;
    } catch (error) {
      try {
        prepare('ROLLBACK').run();
      } catch {
        // the failure has rolled back already
      }
      throw error;
    }
  };

  port.on('message', (call: SqliteCall) => {
    try {
      port.postMessage({ id: call.id, value: answer(call) });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      // A file that was lost, replaced or is sick: opened anew with the next call.
      if (/disk I\/O|malformed|not a database|readonly|unable to open/i.test(text)) {
        prepared.clear();
        try {
          db?.close();
        } catch {
          // it was no longer open
        }
        db = undefined;
      }
      port.postMessage({ id: call.id, error: text });
    }
    if (call.kind === 'close') port.close();
  });
}
