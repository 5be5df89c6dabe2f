import { numberOf, stringOf } from '../core/json.ts';
import type { Db } from './db.ts';

/** Prompt and answer of one request, masked, where keeping them is switched on. */
export interface Content {
  readonly requestId: string;
  readonly callerId: string;
  /** Unix milliseconds. */
  readonly at: number;
  readonly prompt: string;
  readonly answer: string;
}

/** Kept outside the audit's chain, so that they can be deleted without breaking it. */
export function contentTable(db: Db) {
  return {
    async add({ requestId, callerId, at, prompt, answer }: Content): Promise<void> {
      await db.run(
        `INSERT INTO contents (request_id, caller_id, at, prompt, answer) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (request_id) DO NOTHING`,
        [requestId, callerId, at, prompt, answer],
      );
    },
    async list({
      callerId,
      limit,
    }: {
      readonly callerId?: string;
      readonly limit: number;
    }): Promise<readonly Content[]> {
      const rows =
        callerId === undefined
          ? await db.all('SELECT * FROM contents ORDER BY at DESC LIMIT ?', [limit])
          : await db.all('SELECT * FROM contents WHERE caller_id = ? ORDER BY at DESC LIMIT ?', [callerId, limit]);
      return rows.map((row) => ({
        requestId: stringOf(row['request_id']) ?? '',
        callerId: stringOf(row['caller_id']) ?? '',
        at: numberOf(row['at']) ?? 0,
        prompt: stringOf(row['prompt']) ?? '',
        answer: stringOf(row['answer']) ?? '',
      }));
    },
    prune: (beforeMs: number): Promise<number> => db.run('DELETE FROM contents WHERE at < ?', [beforeMs]),
  };
}
