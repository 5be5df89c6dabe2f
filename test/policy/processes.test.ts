import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTables } from '../../src/ledger/ledger.ts';
import { openPostgres } from '../../src/ledger/postgres.node.ts';
import { openSqlite } from '../../src/ledger/sqlite.node.ts';
import { type FaultyUpstream, faultyUpstream, type RecordedRequest } from '../faulty-upstream.ts';
import { hasServer, type Server, scratch, startPostgres, startRedis } from '../ledger/databases.ts';
import { type GatewayProcess, newerNode, startProcess } from '../ledger/processes.ts';

const root = 'tg-root-0123456789abcdef';
const fixed = (name: string, more: string) => `{ name: ${name}, key: tg-${name}-0123456789abcdef${more} }`;
const keyOf = (name: string) => `tg-${name}-0123456789abcdef`;

/** Answers after a while with five tokens; counts how many it makes at once. */
function slowServer(upstream: FaultyUpstream) {
  const state = { open: 0, most: 0 };
  const chunk = (delta: object, finish: string | null, usage?: object) =>
    `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: finish === 'usage' ? [] : [{ index: 0, delta, finish_reason: finish }], ...(usage && { usage }) })}\n\n`;
  upstream.answer(async ({ json }: RecordedRequest) => {
    state.open++;
    state.most = Math.max(state.most, state.open);
    await sleep(60);
    state.open--;
    const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
    if (!json.stream) {
      const choices = [{ index: 0, message: { role: 'assistant', content: 'a b c d e' }, finish_reason: 'stop' }];
      return {
        headers: { 'content-type': 'application/json' },
        body: [JSON.stringify({ id: 'c', object: 'chat.completion', created: 1, model: 'm', choices, usage })],
      };
    }
    const words = ['a', ' b', ' c', ' d', ' e'].map((content) => chunk({ content }, null));
    return { body: [...words, chunk({}, 'stop'), chunk({}, 'usage', usage), 'data: [DONE]\n\n'] };
  });
  return state;
}

