import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type BooksAlert, type Entry, openBooks } from '../../src/ledger/books.ts';
import { auditConfig, ledgerConfig } from '../../src/ledger/config.ts';
import { type Ledger, openTables } from '../../src/ledger/ledger.ts';
import { openLedger } from '../../src/ledger/open.node.ts';
import { openPostgres } from '../../src/ledger/postgres.node.ts';
import { openSpool } from '../../src/ledger/spool.node.ts';
import { openSqlite } from '../../src/ledger/sqlite.node.ts';
import type { UsageRow } from '../../src/ledger/usage.ts';
import { hasServer, scratch, startPostgres } from './databases.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const { path, remove } = scratch();
  cleanups.push(remove);
  return path;
}

const rowOf = (requestId: string): UsageRow => ({
  id: requestId,
  requestId,
  at: 5,
  callerId: 'a',
  model: 'm',
  endpoint: '/v1/chat/completions',
  cache: 'miss',
  outcome: 'ok',
  status: 200,
  stream: false,
  promptTokens: 1,
  completionTokens: 1,
  cachedTokens: 0,
  reasoningTokens: 0,
  estimated: false,
  attempts: 1,
  durationMs: 1,
});

const entry = (requestId: string): Entry => ({ kind: 'usage', row: rowOf(requestId) });

const ids = async (ledger: Ledger) =>
  (await ledger.db.all('SELECT request_id FROM usage ORDER BY request_id')).map((row) => row['request_id']);

async function booksIn(path: string, options: Partial<Parameters<typeof openBooks>[0]> = {}) {
  const ledger = await openTables(openSqlite(join(path, 'ledger.db')));
  const queue = options.queue ?? (await openSpool({ folder: join(path, 'spool') }));
  const alerts: BooksAlert[] = [];
  const books = await openBooks({
    db: ledger.db,
    audit: ledger.audit,
    queue,
    everyMs: 20,
    alert: (alert) => alerts.push(alert),
    ...options,
  });
  cleanups.push(async () => {
    await books.close();
    await ledger.db.close();
  });
  return { ledger, books, alerts, queue };
}

/** The write-ahead file of a process that is no more: pid 4194304 and above are never given out on Linux by default. */
const orphanName = (n = 0) => `${hostname().replace(/[^\w.]/g, '_')}-99999999-orphan${n}.spool`;

/** What a process leaves that was killed after it wrote these. */
async function leftBehind(path: string, requestIds: readonly string[]): Promise<string> {
  const spool = await openSpool({ folder: join(path, 'before') });
  await spool.append(requestIds.map((id) => JSON.stringify(entry(id))));
  const [name = ''] = readdirSync(join(path, 'before'));
  const bytes = readFileSync(join(path, 'before', name));
  await spool.taken(await spool.read(1000));
  await spool.close();
  const file = join(path, 'spool', orphanName());
  const keeper = await openSpool({ folder: join(path, 'spool') }); // makes the folder
  await keeper.close();
  writeFileSync(file, bytes);
  return file;
}

test('a database that is closed amid calls answers those before and refuses those after, and the process lives', async () => {
  for (let round = 0; round < 30; round++) {
    const db = openSqlite(join(folder(), 'ledger.db'));
    await openTables(db);
    let refused = 0;
    const some = (n: number) => Array.from({ length: n }, () => db.all('SELECT * FROM usage').catch(() => refused++));
    const before = Promise.all(some(20));
    const closing = db.close();
    const after = Promise.all(some(20));
    await Promise.all([before, closing, after]);
    expect(refused).toBe(20);
  }
});

