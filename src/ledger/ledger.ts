import { randomId } from '../core/clock.ts';
import { type Digest, webDigest } from '../core/digest.ts';
import type { ObjectStore } from '../core/objects.ts';
import { type AnswerTable, answerTable } from './answers.ts';
import { type AuditTable, auditTable } from './audit.ts';
import { contentTable } from './contents.ts';
import type { Db } from './db.ts';
import { feedbackTable } from './feedback.ts';
import { type KeyTable, keyTable } from './keys.ts';
import { objectTable, pruneObjects } from './objects.ts';
import { migrate } from './schema.ts';
import { type UsageTable, usageTable } from './usage.ts';

/** All that is kept, over one database. */
export interface Ledger {
  readonly db: Db;
  readonly keys: KeyTable;
  readonly usage: UsageTable;
  readonly audit: AuditTable;
  readonly objects: ObjectStore;
  /** Answers to an Idempotency-Key, over a restart and between gateways. */
  readonly answers: AnswerTable;
  readonly feedback: ReturnType<typeof feedbackTable>;
  readonly contents: ReturnType<typeof contentTable>;
  /** Deletes expired objects, and what is older than these. */
  prune(older: {
    readonly usageMs?: number | undefined;
    readonly contentMs?: number;
    readonly auditMs?: number | undefined;
  }): Promise<void>;
}

/** Brings the schema up to date and gives the tables. `auditDigest`: an HMAC where the audit has a secret. */
export async function openTables(
  db: Db,
  { auditDigest = webDigest(), now = Date.now }: { auditDigest?: Digest; now?: () => number } = {},
): Promise<Ledger> {
  await migrate(db, now);
  const usage = usageTable(db);
  const audit = auditTable(db, auditDigest);
  const contents = contentTable(db);
  const objects = objectTable(db, now);
  const answers = answerTable(db, objects, now);
  return {
    db,
    usage,
    keys: keyTable(db),
    audit,
    objects,
    answers,
    feedback: feedbackTable(db),
    contents,
    async prune({ usageMs, contentMs, auditMs }) {
      await pruneObjects(db, now);
      await answers.prune();
      if (usageMs !== undefined) await usage.prune(now() - usageMs);
      if (contentMs !== undefined) await contents.prune(now() - contentMs);
      if (auditMs === undefined) return;
      const event = (detail: string) => ({
        id: randomId('adm_'),
        at: now(),
        actor: 'retention',
        action: 'audit.prune',
        subject: 'audit',
        detail,
      });
      await audit.prune(now() - auditMs, event);
    },
  };
}
