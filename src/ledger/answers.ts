import { randomId, unref } from '../core/clock.ts';
import { stringOf } from '../core/json.ts';
import type { ObjectStore } from '../core/objects.ts';
import type { Db } from './db.ts';

/** Texts by name for a time, with a lock per name: what the cache's stores need, over the ledger's database. */
export interface AnswerTable {
  get(id: string): Promise<string | undefined>;
  set(id: string, answer: string, keepMs: number): Promise<void>;
  /** The right to make `id`, until released or `leaseMs` after the holder was last heard of; undefined while another has it. */
  lock(id: string, leaseMs: number): Promise<(() => void) | undefined>;
  /** Deletes what has expired. */
  prune(): Promise<number>;
}

/** Answers that must outlive the process: those to an Idempotency-Key. */
export function answerTable(
  db: Db,
  leases: Pick<ObjectStore, 'lease' | 'release'>,
  now: () => number = Date.now,
): AnswerTable {
  return {
    async get(id) {
      const [row] = await db.all('SELECT answer FROM answers WHERE id = ? AND expires_at > ?', [id, now()]);
      return stringOf(row?.['answer']);
    },
    async set(id, answer, keepMs) {
      await db.run(
        `INSERT INTO answers (id, answer, expires_at) VALUES (?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at`,
        [id, answer, Math.ceil(now() + keepMs)],
      );
    },
    async lock(id, leaseMs) {
      const [work, holder] = [`answer:${id}`, randomId('')];
      if (!(await leases.lease(work, holder, leaseMs))) return undefined;
      const timer = setInterval(() => {
        leases.lease(work, holder, leaseMs).catch(() => {}); // the lease runs out
      }, leaseMs / 3);
      unref(timer);
      return () => {
        clearInterval(timer);
        leases.release(work, holder).catch(() => {}); // the lease runs out
      };
    },
    prune: () => db.run('DELETE FROM answers WHERE expires_at <= ?', [now()]),
  };
}
