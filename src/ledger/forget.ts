import { randomId } from '../core/clock.ts';
import type { AuditTable } from './audit.ts';
import type { Db } from './db.ts';

/** Deletes what was kept of a caller: usage, stored objects, prompts and answers, feedback, answers to an Idempotency-Key. The audit notes that it did. */
export async function forgetCaller(db: Db, audit: AuditTable, callerId: string, actor: string): Promise<void> {
  const event = {
    id: randomId('adm_'),
    at: Date.now(),
    actor,
    action: 'caller.forget',
    subject: callerId,
    detail: '{}',
  };
  await audit.append([event]);
  const answers = `idempotent:${callerId}:`; // as the cache names them
  await db.transaction([
    { sql: 'DELETE FROM contents WHERE caller_id = ?', params: [callerId] },
    { sql: 'DELETE FROM objects WHERE owner = ?', params: [callerId] },
    { sql: 'DELETE FROM feedback WHERE caller_id = ?', params: [callerId] },
    { sql: 'DELETE FROM usage WHERE caller_id = ?', params: [callerId] },
    { sql: 'DELETE FROM answers WHERE substr(id, 1, ?) = ?', params: [answers.length, answers] },
  ]);
}
