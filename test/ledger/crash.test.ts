import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { auditConfig, ledgerConfig } from '../../src/ledger/config.ts';
import { openLedgerWithBooks } from '../../src/ledger/open.node.ts';
import { faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { inCi, scratch } from './databases.ts';
import { newerNode, startProcess } from './processes.ts';

/** 200 take a minute or two; here `TIDEGATE_KILLS=200 npx vitest run test/ledger/crash.test.ts`. */
const kills = Number(process.env['TIDEGATE_KILLS'] ?? (inCi ? 200 : 24));
/** Gateways at once, on one ledger and one folder of write-ahead files: each finds what the others left behind. */
const lanes = [process.execPath, newerNode ?? process.execPath, newerNode ?? process.execPath];
const clients = 6;
const key = 'tg-crash-test-0123456789';
const words = ['Hel', 'lo', ' there'];

/** What a client asks, and how it knows that the answer is whole. */
const kinds = [
  { path: '/v1/chat/completions', model: 'passed', stream: true, end: 'data: [DONE]' },
  { path: '/v1/chat/completions', model: 'read', stream: false, end: '"finish_reason":"stop"' },
  { path: '/v1/messages', model: 'passed', stream: true, end: 'event: message_stop' },
  { path: '/v1/chat/completions', model: 'read', stream: true, end: 'data: [DONE]' },
  { path: '/v1/chat/completions', model: 'passed', stream: false, end: '"finish_reason":"stop"' },
] as const;

interface Seen {
  readonly started: Set<string>;
  readonly acknowledged: Set<string>;
}

function withResolvers() {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Asks until the gateway is gone; notes the id of every answer that arrived whole. */
async function load(
  url: string,
  { started, acknowledged }: Seen,
  gone: () => boolean,
  name: string,
  onAnswer: () => void,
) {
  for (let n = 0; !gone(); n++) {
    const id = `${name}-${n}`;
    const { path, model, stream, end } = kinds[n % kinds.length] ?? kinds[0];
    try {
      started.add(id);
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'x-request-id': id },
        body: JSON.stringify({ model, stream, max_tokens: 20, messages: [{ role: 'user', content: 'hi' }] }),
      });
      const text = await response.text(); // throws when the connection breaks off
      if (response.status !== 200 || !text.includes(end)) continue;
      acknowledged.add(id);
      onAnswer();
    } catch {
      // the gateway was killed
    }
  }
}

test(`killed ${kills} times at random moments under load, gateways have booked each answer that a client got, once`, async () => {
  const folder = scratch();
  await using upstream = await faultyUpstream(openaiServer(words));
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
  // Once in peace: who is killed cannot keep what it compiled.
  await (await startProcess(file, { node: lanes[1] })).stop();
  const seen: Seen = { started: new Set(), acknowledged: new Set() };
  const startedMs = performance.now();
  let next = 0;
  const lane = async (node: string) => {
    for (let kill = next++; kill < kills; kill = next++) {
      const gateway = await startProcess(file, { node });
      let gone = false;
      const { promise: answered, resolve } = withResolvers();
      const loads = Array.from({ length: clients }, (_, c) =>
        load(gateway.url, seen, () => gone, `k${kill}c${c}`, resolve),
      );
      await Promise.race([answered, ...loads]);
      await sleep(Math.random() * 150);
      gone = true;
      await gateway.kill();
      await Promise.all(loads);
    }
  };
  await Promise.all(lanes.map(lane));

  const { ledger, books } = await openLedgerWithBooks(
    ledgerConfig().parse({}),
    auditConfig().parse({}),
    folder.path,
    () => {},
  );
  await books.settled();
  const rows = await ledger.db.all(
    `SELECT request_id, COUNT(*) AS times, MIN(prompt_tokens) AS prompt, MIN(completion_tokens) AS completion,
       MIN(outcome) AS outcome FROM usage GROUP BY request_id`,
  );
  const booked = new Map(rows.map((row) => [String(row['request_id']), row]));
  const chain = await ledger.audit.verify();
  await books.close();
  await ledger.db.close();
  folder.remove();

  const { started, acknowledged } = seen;
  console.info(
    `${kills} kills in ${Math.round((performance.now() - startedMs) / 1000)} s: ${started.size} requests begun, ` +
      `${acknowledged.size} answers got whole, ${booked.size} booked`,
  );
  expect([...acknowledged].filter((id) => !booked.has(id))).toEqual([]);
  expect([...booked].filter(([, { times }]) => times !== 1)).toEqual([]);
  expect([...booked.keys()].filter((id) => !started.has(id))).toEqual([]);
  // And with what the upstream said it was.
  const wrong = [...acknowledged].filter((id) => {
    const row = booked.get(id);
    return row?.['outcome'] !== 'ok' || row['prompt'] !== 3 || Number(row['completion']) < 2;
  });
  expect(wrong).toEqual([]);
  expect(acknowledged.size).toBeGreaterThan(kills);
  expect(chain).toMatchObject({ intact: true, rows: booked.size });
}, 1_800_000);
