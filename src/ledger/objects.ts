import { type JsonObject, numberOf, stringOf } from '../core/json.ts';
import type { ObjectStore, StoredObject } from '../core/objects.ts';
import { answeringWithin, type Db, jsonOf, type Row } from './db.ts';

const pageSize = 100;
const columns = 'kind, owner, id, created_at, expires_at, body';

/** Of a server that may hang. Reports may take longer, and so may a file's content. */
const answerMs = 3000;

/** Stored responses, completions, conversations, files and batches in the ledger, in order of creation. */
export function objectTable(patient: Db, now: () => number = Date.now): ObjectStore {
  const db = patient.dialect === 'postgres' ? answeringWithin(answerMs, patient) : patient;
  let last = 0;
  /** Rises with every object of this process; between processes the clock decides. */
  const position = () => {
    last = Math.max(last + 1, now() * 1000);
    return last;
  };
  const alive = '(expires_at IS NULL OR expires_at > ?)';
  const seconds = () => Math.floor(now() / 1000);
  return {
    async put({ kind, id, owner, createdAt, expiresAt, body, bytes }) {
      await (bytes ? patient : db).run(
        `INSERT INTO objects (kind, owner, id, position, created_at, expires_at, body, content)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (kind, owner, id) DO UPDATE SET created_at = excluded.created_at,
           expires_at = excluded.expires_at, body = excluded.body, content = excluded.content`,
        [kind, owner, id, position(), createdAt, expiresAt ?? null, JSON.stringify(body), bytes ?? null],
      );
    },
    async get(kind, id, owner) {
      const [row] = await (kind === 'file' ? patient : db).all(
        `SELECT ${columns}, content FROM objects WHERE kind = ? AND owner = ? AND id = ? AND ${alive}`,
        [kind, owner, id, seconds()],
      );
      return row && fromRow(row);
    },
    delete: async (kind, id, owner) =>
      (await db.run('DELETE FROM objects WHERE kind = ? AND owner = ? AND id = ?', [kind, owner, id])) > 0,
    async list(kind, owner, { after, limit, order, idPrefix = '', where = () => true }) {
      const rising = order === 'asc';
      let from = rising ? -1 : Number.MAX_SAFE_INTEGER;
      if (after !== undefined) {
        const [row] = await db.all('SELECT position FROM objects WHERE kind = ? AND owner = ? AND id = ?', [
          kind,
          owner,
          after,
        ]);
        from = numberOf(row?.['position']) ?? from;
      }
      const items: StoredObject[] = [];
      for (;;) {
        const rows = await db.all(
          `SELECT ${columns}, position FROM objects
           WHERE kind = ? AND owner = ? AND substr(id, 1, ?) = ? AND ${alive} AND position ${rising ? '>' : '<'} ?
           ORDER BY position ${rising ? 'ASC' : 'DESC'} LIMIT ?`,
          [kind, owner, idPrefix.length, idPrefix, seconds(), from, pageSize],
        );
        for (const row of rows) {
          const object = fromRow(row);
          if (!where(object)) continue;
          if (items.length === limit) return { items, hasMore: true };
          items.push(object);
        }
        const end = numberOf(rows.at(-1)?.['position']);
        if (rows.length < pageSize || end === undefined) return { items, hasMore: false };
        from = end;
      }
    },
    all: async (kind) =>
      (
        await db.all(`SELECT ${columns} FROM objects WHERE kind = ? AND ${alive} ORDER BY position`, [kind, seconds()])
      ).map(fromRow),
    lease: async (work, holder, ms) =>
      (await db.run(
        `INSERT INTO leases (work, holder, ends_at) VALUES (?, ?, ?)
         ON CONFLICT (work) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at
         WHERE leases.holder = excluded.holder OR leases.ends_at <= ?`,
        [work, holder, now() + ms, now()],
      )) > 0,
    async release(work, holder) {
      await db.run('DELETE FROM leases WHERE work = ? AND holder = ?', [work, holder]);
    },
  };
}

/** Deletes what has expired; gives how many objects. A lease is of no use to anybody an hour after its end. */
export async function pruneObjects(db: Db, now: () => number = Date.now): Promise<number> {
  await db.run('DELETE FROM leases WHERE ends_at <= ?', [now() - 3600_000]);
  return db.run('DELETE FROM objects WHERE expires_at IS NOT NULL AND expires_at <= ?', [Math.floor(now() / 1000)]);
}

function fromRow(row: Row): StoredObject {
  const expiresAt = numberOf(row['expires_at']);
  const content = row['content'];
  return {
    kind: stringOf(row['kind']) as StoredObject['kind'], // only `put` writes it
    id: stringOf(row['id']) ?? '',
    owner: stringOf(row['owner']) ?? '',
    createdAt: numberOf(row['created_at']) ?? 0,
    body: jsonOf<JsonObject>(row['body'], {}),
    ...(expiresAt !== undefined && { expiresAt }),
    ...(content instanceof Uint8Array && { bytes: content }),
  };
}
