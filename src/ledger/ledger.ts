import { type Digest, webDigest } from '../core/digest.ts';
import type { ObjectStore } from '../core/objects.ts';
import { type AuditTable, auditTable } from './audit.ts';
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
  readonly feedback: ReturnType<typeof feedbackTable>;
  /** Deletes expired objects, and usage older than `usageMs`. */
  prune(usageMs?: number): Promise<void>;
}

/** Brings the schema up to date and gives the tables. `auditDigest`: an HMAC where the audit has a secret. */
export async function openTables(
  db: Db,
  { auditDigest = webDigest(), now = Date.now }: { auditDigest?: Digest; now?: () => number } = {},
): Promise<Ledger> {
  await migrate(db, now);
  const usage = usageTable(db);
  return {
    db,
    usage,
    keys: keyTable(db),
    audit: auditTable(db, auditDigest),
    objects: objectTable(db, now),
    feedback: feedbackTable(db),
    async prune(usageMs) {
      await pruneObjects(db, now);
      if (usageMs !== undefined) await usage.prune(now() - usageMs);
    },
  };
}
