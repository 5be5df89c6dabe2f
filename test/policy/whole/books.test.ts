import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openTables } from '../../../src/ledger/ledger.ts';
import { openSqlite } from '../../../src/ledger/sqlite.node.ts';
import { insertUsage } from '../../../src/ledger/usage.ts';
import { scratch } from '../../ledger/databases.ts';
import { gatewayOf, root, user } from './harness.ts';

test('what a filter or a scope refused is in the audit, with what decided it; what a limit refused is not', async () => {
  const { chat, admin } = await gatewayOf(
    `filters: { words: { kind: patterns, phrases: [forbidden-word], action: block } }
models:
  demo: { targets: [{ provider: up, model: m }], filters: [words] }
  other: { targets: [{ provider: up, model: m }] }
keys:
  fixed:
    - { name: user, key: ${user}, models: [demo], limits: { requestsPerMinute: 3 } }
    - { name: root, key: ${root}, role: admin }
ledger: {}
`,
  );
  const blocked = await chat({ messages: [{ role: 'user', content: 'a forbidden-word' }] });
  expect(blocked.status).toBe(400);
  for (let i = 0; i < 5; i++) expect((await chat({ model: 'other' })).status).toBe(403); // told once a minute
  for (let i = 0; i < 6; i++) await (await chat()).text();
  const { data } = (await admin('/admin/audit?action=request')) as { data: { subject: string; detail: string }[] };
  const details = data.map(({ subject, detail }) => ({ subject, ...JSON.parse(detail) }));
  const outcomes = details.map(({ outcome }) => outcome).sort();
  expect(outcomes).toEqual(['content_blocked', 'forbidden', 'ok', 'ok']);
  const refusal = details.find(({ outcome }) => outcome === 'content_blocked');
  expect(refusal.decisions).toEqual([expect.objectContaining({ name: 'words', action: 'block' })]);
  expect(JSON.stringify(details)).not.toContain('forbidden-word');
});

test('usage older than its retention goes when the gateway starts, and stays where none is set', async () => {
  const folder = scratch();
  const day = 86_400_000;
  const old = await openTables(openSqlite(join(folder.path, '.tidegate/ledger.db')));
  const row = (id: string, at: number) =>
    insertUsage({
      ...{ id, requestId: id, at, callerId: 'a', model: 'm', endpoint: '/v1/chat/completions', cache: 'miss' },
      ...{ outcome: 'ok', status: 200, stream: false, promptTokens: 1, completionTokens: 1, cachedTokens: 0 },
      ...{ reasoningTokens: 0, estimated: false, attempts: 1, durationMs: 1 },
    });
  await old.db.transaction([row('old', Date.now() - 40 * day), row('new', Date.now() - 20 * day)]);
  await old.db.close();
  const { admin, write, restart } = await gatewayOf('ledger: {}\n', undefined, folder);
  const requests = async () =>
    ((await admin('/v1/usage?from=300d&by=key')) as { data: { requests: number }[] }).data[0]?.requests;
  expect(await requests()).toBe(2);
  write('ledger: { usageRetention: 30d }\n');
  await restart();
  await expect.poll(requests).toBe(1);
});
