import type { Db } from './db.ts';

/**
 * The schema as it grew. Only ever append: a migration that has been released runs nowhere again. Types that every
 * dialect takes: TEXT, BIGINT, DOUBLE PRECISION, and `{bytes}` for raw bytes. Times are unix milliseconds.
 */
const migrations: readonly (readonly string[])[] = [
  [
    `CREATE TABLE keys (
      id TEXT PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, hint TEXT NOT NULL, role TEXT NOT NULL,
      owner TEXT, team TEXT, tags TEXT NOT NULL, models TEXT, endpoints TEXT, limits TEXT, priority TEXT,
      created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT)`,
    `CREATE TABLE usage (
      id TEXT PRIMARY KEY, request_id TEXT NOT NULL, at BIGINT NOT NULL, caller_id TEXT NOT NULL, team TEXT,
      model TEXT NOT NULL,
      target TEXT, endpoint TEXT NOT NULL, cache TEXT NOT NULL, outcome TEXT NOT NULL, status BIGINT NOT NULL,
      stream BIGINT NOT NULL, prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,
      cached_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, estimated BIGINT NOT NULL,
      cost_nano BIGINT, energy_joules DOUBLE PRECISION, attempts BIGINT NOT NULL, duration_ms DOUBLE PRECISION NOT NULL,
      ttft_ms DOUBLE PRECISION, end_user TEXT, metadata TEXT)`,
    'CREATE INDEX usage_at ON usage (at)',
    'CREATE INDEX usage_request ON usage (request_id)',
    'CREATE INDEX usage_caller ON usage (caller_id, at)',
    'CREATE INDEX usage_team ON usage (team, at)',
    'CREATE INDEX usage_model ON usage (model, at)',
    `CREATE TABLE audit (
      seq BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, at BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
      subject TEXT NOT NULL, detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL)`,
    'CREATE INDEX audit_at ON audit (at)',
    `CREATE TABLE contents (
      request_id TEXT PRIMARY KEY, caller_id TEXT NOT NULL, at BIGINT NOT NULL, prompt TEXT NOT NULL,
      answer TEXT NOT NULL)`,
    'CREATE INDEX contents_caller ON contents (caller_id, at)',
    `CREATE TABLE objects (
      kind TEXT NOT NULL, owner TEXT NOT NULL, id TEXT NOT NULL, position BIGINT NOT NULL, created_at BIGINT NOT NULL,
      expires_at BIGINT, body TEXT NOT NULL, content {bytes}, PRIMARY KEY (kind, owner, id))`,
    'CREATE INDEX objects_order ON objects (kind, owner, position)',
    `CREATE TABLE feedback (
      id TEXT PRIMARY KEY, at BIGINT NOT NULL, request_id TEXT NOT NULL, answer_id TEXT, score DOUBLE PRECISION NOT NULL,
      label TEXT, comment TEXT, caller_id TEXT NOT NULL, model TEXT NOT NULL, target TEXT NOT NULL, prompt TEXT)`,
    'CREATE INDEX feedback_at ON feedback (at)',
  ],
  ['CREATE TABLE leases (work TEXT PRIMARY KEY, holder TEXT NOT NULL, ends_at BIGINT NOT NULL)'],
  [
    'CREATE TABLE answers (id TEXT PRIMARY KEY, answer TEXT NOT NULL, expires_at BIGINT NOT NULL)',
    'CREATE INDEX answers_expiry ON answers (expires_at)',
  ],
];

/**
 * Brings the schema up to date. Safe to run again, and by several processes at once: the first statement of each
 * migration claims its number, so that whoever comes second fails as a whole and finds it done.
 */
export async function migrate(db: Db, now: () => number = Date.now): Promise<void> {
  await createVersions(db);
  for (const [index, statements] of migrations.entries()) {
    const version = index + 1;
    if (await isApplied(db, version)) continue;
    const claim = { sql: 'INSERT INTO migrations (version, at) VALUES (?, ?)', params: [version, now()] };
    const bytes = db.dialect === 'postgres' ? 'BYTEA' : 'BLOB';
    try {
      await db.transaction([claim, ...statements.map((sql) => ({ sql: sql.replace('{bytes}', bytes) }))]);
    } catch (error) {
      if (!(await isApplied(db, version))) throw error;
    }
  }
}

async function createVersions(db: Db): Promise<void> {
  const sql = 'CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, at BIGINT NOT NULL)';
  try {
    await db.run(sql);
  } catch {
    await db.run(sql); // Postgres lets two of these collide; the second time the table is there
  }
}

const isApplied = async (db: Db, version: number): Promise<boolean> =>
  (await db.all('SELECT version FROM migrations WHERE version = ?', [version])).length > 0;
