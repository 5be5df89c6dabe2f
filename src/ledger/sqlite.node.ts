import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { makeFolder } from '../core/folder.node.ts';
import { type Db, outOfService, type Row, type Statement, type Value } from './db.ts';
import { type SqliteCall, type SqliteReply, sqliteThread } from './sqlite-thread.node.ts';

/**
 * A SQLite file, worked on by a thread of its own: a commit waits for the disk, and no token of an answer may wait with
 * it. The thread is started when first needed, and again when it died.
 */
export function openSqlite(path: string): Db {
  if (path !== ':memory:') makeFolder(dirname(path));
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let worker: Worker | undefined;
  let calls = 0;
  let closed = false;

  const start = (): Worker => {
    const thread = new Worker(`const __name = (f) => f;\n(${sqliteThread.toString()})()`, {
      // __name: what bundlers that keep function names put around them
      eval: true,
      workerData: { path, from: import.meta.url },
    });
    thread.on('message', (reply: SqliteReply) => {
      const call = waiting.get(reply.id);
      waiting.delete(reply.id);
      if (waiting.size === 0) thread.unref();
      if ('error' in reply) call?.reject(errorOf(reply.error));
      else call?.resolve(reply.value);
    });
    const died = (error?: Error) => {
      if (worker === thread) worker = undefined;
      for (const { reject } of waiting.values()) reject(error ?? new Error('The database thread ended.'));
      waiting.clear();
    };
    thread.on('error', died);
    thread.on('exit', () => died());
    worker = thread;
    return thread;
  };

  const ask = <T>(kind: SqliteCall['kind'], statements: readonly Statement[]): Promise<T> => {
    if (closed) return Promise.reject(new Error('The database is closed.'));
    return new Promise<T>((resolve, reject) => {
      const thread = worker ?? start();
      const id = calls++;
      waiting.set(id, { resolve: (value) => resolve(value as T), reject }); // the thread answers what `kind` asks
      thread.ref();
      thread.postMessage({ id, kind, statements } satisfies SqliteCall);
    });
  };

  return {
    dialect: 'sqlite',
    run: (sql, params: readonly Value[] = []) => ask<number>('run', [{ sql, params }]),
    all: async (sql, params: readonly Value[] = []) => (await ask<readonly Row[]>('all', [{ sql, params }])).map(plain),
    transaction: (statements) => ask<readonly number[]>('transaction', statements),
    async close() {
      if (closed) return;
      const thread = worker;
      const asked = thread ? ask('close', []) : undefined; // after all that was asked before, and nothing after it
      closed = true;
      if (!thread) return;
      const ended = new Promise<void>((done) => thread.once('exit', () => done()));
      await asked?.catch(() => {});
      // It ends by itself. To terminate it inside a call of libsql's would end the whole process.
      thread.ref();
      await ended;
    },
  };
}

const away = /disk I\/O|is full|malformed|not a database|readonly|unable to open|is locked/i;

function errorOf(message: string): Error {
  const error = new Error(message);
  return away.test(message) ? outOfService(error) : error;
}

/** libsql gives bytes as an ArrayBuffer, node:sqlite as what we want. */
function plain(row: Row): Row {
  const values: [string, Value | ArrayBuffer][] = Object.entries(row);
  if (!values.some(([, value]) => value instanceof ArrayBuffer)) return row;
  return Object.fromEntries(
    values.map(([name, value]) => [name, value instanceof ArrayBuffer ? new Uint8Array(value) : value]),
  );
}
