import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { webDigest } from '../../src/core/digest.ts';
import type { AuditEvent } from '../../src/ledger/audit.ts';
import { auditConfig, ledgerConfig } from '../../src/ledger/config.ts';
import { d1 } from '../../src/ledger/d1.ts';
import type { Db } from '../../src/ledger/db.ts';
import type { KeyRecord } from '../../src/ledger/key-record.ts';
import { type Ledger, openTables } from '../../src/ledger/ledger.ts';
import { openLedger } from '../../src/ledger/open.node.ts';
import { openPostgres } from '../../src/ledger/postgres.node.ts';
import { openSqlite } from '../../src/ledger/sqlite.node.ts';
import { sqliteThread } from '../../src/ledger/sqlite-thread.node.ts';
import { insertUsage, type UsageRow } from '../../src/ledger/usage.ts';
import { hasServer, type Server, scratch, startPostgres } from './databases.ts';

const day = 86_400_000;
const usage = (change: Partial<UsageRow> = {}): UsageRow => ({
  id: change.requestId ?? 'r1',
  requestId: 'r1',
  at: 10 * day + 5,
  callerId: 'key_a',
  team: 'sea',
  model: 'demo',
  target: 'up/m',
  endpoint: '/v1/chat/completions',
  cache: 'miss',
  outcome: 'ok',
  status: 200,
  stream: true,
  promptTokens: 10,
  completionTokens: 5,
  cachedTokens: 0,
  reasoningTokens: 0,
  estimated: false,
  costNano: 2_500,
  attempts: 1,
  durationMs: 12.5,
  ttftMs: 3.25,
  ...change,
});

const event = (id: string, change: Partial<AuditEvent> = {}): AuditEvent => ({
  id,
  at: 1000,
  actor: 'key_a',
  action: 'request',
  subject: 'demo',
  detail: '{}',
  ...change,
});

/** Undefined on a Node without `node:sqlite` (before 22.13), where the package libsql takes its place. */
const sqliteVersion = process.versions['sqlite'];

interface Engine {
  readonly name: string;
  readonly there: boolean;
  /** Two connections to one new database, as two gateways have. */
  open(): Promise<readonly [Db, Db]>;
  stop(): Promise<void>;
}

const engines: readonly Engine[] = [
  (() => {
    const folder = scratch();
    let n = 0;
    return {
      name: 'SQLite',
      there: true,
      async open() {
        const path = join(folder.path, `deep/er/ledger-${n++}.db`);
        return [openSqlite(path), openSqlite(path)] as const;
      },
      stop: async () => folder.remove(),
    };
  })(),
  (() => {
    let server: Server | undefined;
    let n = 0;
    return {
      name: 'Postgres',
      there: hasServer('postgres'),
      async open() {
        server ??= await startPostgres();
        const admin = await openPostgres(server.url);
        await admin.run(`CREATE DATABASE ledger${++n}`);
        await admin.close();
        const url = server.url.replace(/postgres$/, `ledger${n}`);
        return [await openPostgres(url), await openPostgres(url)] as const;
      },
      stop: async () => server?.stop(),
    };
  })(),
  (() => {
    const running: Miniflare[] = [];
    return {
      name: 'D1 in workerd',
      there: true,
      async open() {
        const worker = new Miniflare({
          modules: true,
          script: 'export default { fetch: () => new Response() }',
          d1Databases: ['LEDGER'],
          cf: false,
        });
        running.push(worker);
        const binding = await worker.getD1Database('LEDGER');
        return [d1(binding as never), d1(binding as never)] as const; // miniflare's own type of the same binding
      },
      stop: async () => {
        await Promise.all(running.map((worker) => worker.dispose()));
      },
    };
  })(),
];

