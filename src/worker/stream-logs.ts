import type { ObjectStorage } from '../edge/storage.ts';
import { createStreamLogs, type StreamLog, type StreamLogs } from '../http/stream-log.ts';

/** A log that ended stays for so long in memory; afterwards it is read from the database. */
const inMemoryMs = 10_000;
const maxLength = 4 * 1024 * 1024;
const writeEveryMs = 250;

export interface KeptStreamLogs extends StreamLogs {
  /** True while the answer is being made here. */
  readonly running: boolean;
  /** Resolves when it has ended. */
  ended(): Promise<void>;
  /** Unix milliseconds from which all may be forgotten; undefined where nothing is kept. */
  forgetAt(): number | undefined;
}

/**
 * The log of one answer: in memory while it is made, and in its object's own database for whoever comes later. Not the
 * ledger, which needs a D1 and would be written to four times a second by every stream.
 */
export function keptStreamLogs(storage: ObjectStorage, now: () => number = Date.now): KeptStreamLogs {
  const { sql } = storage;
  const logs = createStreamLogs({ keepMs: inMemoryMs, maxLogs: 1, maxLength });
  let running: StreamLog | undefined;
  let endings: (() => void)[] = [];

  const read = (query: string, ...values: string[]) => {
    try {
      return sql.exec(query, ...values).toArray();
    } catch {
      return []; // no tables: nobody ever made an answer here, and a mere question leaves no trace
    }
  };

  const keeping = (log: StreamLog, keptMs: number): StreamLog => {
    let position = 0;
    let waiting: string[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const write = () => {
      clearTimeout(timer);
      timer = undefined;
      if (waiting.length === 0) return;
      sql.exec('INSERT INTO entries (first, texts) VALUES (?, ?)', position, JSON.stringify(waiting));
      position += waiting.length;
      waiting = [];
    };
    return {
      id: log.id,
      signal: log.signal,
      follow: log.follow,
      abort: log.abort,
      get state() {
        return log.state;
      },
      get length() {
        return log.length;
      },
      append(entries) {
        log.append(entries);
        waiting.push(...entries);
        timer ??= setTimeout(write, writeEveryMs);
      },
      async close() {
        write();
        sql.exec('UPDATE log SET whole = 1, forget_at = ?', now() + keptMs);
        await log.close();
        running = undefined;
        const waitingForIt = endings;
        endings = [];
        for (const ending of waitingForIt) ending();
      },
    };
  };

  /** As it was kept; where its making was cut off, it ends with the words that were left for that. */
  const restore = async (id: string): Promise<void> => {
    const [row] = read('SELECT owner, whole, last_words FROM log WHERE id = ?', id);
    if (!row) return;
    const entries = read('SELECT texts FROM entries ORDER BY first').flatMap(
      ({ texts }) => JSON.parse(String(texts)) as string[], // as written above
    );
    const lastWords = row['whole'] === 1 ? [] : (JSON.parse(String(row['last_words'])) as string[]);
    for (const words of lastWords) entries.push(words.replaceAll('{position}', String(entries.length)));
    const log = logs.open(id, String(row['owner']));
    log.append(entries);
    await log.close();
  };

  return {
    get running() {
      return running !== undefined;
    },
    ended: () => new Promise((resolve) => (running ? endings.push(resolve) : resolve())),
    forgetAt() {
      const [row] = read('SELECT forget_at FROM log');
      return row && Number(row['forget_at']);
    },
    open(id, owner, options = {}) {
      const keptMs = (options.keptSeconds ?? 3600) * 1000;
      const lastWords = JSON.stringify(options.lastWords ?? []);
      sql.exec('CREATE TABLE IF NOT EXISTS entries (first INTEGER PRIMARY KEY, texts TEXT NOT NULL)');
      sql.exec(
        'CREATE TABLE IF NOT EXISTS log (id TEXT, owner TEXT, whole INTEGER, forget_at INTEGER, last_words TEXT)',
      );
      sql.exec(
        'INSERT INTO log (id, owner, whole, forget_at, last_words) VALUES (?, ?, 0, ?, ?)',
        ...[id, owner, now() + keptMs, lastWords],
      );
      running = keeping(logs.open(id, owner, options), keptMs);
      void storage.setAlarm(now()); // its handler keeps the object here while the answer is made
      return running;
    },
    async find(id, owner) {
      const here = await logs.find(id, owner);
      if (here || running) return here;
      await restore(id);
      return logs.find(id, owner);
    },
    async forget(id, owner) {
      await logs.forget(id, owner);
      if (read('SELECT id FROM log WHERE id = ? AND owner = ?', id, owner).length > 0) await storage.deleteAll();
    },
    abortAll: (reason) => logs.abortAll(reason),
  };
}