describe.runIf(hasServer('redis-server') && hasServer('postgres'))(
  'two gateway processes on one Redis and one Postgres',
  () => {
    const folder = scratch();
    let redis: Server;
    let postgres: Server;
    let upstream: FaultyUpstream;
    let gateways: GatewayProcess[];

    beforeAll(async () => {
      [redis, postgres, upstream] = await Promise.all([startRedis(), startPostgres(), faultyUpstream()]);
      const file = join(folder.path, 'tidegate.yaml');
      writeFileSync(
        file,
        `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-test } }
models:
  demo: { targets: [{ provider: up, model: m }] }
  kept: { targets: [{ provider: up, model: m }], cache: { ttl: 1m } }
keys:
  fixed:
    - ${fixed('root', ', role: admin')}
    - ${fixed('free', '')}
    - ${fixed('requests', ', limits: { requestsPerMinute: 100 }')}
    - ${fixed('tokens', ', limits: { tokensPerMinute: 1500 }')}
    - ${fixed('streams', ', limits: { streams: 4 }')}
    - ${fixed('money', '')}
prices: { overrides: { "up/*": { input: 0, output: 1000 } } }
budgets: [{ name: purse, per: key, only: [money], usd: 0.2, period: month }]
limits: { store: "${redis.url}" }
cache: { store: "${redis.url}" }
ledger: { url: "${postgres.url}", spool: spool }
`,
      );
      // At once: both find an empty database.
      gateways = await Promise.all([startProcess(file), startProcess(file, { node: newerNode })]);
    });
    afterAll(async () => {
      await Promise.all((gateways ?? []).map((gateway) => gateway.kill()));
      await Promise.all([redis?.stop(), postgres?.stop(), upstream?.close()]);
      folder.remove();
    });

    const call = (which: number, method: string, path: string, key: string, body?: object, headers = {}) =>
      fetch(`${gateways[which % 2]?.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
        ...(body && { body: JSON.stringify(body) }),
      });
    const chat = (which: number, key: string, more: object = {}, headers = {}) =>
      call(
        which,
        'POST',
        '/v1/chat/completions',
        key,
        { model: 'demo', messages: [{ role: 'user', content: 'hi' }], ...more },
        headers,
      );
    /** So many at once, by turns at both; their statuses. */
    const storm = async (times: number, key: string, more: object = {}) =>
      Promise.all(
        Array.from({ length: times }, async (_, i) => {
          const response = await chat(i, key, { max_tokens: 5, stream: i % 3 === 0, ...more });
          await response.text();
          return response.status;
        }),
      );
    const count = (statuses: readonly number[], status: number) => statuses.filter((one) => one === status).length;

    test('requests per minute are exact together', async () => {
      slowServer(upstream);
      const statuses = await storm(240, keyOf('requests'));
      expect([count(statuses, 200), count(statuses, 429)]).toEqual([100, 140]);
    });

    test('tokens per minute are never over, and within a request of the limit when the answers have ended', async () => {
      slowServer(upstream);
      // Each uses 15 and reserves 5 more or fewer: rounds, so that what was reserved too much comes back.
      let admitted = 0;
      for (let round = 0; round < 12; round++) admitted += count(await storm(20, keyOf('tokens')), 200);
      expect(admitted * 15).toBeLessThanOrEqual(1500 + 15);
      expect(admitted * 15).toBeGreaterThanOrEqual(1500 - 2 * 15);
    });

    test('answers at once are never more than the limit, and all places are used', async () => {
      const state = slowServer(upstream);
      const statuses = await storm(60, keyOf('streams'));
      expect(state.most).toBe(4);
      expect(count(statuses, 200)).toBeGreaterThanOrEqual(4);
      expect(count(statuses, 429)).toBe(60 - count(statuses, 200));
      expect(await storm(3, keyOf('streams'))).toEqual([200, 200, 200]); // all places came back
    });

    test('a budget pays for exactly what it names: forty answers of half a cent', async () => {
      slowServer(upstream);
      const statuses = await storm(100, keyOf('money'));
      expect([count(statuses, 200), count(statuses, 429)]).toEqual([40, 60]);
    });

    test('equal requests at both are one call, streamed or whole', async () => {
      slowServer(upstream);
      const before = upstream.requests.length;
      const answers = await Promise.all(
        Array.from({ length: 60 }, async (_, i) => {
          const response = await chat(i, keyOf('free'), { model: 'kept', stream: i % 2 === 0 });
          const text = await response.text();
          return [...text.matchAll(/"content":"([^"]*)"/g)].map(([, piece]) => piece).join('');
        }),
      );
      expect(new Set(answers)).toEqual(new Set(['a b c d e']));
      expect(upstream.requests.length - before).toBe(1);
    });

    test('a key made at one is good at the other at once, and refused there within seconds of its end', async () => {
      const made = (await (await call(0, 'POST', '/admin/keys', root, { name: 'ada' })).json()) as {
        id: string;
        key: string;
      };
      expect((await call(1, 'GET', '/v1/models', made.key)).status).toBe(200);
      expect((await call(0, 'DELETE', `/admin/keys/${made.id}`, root)).status).toBe(200);
      expect((await call(0, 'GET', '/v1/models', made.key)).status).toBe(401);
      const status = async () => (await call(1, 'GET', '/v1/models', made.key)).status;
      await expect.poll(status, { timeout: 4000, interval: 100 }).toBe(401);
    });

    test('a retry with its Idempotency-Key at the other gateway gets the same answer, while the first runs and after', async () => {
      slowServer(upstream);
      const before = upstream.requests.length;
      const send = async (which: number, text = 'pay once') => {
        const response = await chat(
          which,
          keyOf('free'),
          { stream: true, messages: [{ role: 'user', content: text }] },
          { 'idempotency-key': 'order-1' },
        );
        return { status: response.status, text: (await response.text()).replace(/"(id|created)":[^,]*,/g, '') };
      };
      const [first, second] = await Promise.all([send(0), sleep(15).then(() => send(1))]);
      expect(first.status).toBe(200);
      expect(second).toEqual(first);
      expect(await send(1)).toEqual(first);
      expect((await send(1, 'another body')).status).toBe(409);
      expect(upstream.requests.length - before).toBe(1);
    });

    test('both write one set of books, and either can read all of it', async () => {
      const sums = async (which: number) => {
        const { data } = (await (await call(which, 'GET', '/v1/usage?by=key', root)).json()) as {
          data: { key: string; requests: number; cost_usd: number }[];
        };
        return data.map(({ key, requests, cost_usd }) => [key, requests, cost_usd]);
      };
      await sums(0);
      await sums(1); // each has written its own by then
      const [one, two] = [await sums(0), await sums(1)];
      expect(one).toEqual(two);
      const requests = one.reduce((sum, [, n]) => sum + Number(n), 0);
      const money = one.find(([, n]) => n === 40);
      expect(money?.[2]).toBeCloseTo(0.2, 9);
      expect(requests).toBeGreaterThan(100 + 40 + 60);
      expect(await (await call(0, 'GET', '/admin/audit/verify', root)).json()).toMatchObject({ intact: true });
    });

    test('while the database is away both go on, tell so, and book everything when it is back', async () => {
      slowServer(upstream);
      const free = keyOf('free');
      const total = async () => {
        const ledger = await openTables(await openPostgres(postgres.url));
        const [row] = await ledger.db.all('SELECT COUNT(*) AS n FROM usage');
        await ledger.db.close();
        return Number(row?.['n']);
      };
      await call(0, 'GET', '/v1/usage', root);
      await call(1, 'GET', '/v1/usage', root);
      const before = await total();
      await postgres.kill();
      expect(count(await storm(10, free), 200)).toBe(10);
      const health = async () => (await (await call(0, 'GET', '/health', free)).text()).includes('spooling');
      await expect.poll(health, { timeout: 15_000, interval: 200 }).toBe(true);
      expect((await call(0, 'GET', '/v1/models', 'tg-never-seen-before')).status).toBe(503); // cannot be checked
      expect(count(await storm(10, free), 200)).toBe(10);
      await postgres.start();
      await expect.poll(total, { timeout: 30_000, interval: 300 }).toBe(before + 20);
    });
  },
);

test('three gateways that start at once on a new SQLite ledger bring it up together', async () => {
  const folder = scratch();
  await using upstream = await faultyUpstream();
  slowServer(upstream);
  const file = join(folder.path, 'tidegate.yaml');
  writeFileSync(
    file,
    `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-test } }
models: { demo: { targets: [{ provider: up, model: m }] } }
keys: { fixed: [${fixed('free', '')}] }
ledger: {}
`,
  );
  const nodes = [undefined, newerNode, newerNode];
  const gateways = await Promise.all(nodes.map((node) => startProcess(file, { node })));
  for (const { url, output } of gateways) {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keyOf('free')}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'demo', messages: [{ role: 'user', content: 'hi' }] }),
    });
    expect([response.status, output().includes('Warning')]).toEqual([200, false]);
    await response.text();
  }
  await Promise.all(gateways.map((gateway) => gateway.stop()));
  const ledger = await openTables(openSqlite(join(folder.path, '.tidegate/ledger.db')));
  expect(await ledger.db.all('SELECT COUNT(*) AS n FROM usage')).toEqual([{ n: 3 }]);
  const versions = (await ledger.db.all('SELECT version FROM migrations ORDER BY version')).map(
    (row) => row['version'],
  );
  expect(versions).toEqual(versions.map((_, i) => i + 1));
  await ledger.db.close();
  folder.remove();
});

const hasPrlimit = (() => {
  try {
    execFileSync('prlimit', ['--version']);
    return process.platform === 'linux';
  } catch {
    console.info('skipped: prlimit is not installed (apt-get install util-linux)');
    return false;
  }
})();

test.runIf(hasPrlimit)(
  'a disk that takes nothing more: the unbudgeted are served, the budgeted wait, and all is booked when there is room',
  async () => {
    const folder = scratch();
    await using upstream = await faultyUpstream();
    slowServer(upstream);
    await using receiver = await faultyUpstream({ body: [] });
    const alerts = () =>
      receiver.requests
        .flatMap(({ json }) => json.alerts)
        // On their way there the books may be seen spooling.
        .filter(({ labels }) => labels.alertname === 'TidegateUnwell' && labels.state === 'lost')
        .map(({ status, labels }) => [status, labels.part]);
    const file = join(folder.path, 'tidegate.yaml');
    writeFileSync(
      file,
      `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-test } }
