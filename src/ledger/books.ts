import { unref } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { AuditEvent, AuditTable } from './audit.ts';
import type { Db } from './db.ts';
import { insertUsage, type UsageRow } from './usage.ts';

/** One thing to be written: what a request used, and what the audit should know of it. */
export type Entry =
  | { readonly kind: 'usage'; readonly row: UsageRow }
  | { readonly kind: 'audit'; readonly event: AuditEvent };

/** How the books are: `spooling`, the database is away and entries wait in the file; `lost`, even the file is. */
export type BooksState = 'ok' | 'spooling' | 'lost';

export interface Books {
  /** Resolves when the entries are safe; rejects with `unavailable` where they cannot be and the policy is to refuse. */
  write(entries: readonly Entry[]): Promise<void>;
  state(): BooksState;
  /** Everything written so far is in the database. Rejects where it cannot be reached. */
  settled(): Promise<void>;
  close(): Promise<void>;
}

export interface BooksAlert {
  readonly state: BooksState;
  readonly error?: unknown;
}

/** Where entries wait: the write-ahead file on Node. */
export interface EntryQueue {
  append(records: readonly string[]): Promise<void>;
  read(limit: number): Promise<{ readonly records: readonly string[]; readonly end: number }>;
  taken(batch: { readonly records: readonly string[]; readonly end: number }): Promise<void>;
  adopt(use: (records: readonly string[]) => Promise<void>): Promise<number>;
  size(): number;
  close(): Promise<void>;
}

export interface BooksOptions {
  readonly db: Db;
  readonly audit: AuditTable;
  readonly queue: EntryQueue;
  /** When not even the file can be written: keep entries in memory and go on, or refuse to answer. */
  readonly whenLost?: () => 'serve' | 'refuse';
  /** Keeps entries that the database will never take, so that they do not hold up all others. */
  readonly reject?: (records: readonly string[], error: unknown) => Promise<void>;
  /** Told of each change of the state. */
  readonly alert?: (alert: BooksAlert) => void;
  /** How long entries gather before they go to the database together. */
  readonly everyMs?: number;
}

const batchSize = 500;
const mostInMemory = 50_000;
const longestPauseMs = 10_000;
const adoptEveryMs = 30_000;

/** Puts entries into the database once each, in batches, off every request's way. */
async function writeTo(db: Db, audit: AuditTable, entries: readonly Entry[]): Promise<void> {
  const rows = entries.flatMap((entry) => (entry.kind === 'usage' ? [insertUsage(entry.row)] : []));
  if (rows.length > 0) await db.transaction(rows);
  const events = entries.flatMap((entry) => (entry.kind === 'audit' ? [entry.event] : []));
  if (events.length > 0) await audit.append(events);
}

/** Opens the books: what an earlier life left behind is written first, where the database is there. */
export async function openBooks({
  db,
  audit,
  queue,
  whenLost = () => 'serve',
  alert = () => {},
  reject = async () => {},
  everyMs = 200,
}: BooksOptions): Promise<Books> {
  let now: BooksState = 'ok';
  let memory: string[] = [];
  let closed = false;
  let pauseMs = everyMs;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let adoptedAt = Date.now();

  const turn = (next: BooksState, error?: unknown) => {
    if (next === now) return;
    now = next;
    alert({ state: next, ...(error !== undefined && { error }) });
  };

  /** Into the database; what it will never take is looked for by halves and set aside, so that the rest gets in. */
  const use = async (records: readonly string[]): Promise<void> => {
    const entries = records.map(parse);
    try {
      await writeTo(db, audit, entries);
    } catch (error) {
      const [first] = entries;
      if (!isAboutData(error) || (entries.length === 1 && first?.kind !== 'usage')) throw error;
      if (entries.length === 1) return reject(records, error);
      const half = Math.ceil(records.length / 2);
      await use(records.slice(0, half));
      await use(records.slice(half));
    }
  };

  /** Memory → file, as soon as the file takes it again. */
  const rescue = async () => {
    while (memory.length > 0) {
      const some = memory.slice(0, batchSize);
      try {
        await queue.append(some);
      } catch {
        await use(some); // a full disk, but the database may be elsewhere
      }
      memory = memory.slice(some.length);
    }
  };

  const drain = async () => {
    if (memory.length > 0) await rescue();
    while (queue.size() > 0) {
      const batch = await queue.read(batchSize);
      if (batch.records.length > 0) await use(batch.records);
      await queue.taken(batch);
    }
    turn('ok');
  };

  /** One drain at a time; whoever asks while one runs gets the next. */
  let running: Promise<void> | undefined;
  const drainOnce = (): Promise<void> => {
    running ??= drain().finally(() => {
      running = undefined;
    });
    return running;
  };

  const tick = async () => {
    try {
      await drainOnce();
      if (Date.now() - adoptedAt > adoptEveryMs) {
        adoptedAt = Date.now();
        await queue.adopt(use);
      }
      pauseMs = everyMs;
    } catch (error) {
      turn(memory.length > 0 ? 'lost' : 'spooling', error);
      pauseMs = Math.min(longestPauseMs, Math.max(500, pauseMs * 2));
    }
    plan();
  };
  const plan = () => {
    if (closed) return;
    timer = setTimeout(() => void tick(), pauseMs);
    unref(timer);
  };

  try {
    await queue.adopt(use);
  } catch (error) {
    turn('spooling', error);
  }
  plan();

  return {
    state: () => now,
    async write(entries) {
      if (entries.length === 0) return;
      const records = entries.map((entry) => JSON.stringify(entry));
      try {
        await queue.append(records);
      } catch (error) {
        turn('lost', error);
        if (whenLost() === 'refuse' || memory.length >= mostInMemory) {
          throw new GatewayError('unavailable', 'The usage of this request could not be recorded.', {
            cause: error,
            retryAfterMs: 5000,
          });
        }
        memory.push(...records);
      }
    },
    async settled() {
      await running?.catch(() => {});
      await drainOnce();
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await running?.catch(() => {});
      await drain().catch(() => {}); // what stays in the file is written by the next life
      await queue.close();
    },
  };
}

/** Records are read back from our own file, whose checksum was right. */
const parse = (record: string): Entry => JSON.parse(record) as Entry;

/** What waiting does not cure: Postgres' classes 22 and 23, SQLite's words for the same. Not a lock, not a full disk. */
function isAboutData(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('code' in error && typeof error.code === 'string') return /^2[23]/.test(error.code);
  return /constraint failed|datatype mismatch|too big|cannot be bound/i.test(error.message);
}
