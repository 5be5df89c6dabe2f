import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import {
  chunk,
  done,
  type FaultyUpstream,
  faultyUpstream,
  finishChunk,
  json,
  openaiServer,
  sse,
} from '../faulty-upstream.ts';

/** Each of a kind of its own, so that a leak says where it came from. */
const planted = {
  content: 'ann.planted@example.org',
  user: 'bob.planted@example.org',
  metadata: 'eve.planted@example.org',
  tool: 'joe.planted@example.org',
  phone: '+49 30 9182736',
};
const isPlanted = /planted@example|9182736/;

const folder = mkdtempSync(join(tmpdir(), 'tidegate-sinks-'));
const logLines: string[] = [];
const exported: string[] = [];
const collector = createServer((request, response) => {
  request.setEncoding('latin1').on('data', (piece: string) => exported.push(piece));
  request.on('end', () => response.writeHead(200).end());
});
let upstream: FaultyUpstream;
let gateway: RunningGateway;

beforeAll(async () => {
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
  const file = join(folder, 'tidegate.yaml');
  writeFileSync(
    file,
    `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }
filters:
  pii: { kind: pii, restore: true }
  words: { kind: patterns, phrases: [forbidden], action: block, on: input }
  hide: { kind: patterns, phrases: [quoted.planted], action: mask, on: output }
models:
  hidden: { targets: [{ provider: up, model: m }], filters: [hide] }
  chat: { targets: [{ provider: up, model: m }], filters: [pii, words], timeouts: { firstTokenMs: 500 }, cache: { ttl: 1m } }
cache: { response: { ttl: 1m } }
ledger: { url: "file:${join(folder, 'ledger.db')}", spool: "${join(folder, 'spool')}" }
audit: { content: { keep: true } }
observability: { traces: { url: "http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces", content: true } }
`,
  );
  gateway = await startGateway({
    port: 0,
    configFile: file,
    log: { level: 'trace', destination: { write: (line: string) => void logLines.push(line) } },
  });
});
afterAll(async () => {
  await upstream.close();
  collector.closeAllConnections();
  collector.close();
  rmSync(folder, { recursive: true });
});

const ask = (change: object = {}) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    },
    body: JSON.stringify({
      model: 'chat',
      stream: true,
      temperature: 0,
      user: planted.user,
      metadata: { contact: planted.metadata },
      messages: [
        { role: 'user', content: `I am ${planted.content}, call ${planted.phone}` },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'c1', type: 'function', function: { name: 'mail', arguments: JSON.stringify({ to: planted.tool }) } },
          ],
        },
        { role: 'tool', tool_call_id: 'c1', content: `sent to ${planted.tool}` },
      ],
      ...change,
    }),
  });
const echo = () => {
  upstream.answer(({ json }) => {
    const name = /\[EMAIL_\d\]/.exec(JSON.stringify(json))?.[0] ?? 'nobody';
    return { body: [sse(chunk({ content: `Dear ${name}` }), finishChunk()) + done] };
  });
};

/** Every file under a folder, as text. */
const filesIn = (path: string): string =>
  readdirSync(path)
    .map((name) => join(path, name))
    .map((name) => (statSync(name).isDirectory() ? filesIn(name) : readFileSync(name, 'latin1')))
    .join('\n');

test('what an upstream quotes in its failure is filtered where each attempt is told too', async () => {
  upstream.answer(json({ error: { message: 'no quoted.planted@example here' } }, 500));
  const failed = await ask({ model: 'hidden', messages: [{ role: 'user', content: 'hi' }], user: 'u', metadata: {} });
  expect(await failed.text()).toContain('no [phrase]@example here');
  const id = failed.headers.get('x-request-id');
  const explained = await (await fetch(`${gateway.url}/v1/explanations/${id}`)).text();
  expect(explained).toContain('"upstream_failed"');
  expect(explained).not.toMatch(isPlanted);
});

test('what is planted in a request reaches the answer, and no log, trace, ledger, spool or upstream, whether it succeeds or fails', async () => {
  echo();
  const answers = [await (await ask()).text(), await (await ask()).text()]; // the second from the response cache
  const said = (text: string) => [...text.matchAll(/"content":"([^"]*)"/g)].map((match) => match[1]).join('');
  for (const answer of answers) expect(said(answer)).toBe(`Dear ${planted.content}`);

  const statuses: number[] = [];
  const failing: (() => Promise<Response>)[] = [
    () => ask({ model: 'unknown' }),
    () => ask({ messages: [{ role: 'user', content: `forbidden ${planted.content}` }] }),
    () => ask({ prompt: { id: 'chat/none', variables: { who: planted.content } } }),
    () => {
      upstream.answer(json({ error: { message: 'no' } }, 500));
      return ask({ seed: 1 });
    },
    () => {
      upstream.answer({ body: ['stall'] });
      return ask({ seed: 2 });
    },
    () => {
      upstream.answer({ body: [sse(chunk({ content: 'Dear [EMA' })), { wait: 20 }, 'reset'] });
      return ask({ seed: 3 });
    },
  ];
  for (const fail of failing) {
    const response = await fail();
    statuses.push(response.status);
    await response.text().catch(() => '');
  }
  expect(statuses.slice(0, 3)).toEqual([404, 400, 400]);
  expect(statuses[3]).toBeGreaterThanOrEqual(500);

  for (const request of upstream.requests) expect(request.text).not.toMatch(isPlanted);
  await gateway.close(); // everything is written and exported
  expect(logLines.length).toBeGreaterThan(5);
  expect(logLines.filter((line) => isPlanted.test(line))).toEqual([]);
  expect(exported.join('').length).toBeGreaterThan(500);
  expect(exported.join('')).not.toMatch(isPlanted);
  const files = filesIn(folder);
  expect(files).toContain('chat'); // the books are there
  expect(files).not.toMatch(isPlanted);
}, 60_000);