describe.each(engines.filter(({ there }) => there))('the ledger on $name', (engine) => {
  let ledger: Ledger;
  let other: Ledger;
  const opened: Db[] = [];
  const fresh = async () => {
    const pair = await engine.open();
    opened.push(...pair);
    return pair;
  };

  beforeAll(async () => {
    const [one, two] = await fresh();
    // Two gateways that start at once, and again afterwards.
    const results = await Promise.allSettled([openTables(one), openTables(two), openTables(one), openTables(two)]);
    expect(results.map((result) => (result.status === 'rejected' ? String(result.reason) : 'ok'))).toEqual(
      Array(4).fill('ok'),
    );
    ledger = await openTables(one);
    other = await openTables(two);
  });
  afterAll(async () => {
    await Promise.all(opened.map((db) => db.close()));
    await engine.stop();
  });

  test.runIf(engine.name === 'SQLite' && sqliteVersion !== undefined)(
    'is kept by Node’s own SQLite where Node has one',
    async () => {
      expect(await ledger.db.all('SELECT sqlite_version() AS version')).toEqual([{ version: sqliteVersion }]);
      expect(process.getBuiltinModule('node:sqlite')).toBeDefined();
    },
  );

  test('migrations that meet are applied once', async () => {
    const rows = await ledger.db.all('SELECT version FROM migrations');
    expect(rows).toEqual([{ version: 1 }, { version: 2 }, { version: 3 }]);
  });

  test('a transaction happens as a whole or not at all', async () => {
    const first = insertUsage(usage({ requestId: 'tx' }));
    await expect(ledger.db.transaction([first, { sql: 'INSERT INTO nowhere VALUES (1)' }])).rejects.toThrow();
    expect(await ledger.usage.has('tx')).toBe(false);
  });

  test.runIf(engine.name === 'Postgres')(
    'connections that the server ends cost what was under way on them, and nothing else',
    async () => {
      const [db, admin] = await fresh();
      await db.run('CREATE TABLE ended (n INTEGER)');
      const outcomes: Promise<string>[] = [];
      for (let i = 0; i < 30; i++) {
        const statements = Array.from({ length: 10 }, () => ({ sql: 'INSERT INTO ended VALUES (?)', params: [i] }));
        const written = db.transaction(statements);
        outcomes.push(
          written.then(
            () => 'ok',
            ({ kind }) => String(kind),
          ),
        );
        if (i % 5 === 4) {
          await admin.all(
            'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
          );
        }
      }
      const told = await Promise.all(outcomes);
      expect(new Set(['ok', 'unavailable', ...told])).toEqual(new Set(['ok', 'unavailable']));
      const rows = await db.all('SELECT n, count(*) AS times FROM ended GROUP BY n');
      expect(rows.every(({ times }) => times === 10)).toBe(true);
      const kept = new Set(rows.map(({ n }) => n));
      expect(told.every((outcome, n) => outcome !== 'ok' || kept.has(n))).toBe(true);
    },
  );

  test('a request is booked once, however often it is written', async () => {
    for (const db of [ledger.db, other.db])
      await db.transaction([insertUsage(usage()), insertUsage(usage({ costNano: 9 }))]);
    const [sum] = await other.usage.sum({ fromMs: 0, toMs: 20 * day, groupBy: [] });
    expect(sum).toMatchObject({ requests: 1, promptTokens: 10, completionTokens: 5, costUsd: 0.0000025 });
  });

  test('what clients may send as their user is kept, whatever characters it has', async () => {
    const odd = { requestId: 'odd', user: 'a\0b\ud800c\u202e𝄞', metadata: { 'k\0': 'v\0' } };
    await ledger.db.transaction([insertUsage(usage({ ...odd, at: 70 * day }))]);
    const [sum] = await other.usage.sum({ fromMs: 70 * day, toMs: 71 * day, groupBy: ['user'] });
    expect(sum?.group['user']).toMatch(/^a.*𝄞$/);
  });

  test('usage is summed by day, key, model and the rest', async () => {
    await ledger.db.transaction([
      insertUsage(usage({ requestId: 's1', at: 30 * day, callerId: 'key_s', costNano: 5 })),
      insertUsage(
        usage({ requestId: 's2', at: 31 * day, callerId: 'key_s', cache: 'hit', costNano: undefined, team: undefined }),
      ),
      insertUsage(
        usage({ requestId: 's3', at: 31 * day, callerId: 'key_s', model: 'two', outcome: 'cancelled', costNano: 7 }),
      ),
      insertUsage(usage({ requestId: 's4', at: 32 * day, callerId: 'key_s' })),
    ]);
    const sums = await ledger.usage.sum({
      fromMs: 30 * day,
      toMs: 32 * day,
      groupBy: ['day', 'model'],
      callerId: 'key_s',
    });
    expect(sums.map(({ group, requests, failed, cacheHits }) => [group, requests, failed, cacheHits])).toEqual([
      [{ day: '1970-02-01', model: 'two' }, 1, 1, 0],
      [{ day: '1970-01-31', model: 'demo' }, 1, 0, 0],
      [{ day: '1970-02-01', model: 'demo' }, 1, 0, 1],
    ]);
    expect(await ledger.usage.spent('key', 'key_s', 30 * day, 32 * day)).toBeCloseTo(12e-9, 15);
    expect(await ledger.usage.spent('team', 'sea', 30 * day, 32 * day)).toBeCloseTo(12e-9, 15);
    expect(await ledger.usage.sum({ fromMs: 90 * day, toMs: 91 * day, groupBy: [] })).toEqual([]);
  });

  test('keys come back as they were put, and change', async () => {
    const digest = await webDigest()('tg-secret');
    const key: KeyRecord = {
      id: 'key_1',
      name: "o'brien; DROP TABLE keys",
      digest,
      hint: 'tg-s…',
      role: 'admin',
      owner: 'ops',
      team: 'sea',
      tags: ['a', 'b'],
      models: ['demo*'],
      endpoints: ['/chat/*'],
      limits: { requestsPerMinute: 5 },
      priority: 'batch',
      createdAt: 1,
      expiresAt: 2_000_000_000_000,
    };
    expect(await ledger.keys.any()).toBe(false);
    await ledger.keys.add(key);
    expect(await other.keys.byDigest(digest)).toEqual(key);
    expect(await other.keys.any()).toBe(true);
    await expect(ledger.keys.add({ ...key, id: 'key_2' })).rejects.toThrow();
    expect(await ledger.keys.update({ ...key, revokedAt: 5 })).toBe(true);
    expect(await other.keys.byId('key_1')).toMatchObject({ revokedAt: 5 });
    expect(await other.keys.any()).toBe(true);
    expect(await ledger.keys.update({ ...key, id: 'key_none', digest: 'x' })).toBe(false);
  });

  test('objects belong to their owner, keep their order, and expire', async () => {
    const object = (id: string, owner = 'a', more = {}) => ({
      kind: 'file' as const,
      id,
      owner,
      createdAt: 1,
      body: { id },
      ...more,
    });
    const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => i % 256);
    await ledger.objects.put(object('f1', 'a', { bytes }));
    for (const id of ['f2', 'f3', 'f4']) await ledger.objects.put(object(id));
    await ledger.objects.put(object('f9', 'b'));
    await ledger.objects.put(object('f5', 'a', { expiresAt: 5 }));
    await ledger.objects.put(object('f1', 'a', { bytes, body: { id: 'f1', changed: true } }));
    expect((await other.objects.get('file', 'f1', 'a'))?.bytes).toEqual(bytes);
    expect(await other.objects.get('file', 'f1', 'b')).toBeUndefined();
    expect(await other.objects.get('file', 'f5', 'a')).toBeUndefined();
    const page = (after: string | undefined, order: 'asc' | 'desc') =>
      other.objects
        .list('file', 'a', { limit: 2, order, ...(after !== undefined && { after }) })
        .then(({ items, hasMore }) => [items.map(({ id }) => id), hasMore]);
    expect(await page(undefined, 'asc')).toEqual([['f1', 'f2'], true]);
    expect(await page('f2', 'asc')).toEqual([['f3', 'f4'], false]);
    expect(await page(undefined, 'desc')).toEqual([['f4', 'f3'], true]);
    expect((await other.objects.list('file', 'a', { limit: 9, order: 'asc' })).items[0]).not.toHaveProperty('bytes');
    expect(await ledger.objects.delete('file', 'f2', 'b')).toBe(false);
    expect(await ledger.objects.delete('file', 'f2', 'a')).toBe(true);
    expect((await other.objects.all('file')).map(({ id }) => id)).toEqual(['f1', 'f3', 'f4', 'f9']);
  });

  test('objects are found by the beginning of their id', async () => {
    for (const id of ['batch_a:1', 'batch_b:1', 'batch_a:2']) {
      await ledger.objects.put({ kind: 'batch-line', id, owner: 'a', createdAt: 1, body: {} });
    }
    const { items } = await other.objects.list('batch-line', 'a', { limit: 9, order: 'asc', idPrefix: 'batch_a:' });
    expect(items.map(({ id }) => id)).toEqual(['batch_a:1', 'batch_a:2']);
  });

  test('of two gateways one holds a lease; it can be prolonged, given back, and taken over when it has ended', async () => {
    const [mine, theirs] = [ledger.objects, other.objects];
    const taken = await Promise.all([mine.lease('race', 'a', 60_000), theirs.lease('race', 'b', 60_000)]);
    expect(taken.filter(Boolean)).toHaveLength(1);
    expect(await mine.lease('work', 'a', 60_000)).toBe(true);
    expect(await theirs.lease('work', 'b', 60_000)).toBe(false);
    expect(await mine.lease('work', 'a', 1)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await theirs.lease('work', 'b', 60_000)).toBe(true);
    expect(await mine.lease('work', 'a', 60_000)).toBe(false);
    await mine.release('work', 'a');
    expect(await mine.lease('work', 'a', 60_000)).toBe(false);
    await theirs.release('work', 'b');
    expect(await mine.lease('work', 'a', 60_000)).toBe(true);
  });

  test('feedback comes back newest first', async () => {
    const one = { id: 'fb1', requestId: 'r', score: 0.5, callerId: 'a', model: 'm', target: 't', at: 1 };
    const two = { ...one, id: 'fb2', at: 2, label: 'good', comment: 'ü', prompt: { id: 'p', version: '2' } };
    await ledger.feedback.add(one);
    await ledger.feedback.add(two);
    await ledger.feedback.add(two);
    expect(await other.feedback.list({ limit: 5 })).toEqual([two, one]);
  });

  describe('the audit chain', () => {
    let chain: Ledger;
    let twin: Ledger;
    const build = async () => {
      const [one, two] = await fresh();
      chain = await openTables(one);
      twin = await openTables(two);
      for (let i = 0; i < 5; i++) await chain.audit.append([event(`e${i}`, { at: i * 1000 })]);
    };

    test('holds what two gateways write at once, each event once', async () => {
      await build();
      const writes = Array.from({ length: 10 }, (_, i) =>
        (i % 2 === 0 ? chain : twin).audit.append([event(`w${i}`), event(`w${i}b`), event('shared')]),
      );
      await Promise.all(writes);
      expect(await chain.audit.verify()).toMatchObject({ intact: true, rows: 5 + 21 });
    });

    test.each([
      ['a changed row', 'UPDATE audit SET detail = \'{"x":1}\' WHERE seq = 3', 3],
      ['a removed row', 'DELETE FROM audit WHERE seq = 3', 4],
      ['a removed beginning', 'DELETE FROM audit WHERE seq <= 2', 3],
      [
        'two rows that changed places',
        'UPDATE audit SET at = CASE seq WHEN 2 THEN 2000 ELSE 1000 END WHERE seq IN (2, 3)',
        2,
      ],
    ])('shows %s', async (_name, sql, seq) => {
      await build();
      await chain.db.run(sql);
      expect(await twin.audit.verify()).toMatchObject({ intact: false, seq });
    });

    test('shows a cut-off end to who noted the head', async () => {
      await build();
      const before = await chain.audit.verify();
      if (!before.intact) throw new Error(before.reason);
      await chain.db.run('DELETE FROM audit WHERE seq = 5');
      expect(await chain.audit.verify()).toMatchObject({ intact: true });
      expect(await chain.audit.verify(before.head)).toMatchObject({ intact: false, seq: 5 });
    });

    test.runIf(engine.name === 'SQLite')(
      'shows a cut-off end by itself where the head was noted beside it',
      async () => {
        const folder = scratch();
        const open = () => openLedger(ledgerConfig().parse({}), auditConfig().parse({}), folder.path);
        const first = await open();
        for (let i = 0; i < 3; i++) await first.audit.append([event(`e${i}`)]);
        await first.db.close();
        const second = await open();
        expect(await second.audit.verify()).toMatchObject({ intact: true, rows: 3 });
        await second.db.run('DELETE FROM audit WHERE seq = 3');
        expect(await second.audit.verify()).toMatchObject({ intact: false, seq: 3 });
        await second.db.close();
        folder.remove();
      },
    );

    test('a secret keeps who can write to the database from forging it', async () => {
      const [one, two] = await fresh();
      const real = await openTables(one, { auditDigest: webDigest('operator-secret') });
      await real.audit.append([event('e1')]);
      const forger = await openTables(two);
      await forger.audit.append([event('forged')]);
      expect(await real.audit.verify()).toMatchObject({ intact: false, seq: 2 });
    });

    test('old rows may be pruned, and the chain says so itself', async () => {
      await build();
      expect(await chain.audit.prune(2500, (detail) => event('p1', { action: 'audit.prune', detail, at: 9000 }))).toBe(
        3,
      );
      expect(await twin.audit.verify()).toMatchObject({ intact: true, rows: 3 });
      await chain.db.run('DELETE FROM audit WHERE seq = 4');
      expect(await twin.audit.verify()).toMatchObject({ intact: false });
    });
  });
});

test.skipIf(sqliteVersion)('a Node without SQLite that lacks the package too is told what to install', async () => {
  const worker = new Worker(`const __name = (f) => f;\n(${sqliteThread.toString()})()`, {
    eval: true,
    workerData: { path: ':memory:', from: join(tmpdir(), 'elsewhere.js') },
  });
  try {
    const reply = once(worker, 'message');
    worker.postMessage({ id: 1, kind: 'all', statements: [] });
    expect(await reply).toMatchObject([{ id: 1, error: expect.stringMatching(/npm install libsql/) }]);
  } finally {
    await worker.terminate();
  }
});