describe('the books', () => {
  test('what was written is in the database soon, each entry once', async () => {
    const { books, ledger } = await booksIn(folder());
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => books.write([entry(`r${String(i % 150).padStart(3, '0')}`)])),
    );
    await books.settled();
    expect(await ids(ledger)).toHaveLength(150);
  });

  test('what a killed process had written is booked at the next start, and its file goes', async () => {
    const path = folder();
    await leftBehind(path, ['r1', 'r2', 'r3']);
    const { ledger } = await booksIn(path);
    expect(await ids(ledger)).toEqual(['r1', 'r2', 'r3']);
    expect(readdirSync(join(path, 'spool'))).not.toContain(orphanName());
  });

  test('cut at any byte of its tail, the file gives all records but the torn one', async () => {
    const path = folder();
    const file = await leftBehind(path, ['r1', 'r2', 'r3']);
    const whole = readFileSync(file);
    const lines = whole.toString().split('\n');
    const second = `${lines[0]}\n${lines[1]}\n`.length;
    for (let cut = second; cut < whole.length; cut += 13) {
      const here = folder();
      await leftBehind(here, []);
      const torn = join(here, 'spool', orphanName());
      writeFileSync(torn, whole);
      truncateSync(torn, cut);
      const queue = await openSpool({ folder: join(here, 'spool') });
      const seen: string[] = [];
      await queue.adopt(
        async (records) =>
          void seen.push(...records.map((r) => (JSON.parse(r) as { row: { requestId: string } }).row.requestId)),
      );
      await queue.close();
      expect(seen).toEqual(['r1', 'r2']);
    }
  });

  test('a rotten line is left out, and those after it are not', async () => {
    const path = folder();
    const file = await leftBehind(path, ['r1', 'r2', 'r3']);
    const bytes = readFileSync(file);
    bytes.write('X', bytes.indexOf('r2'));
    writeFileSync(file, bytes);
    const { ledger } = await booksIn(path);
    expect(await ids(ledger)).toEqual(['r1', 'r3']);
  });

  test('an entry that the database will never take is set aside, and holds up none of the others', async () => {
    const rejected: string[] = [];
    const { books, ledger } = await booksIn(folder(), { reject: async (records) => void rejected.push(...records) });
    const poison = { kind: 'usage', row: { ...rowOf('poison'), callerId: null } } as unknown as Entry; // as a bug would
    const all = ['r1', 'r2', 'r3', 'r4'].map(entry);
    await books.write([...all.slice(0, 2), poison, ...all.slice(2)]);
    await books.settled();
    expect(await ids(ledger)).toEqual(['r1', 'r2', 'r3', 'r4']);
    expect(rejected.map((record) => (JSON.parse(record) as { row: { id: string } }).row.id)).toEqual(['poison']);
    expect(books.state()).toBe('ok');
  });

  test('the file of a living process is left alone', async () => {
    const path = folder();
    const living = `${hostname().replace(/[^\w.]/g, '_')}-${process.ppid}-alive.spool`;
    await leftBehind(path, []);
    writeFileSync(join(path, 'spool', living), 'not mine');
    await booksIn(path);
    expect(readdirSync(join(path, 'spool'))).toContain(living);
  });

  test('two gateways that start at once book what was left behind once', async () => {
    const path = folder();
    await leftBehind(
      path,
      Array.from({ length: 50 }, (_, i) => `r${i}`),
    );
    const [one] = await Promise.all([booksIn(path), booksIn(path)]);
    await one.books.settled();
    expect(await ids(one.ledger)).toHaveLength(50);
  });

  test.each(Array.from({ length: 6 }, (_, n) => n))(
    'the disk is full at write %i: no crash, and nothing acknowledged is lost',
    async (failing) => {
      const path = folder();
      let writes = 0;
      let full = false;
      const queue = await openSpool({
        folder: join(path, 'spool'),
        open: async (...args: Parameters<typeof open>) => {
          const file = await open(...args);
          const write = file.write.bind(file);
          // Half of it goes, then the disk is full: what real disks do.
          file.write = (async (buffer: Buffer, offset: number, length: number, position: number) => {
            if (writes++ === failing || full) {
              full = true;
              await write(buffer, offset, Math.floor(length / 2), position);
              throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
            }
            return write(buffer, offset, length, position);
          }) as unknown as typeof file.write; // the one overload that the spool uses
          return file;
        },
      });
      const { books, ledger, alerts } = await booksIn(path, { queue, everyMs: 100_000 });
      for (let i = 0; i < 6; i++) await books.write([entry(`r${i}`)]);
      expect(books.state()).toBe('lost');
      expect(alerts).toEqual([{ state: 'lost', error: expect.objectContaining({ code: 'ENOSPC' }) }]);
      full = false;
      await books.settled();
      expect(await ids(ledger)).toEqual(['r0', 'r1', 'r2', 'r3', 'r4', 'r5']);
      expect(books.state()).toBe('ok');
    },
  );

  test('where the policy is to refuse, a full disk makes a request fail instead of going unbooked', async () => {
    const queue = await openSpool({ folder: folder(), maxBytes: 10 });
    const { books } = await booksIn(folder(), { queue, whenLost: () => 'refuse' });
    await expect(books.write([entry('r1')])).rejects.toMatchObject({ kind: 'unavailable', status: 503 });
  });

  test('a database file that is taken away holds nothing more: entries wait, and arrive when it is back', async () => {
    const path = folder();
    const { books, ledger, alerts } = await booksIn(path);
    await books.write([entry('r1')]);
    await books.settled();
    for (const file of ['ledger.db', 'ledger.db-wal', 'ledger.db-shm']) {
      copyFileSync(join(path, file), join(path, `kept.${file}`));
      rmSync(join(path, file));
    }
    await books.write([entry('r2')]);
    await expect.poll(() => books.state(), { timeout: 10_000 }).toBe('spooling');
    await expect(ids(ledger)).rejects.toMatchObject({ kind: 'unavailable', status: 503 });
    for (const file of ['ledger.db-wal', 'ledger.db-shm', 'ledger.db']) {
      renameSync(join(path, `kept.${file}`), join(path, file));
    }
    await expect.poll(() => books.state(), { timeout: 10_000 }).toBe('ok');
    expect(await ids(ledger)).toEqual(['r1', 'r2']);
    expect(alerts.map(({ state }) => state)).toEqual(['spooling', 'ok']);
  });

  test.runIf(hasServer('postgres'))(
    'the database goes and comes back: entries wait in the file, and arrive',
    async () => {
      const server = await startPostgres();
      cleanups.push(() => server.stop());
      const ledger = await openTables(await openPostgres(server.url));
      const { books, alerts } = await booksIn(folder(), { db: ledger.db, audit: ledger.audit });
      cleanups.push(() => ledger.db.close());
      await books.write([entry('r1')]);
      await books.settled();
      await server.kill();
      await books.write([entry('r2')]);
      await books.write([entry('r3')]);
      await expect.poll(() => books.state(), { timeout: 10_000 }).toBe('spooling');
      await server.start();
      await expect
        .poll(
          () =>
            books.settled().then(
              () => true,
              () => false,
            ),
          { timeout: 20_000, interval: 200 },
        )
        .toBe(true);
      expect(await ids(ledger)).toEqual(['r1', 'r2', 'r3']);
      expect(alerts.map(({ state }) => state)).toEqual(['spooling', 'ok']);
    },
  );

  test.runIf(hasServer('postgres'))(
    'the password of the database is changed while it is in use: entries wait until it is right again',
    async () => {
      const server = await startPostgres();
      cleanups.push(() => server.stop());
      const admin = await openPostgres(server.url);
      cleanups.push(() => admin.close());
      await admin.run("CREATE ROLE app SUPERUSER LOGIN PASSWORD 'old'");
      const [hba] = await admin.all("SELECT current_setting('hba_file') AS path");
      const rules = "VALUES ('host all app 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust')";
      await admin.run(`COPY (${rules}) TO '${hba?.['path']}'`);
      await admin.run('SELECT pg_reload_conf()');
      const ledger = await openTables(await openPostgres(server.url.replace('tidegate@', 'app:old@')));
      cleanups.push(() => ledger.db.close());
      const { books, alerts } = await booksIn(folder(), { db: ledger.db, audit: ledger.audit });
      await books.write([entry('r1')]);
      await books.settled();
      await admin.run("ALTER ROLE app PASSWORD 'new'");
      await admin.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
      await books.write([entry('r2')]);
      await expect.poll(() => books.state(), { timeout: 10_000 }).toBe('spooling');
      await expect(ids(ledger)).rejects.toMatchObject({ kind: 'unavailable', cause: { code: '28P01' } });
      await admin.run("ALTER ROLE app PASSWORD 'old'");
      await expect.poll(() => books.state(), { timeout: 10_000 }).toBe('ok');
      expect(await ids(ledger)).toEqual(['r1', 'r2']);
      expect(alerts.map(({ state }) => state)).toEqual(['spooling', 'ok']);
    },
  );

  test.runIf(hasServer('postgres'))('a database that hangs keeps no client waiting for what it stored', async () => {
    const server = await startPostgres();
    cleanups.push(() => server.stop());
    const ledger = await openTables(await openPostgres(server.url));
    cleanups.push(() => ledger.db.close());
    const admin = await openPostgres(server.url);
    cleanups.push(() => admin.close());
    const held = admin.transaction([
      { sql: 'LOCK TABLE objects IN ACCESS EXCLUSIVE MODE' },
      { sql: 'SELECT pg_sleep(6)' },
    ]);
    await expect
      .poll(async () => (await ledger.db.all("SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock'")).length)
      .toBeGreaterThan(0);
    const startedMs = performance.now();
    await Promise.all(
      Array.from({ length: 12 }, () =>
        expect(ledger.objects.get('response', 'resp_1', 'a')).rejects.toMatchObject({ kind: 'unavailable' }),
      ),
    );
    expect(performance.now() - startedMs).toBeLessThan(5_500);
    await held;
    expect(await ledger.objects.get('response', 'resp_1', 'a')).toBeUndefined();
  });

  test.each([
    {
      what: 'no database',
      bytes: 'this is no database, but some text that somebody wrote here',
      says: /not a database/,
    },
    { what: 'a folder', bytes: undefined, says: /unable to open/i },
  ])('a ledger that is $what is refused at the start with the reason', async ({ bytes, says }) => {
    const path = folder();
    if (bytes === undefined) mkdirSync(join(path, 'ledger.db'));
    else writeFileSync(join(path, 'ledger.db'), bytes);
    const config = ledgerConfig().parse({ url: 'file:ledger.db' });
    await expect(openLedger(config, auditConfig().parse({}), path)).rejects.toThrow(says);
  });
});
