import { numberOf, stringOf } from '../core/json.ts';
import type { Feedback } from '../core/record.ts';
import { type Db, jsonOf } from './db.ts';

/** Feedback in the ledger. */
export function feedbackTable(db: Db) {
  return {
    async add(f: Feedback): Promise<void> {
      await db.run(
        `INSERT INTO feedback (id, at, request_id, answer_id, score, label, comment, caller_id, model, target, prompt)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
        [
          f.id,
          f.at,
          f.requestId,
          f.answerId ?? null,
          f.score,
          f.label ?? null,
          f.comment ?? null,
          f.callerId,
          f.model,
          f.target,
          f.prompt ? JSON.stringify(f.prompt) : null,
        ],
      );
    },
    /** Newest first. */
    async list({ limit }: { readonly limit: number }): Promise<readonly Feedback[]> {
      const rows = await db.all('SELECT * FROM feedback ORDER BY at DESC, id LIMIT ?', [limit]);
      return rows.map((row) => {
        const answerId = stringOf(row['answer_id']);
        const label = stringOf(row['label']);
        const comment = stringOf(row['comment']);
        const prompt = jsonOf<Feedback['prompt']>(row['prompt'], undefined);
        return {
          id: stringOf(row['id']) ?? '',
          requestId: stringOf(row['request_id']) ?? '',
          score: numberOf(row['score']) ?? 0,
          callerId: stringOf(row['caller_id']) ?? '',
          model: stringOf(row['model']) ?? '',
          target: stringOf(row['target']) ?? '',
          at: numberOf(row['at']) ?? 0,
          ...(answerId !== undefined && { answerId }),
          ...(label !== undefined && { label }),
          ...(comment !== undefined && { comment }),
          ...(prompt && { prompt }),
        };
      });
    },
  };
}
