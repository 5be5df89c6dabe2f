import { numberOf, stringOf } from '../core/json.ts';
import { type Db, jsonOf, type Row } from './db.ts';
import type { KeyRecord } from './key-record.ts';

/** Keys in the ledger. */
export interface KeyTable {
  byDigest(digest: string): Promise<KeyRecord | undefined>;
  byId(id: string): Promise<KeyRecord | undefined>;
  /** Whether there was ever a key, a revoked one too: who takes back the last one does not let everybody in. */
  any(): Promise<boolean>;
  /** Newest first. */
  list(): Promise<readonly KeyRecord[]>;
  add(record: KeyRecord): Promise<void>;
  /** Replaces all but the id; the digest too, which is what a rotation is. False where there is none. */
  update(record: KeyRecord): Promise<boolean>;
}

const columns =
  'name, digest, hint, role, owner, team, tags, models, endpoints, limits, priority, created_at, expires_at, revoked_at';

/** Keys in the ledger, by id and by digest. */
export function keyTable(db: Db): KeyTable {
  const one = async (where: string, value: string) => {
    const [row] = await db.all(`SELECT id, ${columns} FROM keys WHERE ${where} = ?`, [value]);
    return row && fromRow(row);
  };
  return {
    byDigest: (digest) => one('digest', digest),
    byId: (id) => one('id', id),
    any: async () => (await db.all('SELECT id FROM keys LIMIT 1')).length > 0,
    list: async () =>
      (await db.all(`SELECT id, ${columns} FROM keys ORDER BY created_at DESC, id LIMIT 10000`)).map(fromRow),
    async add(record) {
      await db.run(`INSERT INTO keys (${columns}, id) VALUES (${marks(15)})`, [...toValues(record), record.id]);
    },
    async update(record) {
      const sets = columns.replaceAll(',', ' = ?,');
      return (await db.run(`UPDATE keys SET ${sets} = ? WHERE id = ?`, [...toValues(record), record.id])) > 0;
    },
  };
}

const marks = (n: number) => Array.from({ length: n }, () => '?').join(', ');
const json = (value: unknown) => (value === undefined ? null : JSON.stringify(value));

const toValues = (r: KeyRecord) => [
  r.name,
  r.digest,
  r.hint,
  r.role,
  r.owner ?? null,
  r.team ?? null,
  JSON.stringify(r.tags),
  json(r.models),
  json(r.endpoints),
  json(r.limits),
  r.priority ?? null,
  r.createdAt,
  r.expiresAt ?? null,
  r.revokedAt ?? null,
];

function fromRow(row: Row): KeyRecord {
  const optional = {
    owner: stringOf(row['owner']),
    team: stringOf(row['team']),
    models: jsonOf<readonly string[] | undefined>(row['models'], undefined),
    endpoints: jsonOf<readonly string[] | undefined>(row['endpoints'], undefined),
    limits: jsonOf<KeyRecord['limits']>(row['limits'], undefined),
    priority: stringOf(row['priority']),
    expiresAt: numberOf(row['expires_at']),
    revokedAt: numberOf(row['revoked_at']),
  };
  return {
    id: stringOf(row['id']) ?? '',
    name: stringOf(row['name']) ?? '',
    digest: stringOf(row['digest']) ?? '',
    hint: stringOf(row['hint']) ?? '',
    role: row['role'] === 'admin' ? 'admin' : 'caller',
    tags: jsonOf<readonly string[]>(row['tags'], []),
    createdAt: numberOf(row['created_at']) ?? 0,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  };
}
