import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { nodeDigest } from '../../../src/core/digest.node.ts';
import { openTables } from '../../../src/ledger/ledger.ts';
import { openSqlite } from '../../../src/ledger/sqlite.node.ts';
import { openaiServer, type Responder } from '../../faulty-upstream.ts';
import { gatewayOf, root } from './harness.ts';

describe('keys', () => {
  test('a pepper makes the digests of a stolen ledger useless, and other keys stop with another pepper', async () => {
    const keys = (pepper: string) =>
      `keys: { pepper: "${pepper}", fixed: [{ name: root, key: ${root}, role: admin }] }\nledger: {}\n`;
    const { call, write, restart, folder, chat } = await gatewayOf(keys('pepper-of-the-house-1'));
    const made = (await (await call('POST', '/admin/keys', { name: 'ada' }, {}, root)).json()) as { key: string };
    expect((await chat({}, {}, made.key)).status).toBe(200);
    await restart();
    expect((await chat({}, {}, made.key)).status).toBe(200);
    const ledger = await openTables(openSqlite(join(folder.path, '.tidegate/ledger.db')));
    const [row] = await ledger.db.all('SELECT digest FROM keys');
    await ledger.db.close();
    expect(row?.['digest']).toBe(await nodeDigest('pepper-of-the-house-1')(made.key));
    expect(row?.['digest']).not.toBe(await nodeDigest()(made.key));
    write(keys('pepper-of-the-house-2'));
    await restart();
    expect((await chat({}, {}, made.key)).status).toBe(401);
    expect((await chat({}, {}, root)).status).toBe(200);
  });

  test('a key that has expired stops at that moment; a rotated one overlaps as long as was said', async () => {
    const { call, chat } = await gatewayOf('ledger: {}\n');
    const make = async (path: string, body: object) =>
      (await (await call('POST', path, body, {}, root)).json()) as { id: string; key: string };
    const soon = await make('/admin/keys', { name: 'soon', expiresAt: Date.now() + 1500 });
    const turning = await make('/admin/keys', { name: 'turning' });
    expect((await chat({}, {}, soon.key)).status).toBe(200);
    const turned = await make(`/admin/keys/${turning.id}/rotate`, { overlap: '1s' });
    const statuses = async () =>
      Promise.all([soon, turning, turned].map(async ({ key }) => (await chat({}, {}, key)).status));
    expect(await statuses()).toEqual([200, 200, 200]);
    await expect.poll(statuses, { timeout: 5000, interval: 100 }).toEqual([401, 401, 200]);
    const refused = (await (await chat({}, {}, soon.key)).json()) as { error: { code: string } };
    expect(refused.error.code).toBe('expired_api_key');
  });
});

test('an upstream key that a caller brings is in no log, metric, audit, history, ledger, answer or error', async () => {
  const own = 'sk-callers-own-8f2c41d7';
  const echo: Responder = ({ headers, json: body }) =>
    body.messages?.[0]?.content === 'fail'
      ? { status: 401, body: [JSON.stringify({ error: { message: `Incorrect API key: ${headers.authorization}` } })] }
      : openaiServer(['Hel', 'lo'])({ json: body } as Parameters<Responder>[0]);
  const { chat, call, upstream, lines, folder } = await gatewayOf(
    `providers: { up: { type: openai-compatible, baseUrl: "UP", apiKey: sk-up, callerKeys: true } }
models: { demo: { targets: [{ provider: up, model: m }], cache: { ttl: 1m, scope: global, staleIfError: 1h } } }
ledger: {}
audit: { content: { keep: true } }
`,
    echo,
  );
  let answers = '';
  const headers = { 'x-tidegate-upstream-key': own };
  for (const more of [{}, { stream: true }, { messages: [{ role: 'user', content: 'fail' }] }]) {
    for (const extra of [{}, { 'idempotency-key': `k-${JSON.stringify(more).length}` }]) {
      const response = await chat(more, { ...headers, ...extra });
      answers += `${JSON.stringify([...response.headers])}${await response.text()}`;
    }
  }
  expect(upstream.requests.some((request) => request.headers.authorization === `Bearer ${own}`)).toBe(true);
  for (const path of ['/metrics', '/admin/audit?limit=1000', '/admin/requests', '/admin/contents', '/v1/usage']) {
    const response = await call('GET', path, undefined, {}, root);
    expect([path, response.status]).toEqual([path, 200]);
    answers += await response.text();
  }
  const state = join(folder.path, '.tidegate');
  const files = readdirSync(state, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  expect(files.length).toBeGreaterThan(1);
  const kept = files.map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1')).join('');
  expect(kept).toContain('Hello'); // what was kept is in there at all
  for (const sink of [answers, lines.join(''), kept]) expect(sink).not.toContain(own);
});