models: { demo: { targets: [{ provider: up, model: m }] } }
keys: { fixed: [${fixed('free', '')}, ${fixed('money', '')}] }
budgets: [{ name: purse, per: key, only: [money], usd: 1, period: month }]
ledger: {}
observability: { alerts: { webhook: "${receiver.url}", every: 50ms, hold: 0s } }
`,
    );
    const gateway = await startProcess(file);
    const ask = async (name: string) => {
      const response = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${keyOf(name)}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'demo', max_tokens: 5, messages: [{ role: 'user', content: 'hi' }] }),
      });
      await response.text();
      return response.status;
    };
    // Every file of the process may hold one byte: what a full disk answers (EFBIG for ENOSPC), in the file and the database.
    const room = (bytes: string) =>
      execFileSync('prlimit', ['--pid', String(gateway.child.pid), `--fsize=${bytes}:unlimited`]);
    const health = async () => (await fetch(`${gateway.url}/health`)).text();
    expect([await ask('free'), await ask('money')]).toEqual([200, 200]);
    room('1');
    expect(await ask('free')).toBe(200);
    await expect.poll(health, { timeout: 15_000 }).toContain('lost');
    expect([await ask('free'), await ask('money'), await ask('free')]).toEqual([200, 503, 200]);
    await expect.poll(alerts, { timeout: 15_000 }).toEqual([['firing', 'ledger']]);
    room('unlimited');
    await expect.poll(health, { timeout: 15_000, interval: 200 }).not.toContain('lost');
    await expect.poll(() => alerts().at(-1)?.[0], { timeout: 15_000 }).toBe('resolved');
    expect(await ask('money')).toBe(200);
    await gateway.stop();
    const ledger = await openTables(openSqlite(join(folder.path, '.tidegate/ledger.db')));
    expect(await ledger.db.all("SELECT COUNT(*) AS n FROM usage WHERE outcome = 'ok'")).toEqual([{ n: 6 }]);
    expect(await ledger.audit.verify()).toMatchObject({ intact: true });
    await ledger.db.close();
    folder.remove();
  },
);
