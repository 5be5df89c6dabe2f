import type { Digest } from '../core/digest.ts';
import { numberOf, stringOf } from '../core/json.ts';
import type { Db, Row } from './db.ts';

/** Something that must not be denied later: a request's way, or an admin's change. Never holds keys, prompts or answers. */
export interface AuditEvent {
  /** Unique; the same event again is not written twice. */
  readonly id: string;
  /** Unix milliseconds. */
  readonly at: number;
  /** The key's id; `cli` for the command line. */
  readonly actor: string;
  /** `request`, `key.create`, `key.revoke`, … */
  readonly action: string;
  readonly subject: string;
  /** JSON. */
  readonly detail: string;
}

export interface AuditRow extends AuditEvent {
  readonly seq: number;
  readonly previous: string;
  readonly hash: string;
}

/** The newest link. */
export interface AuditHead {
  readonly seq: number;
  readonly hash: string;
}

/** How a check of the chain ended. */
export type AuditVerdict =
  | { readonly intact: true; readonly rows: number; readonly head: AuditHead }
  | { readonly intact: false; readonly rows: number; readonly seq: number; readonly reason: string };

export interface AuditTable {
  /** Adds to the chain, in this order; events that are in it already are left out. */
  append(events: readonly AuditEvent[]): Promise<void>;
  head(): Promise<AuditHead>;
  list(query: {
    readonly fromMs?: number;
    readonly action?: string;
    readonly limit: number;
  }): Promise<readonly AuditRow[]>;
  /** Recomputes every link. `expected`: a head noted earlier, elsewhere, so that a cut-off end shows too. */
  verify(expected?: AuditHead): Promise<AuditVerdict>;
  /** Deletes what is older, and notes in the chain that it did and what the last deleted link was. */
  prune(beforeMs: number, event: (detail: string) => AuditEvent): Promise<number>;
}

const beginning = '0'.repeat(64);
const page = 1000;
const tries = 20;

/** The hash chain. `digest` with a secret (HMAC) also keeps whoever can write to the database from forging it. */
export function auditTable(db: Db, digest: Digest): AuditTable {
  const hashOf = (seq: number, previous: string, { id, at, actor, action, subject, detail }: AuditEvent) =>
    digest(JSON.stringify([seq, previous, id, at, actor, action, subject, detail]));

  const head = async (): Promise<AuditHead> => {
    const [row] = await db.all('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1');
    return { seq: numberOf(row?.['seq']) ?? 0, hash: stringOf(row?.['hash']) ?? beginning };
  };

  const known = async (ids: readonly string[]): Promise<Set<string>> => {
    const found = new Set<string>();
    for (let i = 0; i < ids.length; i += 50) {
      const some = ids.slice(i, i + 50);
      const rows = await db.all(`SELECT id FROM audit WHERE id IN (${some.map(() => '?').join(', ')})`, some);
      for (const row of rows) found.add(stringOf(row['id']) ?? '');
    }
    return found;
  };

  const link = async (events: readonly AuditEvent[]): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      const there = await known(events.map(({ id }) => id));
      const fresh = events.filter(({ id }, i) => !there.has(id) && events.findIndex((e) => e.id === id) === i);
      if (fresh.length === 0) return;
      let { seq, hash } = await head();
      const statements = [];
      for (const event of fresh) {
        const previous = hash;
        seq++;
        hash = await hashOf(seq, previous, event);
        statements.push({
          sql: `INSERT INTO audit (seq, id, at, actor, action, subject, detail, previous, hash)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          params: [seq, event.id, event.at, event.actor, event.action, event.subject, event.detail, previous, hash],
        });
      }
      try {
        await db.transaction(statements);
        return;
      } catch (error) {
        // Another gateway was faster, with this number or one of these events: link to its rows instead.
        const moved = (await head()).seq > seq - fresh.length || (await known(fresh.map(({ id }) => id))).size > 0;
        if (attempt >= tries || !moved) throw error;
      }
    }
  };

  /** One after the other within a process: they would only get into each other's way. */
  let last: Promise<void> = Promise.resolve();
  const append = (events: readonly AuditEvent[]): Promise<void> => {
    const linked = last.then(() => link(events));
    last = linked.catch(() => {});
    return linked;
  };

  return {
    append,
    head,
    async list({ fromMs = 0, action, limit }) {
      const rows = await db.all(
        `SELECT * FROM audit WHERE at >= ?${action === undefined ? '' : ' AND action = ?'} ORDER BY seq DESC LIMIT ?`,
        action === undefined ? [fromMs, limit] : [fromMs, action, limit],
      );
      return rows.map(fromRow);
    },
    async verify(expected) {
      let rows = 0;
      let last: { seq: number; hash: string } | undefined;
      let met = expected === undefined;
      let cut: AuditRow | undefined; // the first row, where earlier ones were pruned
      const pruned = new Set<string>();
      for (;;) {
        const some = (
          await db.all('SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?', [last?.seq ?? 0, page])
        ).map(fromRow);
        for (const row of some) {
          const wrong = (reason: string): AuditVerdict => ({ intact: false, rows, seq: row.seq, reason });
          if (!last && row.previous !== beginning) cut = row;
          if (last && row.seq !== last.seq + 1) return wrong(`row ${last.seq + 1} is missing`);
          if (last && row.previous !== last.hash) return wrong('it does not follow from the row before');
          if ((await hashOf(row.seq, row.previous, row)) !== row.hash) return wrong('its content was changed');
          if (row.action === 'audit.prune') pruned.add(row.detail);
          if (expected && row.seq === expected.seq) {
            if (row.hash !== expected.hash) return wrong('it is not the row that was noted');
            met = true;
          }
          last = { seq: row.seq, hash: row.hash };
          rows++;
        }
        if (some.length < page) break;
      }
      if (cut && !pruned.has(JSON.stringify({ seq: cut.seq - 1, hash: cut.previous }))) {
        return { intact: false, rows, seq: cut.seq, reason: 'what came before it is missing' };
      }
      if (!met && (expected?.seq ?? 0) > (last?.seq ?? 0)) {
        return { intact: false, rows, seq: expected?.seq ?? 0, reason: 'the end of the chain is missing' };
      }
      return { intact: true, rows, head: last ?? { seq: 0, hash: beginning } };
    },
    async prune(beforeMs, event) {
      const [row] = await db.all('SELECT seq, hash FROM audit WHERE at < ? ORDER BY seq DESC LIMIT 1', [beforeMs]);
      const seq = numberOf(row?.['seq']);
      if (seq === undefined) return 0;
      await append([event(JSON.stringify({ seq, hash: stringOf(row?.['hash']) }))]);
      return db.run('DELETE FROM audit WHERE seq <= ?', [seq]);
    },
  };
}

const fromRow = (row: Row): AuditRow => ({
  seq: numberOf(row['seq']) ?? 0,
  id: stringOf(row['id']) ?? '',
  at: numberOf(row['at']) ?? 0,
  actor: stringOf(row['actor']) ?? '',
  action: stringOf(row['action']) ?? '',
  subject: stringOf(row['subject']) ?? '',
  detail: stringOf(row['detail']) ?? '',
  previous: stringOf(row['previous']) ?? '',
  hash: stringOf(row['hash']) ?? '',
});
