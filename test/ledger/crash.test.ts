import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { auditConfig, ledgerConfig } from '../../src/ledger/config.ts';
import { openLedgerWithBooks } from '../../src/ledger/open.node.ts';
import { faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { scratch } from './databases.ts';

const root = resolve(import.meta.dirname, '../..');
/** 200 take minutes; `TIDEGATE_KILLS=200 npx vitest run test/ledger/crash.test.ts`. */
const kills = Number(process.env['TIDEGATE_KILLS'] ?? 12);
const clients = 8;
const key = 'tg-crash-test-0123456789';

/** A whole gateway in a process of its own. */
async function start(configFile: string): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [join(root, 'bin/tidegate.mjs'), 'serve', '-c', configFile, '-p', '0'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  let text = '';
  const url = await new Promise<string>((found, failed) => {
    const read = (piece: Buffer) => {
      text += piece;
      const match = /http:\/\/127\.0\.0\.1:\d+/.exec(text);
      if (match) found(match[0]);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('exit', () => failed(new Error(`the gateway ended: ${text}`)));
  });
  return { url, child };
}

/** Asks until the gateway is gone; gives the id of every answer that arrived whole. */
async function load(url: string, acknowledged: Set<string>, started: Set<string>, gone: () => boolean, name: string) {
  for (let n = 0; !gone(); n++) {
    const id = `${name}-${n}`;
    const stream = n % 2 === 0;
    try {
      started.add(id);
      const response = await fetch(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-request-id': id },
        body: JSON.stringify({
          model: n % 3 === 0 ? 'read' : 'passed',
          stream,
          messages: [{ role: 'user', content: 'hi' }],
        }),
      });
      const text = await response.text(); // throws when the connection breaks off
      const whole = stream ? text.trimEnd().endsWith('data: [DONE]') : text.includes('"finish_reason"');
      if (response.status === 200 && whole) acknowledged.add(id);
    } catch {
      // the gateway was killed
    }
  }
}

test(`killed ${kills} times at random moments under load, the gateway has booked each answer that a client got, once`, async () => {
  const folder = scratch();
  await using upstream = await faultyUpstream(openaiServer(['Hel', 'lo', ' there']));
  const file = join(folder.path, 'tidegate.yaml');
  writeFileSync(
    file,
    `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-test } }
filters: { words: { kind: patterns, phrases: [nothing-like-this], action: mask } }
models:
  passed: { targets: [{ provider: up, model: m }] }
  read: { targets: [{ provider: up, model: m }], filters: [words] }
keys: { fixed: [{ name: test, key: ${key} }] }
ledger: {}
`,
  );
  // Built once, so that the first start is like the others.
  execFileSync(process.execPath, [join(root, 'bin/tidegate.mjs'), '--version'], { cwd: root });
  const acknowledged = new Set<string>();
  const started = new Set<string>();
  for (let kill = 0; kill < kills; kill++) {
    const { url, child } = await start(file);
    let gone = false;
    const exit = new Promise((done) => child.once('exit', done));
    const loads = Array.from({ length: clients }, (_, c) =>
      load(url, acknowledged, started, () => gone, `k${kill}c${c}`),
    );
    await new Promise((wait) => setTimeout(wait, 50 + Math.random() * 400));
    gone = true;
    child.kill('SIGKILL');
    await exit;
    await Promise.all(loads);
  }

  const { ledger, books } = await openLedgerWithBooks(
    ledgerConfig.parse({}),
    auditConfig.parse({}),
    folder.path,
    () => {},
  );
  await books.settled();
  const rows = await ledger.db.all('SELECT request_id, COUNT(*) AS times FROM usage GROUP BY request_id');
  const booked = new Map(rows.map((row) => [String(row['request_id']), row['times']]));
  const chain = await ledger.audit.verify();
  await books.close();
  await ledger.db.close();
  folder.remove();

  console.info(
    `${kills} kills: ${started.size} requests begun, ${acknowledged.size} answers got whole, ${booked.size} booked`,
  );
  expect([...acknowledged].filter((id) => !booked.has(id))).toEqual([]);
  expect([...booked].filter(([, times]) => times !== 1)).toEqual([]);
  expect([...booked.keys()].filter((id) => !started.has(id))).toEqual([]);
  expect(acknowledged.size).toBeGreaterThan(kills);
  expect(chain).toMatchObject({ intact: true, rows: booked.size });
}, 1_800_000);
