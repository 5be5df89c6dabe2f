import type { Feedback } from '../core/record.ts';
import { type Db, jsonOf, numberOf, textOf } from './db.ts';

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
        const answerId = textOf(row['answer_id']);
        const label = textOf(row['label']);
        const comment = textOf(row['comment']);
        const prompt = jsonOf<Feedback['prompt']>(row['prompt'], undefined);
        return {
          id: textOf(row['id']) ?? '',
          requestId: textOf(row['request_id']) ?? '',
          score: numberOf(row['score']) ?? 0,
          callerId: textOf(row['caller_id']) ?? '',
          model: textOf(row['model']) ?? '',
          target: textOf(row['target']) ?? '',
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
