import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { nodeDigest } from '../../src/core/digest.node.ts';
import { openTables } from '../../src/ledger/ledger.ts';
import { openSqlite } from '../../src/ledger/sqlite.node.ts';
import { insertUsage } from '../../src/ledger/usage.ts';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { faultyUpstream, openaiServer, type Responder, sse, usageChunk } from '../faulty-upstream.ts';
import { scratch } from '../ledger/databases.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const root = 'tg-root-0123456789abcdef';
const user = 'tg-user-0123456789abcdef';

/** A whole gateway with a key for `user`, one for `root`, and what a test says besides; `UP` is the upstream's address. */
async function gatewayOf(config: string, answer: Responder = openaiServer(['Hel', 'lo']), folder = scratch()) {
  const upstream = await faultyUpstream(answer);
  const file = join(folder.path, 'tidegate.yaml');
  const write = (text: string) =>
    writeFileSync(
      file,
      `${text.includes('providers:') ? '' : 'providers: { up: { type: openai-compatible, baseUrl: "UP", apiKey: sk-up } }\n'}${
        text.includes('models:') ? '' : 'models: { demo: { targets: [{ provider: up, model: m }] } }\n'
      }${text.includes('keys:') ? '' : `keys: { fixed: [{ name: user, key: ${user} }, { name: root, key: ${root}, role: admin }] }\n`}${text}`.replaceAll(
        'UP',
        upstream.baseUrl,
      ),
    );
  write(config);
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const start = () => startGateway({ port: 0, configFile: file, log: { level: 'trace', destination } });
  let gateway: RunningGateway = await start();
  cleanups.push(async () => {
    await gateway.close();
    await upstream.close();
    folder.remove();
  });
  const call = (method: string, path: string, body?: object, headers: Record<string, string> = {}, key = user) =>
    fetch(`${gateway.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
  const chat = (more: object = {}, headers: Record<string, string> = {}, key = user) =>
    call(
      'POST',
      '/v1/chat/completions',
      { model: 'demo', messages: [{ role: 'user', content: 'hi' }], ...more },
      headers,
      key,
    );
  const admin = async (path: string) => (await call('GET', path, undefined, {}, root)).json();
  return {
    upstream,
    call,
    chat,
    admin,
    lines,
    folder,
    write,
    gateway: () => gateway,
    async restart() {
      await gateway.close();
      gateway = await start();
    },
  };
}

/** Words one after the other, with usage only at the end. */
const words = (n: number, everyMs = 0): Responder => {
  const all = Array.from({ length: n }, () => sse({ choices: [{ index: 0, delta: { content: ' tide' } }] }));
  const end = sse({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }, usageChunk(3, n), '[DONE]');
  return () => ({ body: [...all.flatMap((word) => (everyMs > 0 ? [word, { wait: everyMs }] : [word])), end] });
};

const priced = 'prices: { overrides: { "up/*": { input: 0, output: 1000 }, "cheap/*": { input: 0, output: 1 } } }';

describe('budgets', () => {
  test('thresholds are told to the webhook and the log, once each', async () => {
    const told: { alerts: { status: string; labels: Record<string, string> }[] }[] = [];
    const receiver = createServer((request, response) => {
      let text = '';
      request.on('data', (piece: Buffer) => {
        text += piece;
      });
      request.on('end', () => {
        told.push(JSON.parse(text) as (typeof told)[number]);
        response.end();
      });
    });
    await new Promise<void>((ready) => receiver.listen(0, '127.0.0.1', ready));
    cleanups.push(() => receiver.close());
    const webhook = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`; // a TCP server's address
    const { chat, lines } = await gatewayOf(
      `${priced}
budgets: [{ name: purse, per: key, usd: 0.008, warnAt: [0.5, 0.75, 1] }]
observability: { alerts: { webhook: "${webhook}", every: 50ms, hold: 0s, budgetShare: 0 } }
`,
    );
    const thresholds = () =>
      told
        .flatMap(({ alerts }) => alerts)
        .filter(({ labels, status }) => labels['alertname'] === 'TidegateBudgetThreshold' && status === 'firing')
        .map(({ labels }) => [labels['budget'], labels['threshold']]);
    const logged = () => lines.filter((line) => line.includes('a budget has reached')).length;
    for (const [sent, reached] of [
      [1, []],
      [1, [['purse', '0.5']]],
      [
        1,
        [
          ['purse', '0.5'],
          ['purse', '0.75'],
        ],
      ],
      [
        1,
        [
          ['purse', '0.5'],
          ['purse', '0.75'],
          ['purse', '1'],
        ],
      ],
    ] as const) {
      for (let i = 0; i < sent; i++) await (await chat({ max_tokens: 2 })).text(); // two tokens of a tenth of a cent
      await expect.poll(thresholds, { timeout: 5000 }).toEqual(reached);
      await expect.poll(logged).toBe(reached.length);
    }
  });

  test.each([
    ['/v1/chat/completions', /"finish_reason":"length","finish_message":"[^"]*budget[^"]*"/, /\[DONE\]/],
    ['/v1/messages', /"stop_reason":"max_tokens"/, /message_stop/],
  ])('%s without a bound is cut where the money ends, says why, and costs what is left', async (path, reason, end) => {
    const { call, admin } = await gatewayOf(
      `${priced}
budgets: [{ name: purse, per: key, usd: 0.05 }]
limits: { assumedTokens: 16 }
ledger: {}
`,
      words(400),
    );
    const bound = path === '/v1/messages' ? { max_tokens: 4000 } : {};
    const response = await call('POST', path, {
      model: 'demo',
      stream: true,
      messages: [{ role: 'user', content: 'hi' }],
      ...bound,
    });
    if (path === '/v1/messages') {
      // Anthropic's requests always set a bound: what can't be paid for is refused before it is spent.
      expect(response.status).toBe(429);
      return;
    }
    const text = await response.text();
    expect(text).toMatch(reason);
    expect(text).toMatch(end);
    const pieces = text.match(/" tide"/g)?.length ?? 0;
    expect(pieces).toBeGreaterThanOrEqual(24);
    expect(pieces).toBeLessThanOrEqual(50);
    const { data } = (await admin('/v1/usage?by=key')) as { data: { cost_usd: number }[] };
    expect(data[0]?.cost_usd).toBeGreaterThan(0.045);
    expect(data[0]?.cost_usd).toBeLessThanOrEqual(0.052); // the piece that was over the edge had gone out
  });

  test('a spent budget leads to the cheaper model, and the answer says who gave it', async () => {
    const { chat } = await gatewayOf(
      `${priced}
providers:
  up: { type: openai-compatible, baseUrl: "UP", apiKey: sk-up }
  cheap: { type: openai-compatible, baseUrl: "UP", apiKey: sk-cheap }
models:
  demo: { targets: [{ provider: up, model: m }] }
  small: { targets: [{ provider: cheap, model: s }] }
budgets: [{ name: purse, per: key, usd: 0.005, reroute: small }]
`,
    );
    const targets: (string | null)[] = [];
    for (let i = 0; i < 4; i++) {
      const response = await chat({ max_tokens: 2 });
      await response.text();
      targets.push(response.headers.get('x-tidegate-target'));
    }
    expect(targets).toEqual(['up/m', 'up/m', 'cheap/s', 'cheap/s']);
  });

  test('what was spent before a restart counts after it, embeddings too', async () => {
    const { call, restart, admin } = await gatewayOf(
      `prices: { overrides: { "up/*": { input: 1000, output: 0 } } }
budgets: [{ name: purse, per: key, usd: 0.01 }]
limits: { perKey: { requestsPerMinute: 10 } }
ledger: {}
`,
      chatOrEmbedding,
    );
    const ask = async () => {
      const response = await call('POST', '/v1/embeddings', { model: 'demo', input: 'four tokens' });
      await response.text();
      return [response.status, response.headers.get('x-ratelimit-remaining-requests')];
    };
    expect([await ask(), await ask()]).toEqual([
      [200, '9'],
      [200, '8'],
    ]);
    const { data } = (await admin('/v1/usage?by=key')) as { data: Record<string, number>[] };
    expect(data[0]).toMatchObject({ requests: 2, prompt_tokens: 8, cost_usd: 0.008 });
    await restart();
    expect((await ask())[0]).toBe(429);
  });
});

describe('limits', () => {
  test('answers at once: retry-after-ms is true, waiting it out helps and half of it does not', async () => {
    const { chat } = await gatewayOf('limits: { perKey: { streams: 1 } }\n', words(1, 800));
    for (let i = 0; i < 3; i++) await (await chat({ stream: true })).text(); // it learns how long they take
    const running = (await chat({ stream: true })).text();
    const refused = await chat();
    expect(refused.status).toBe(429);
    const waitMs = Number(refused.headers.get('retry-after-ms'));
    expect(waitMs).toBeGreaterThan(400);
    expect(waitMs).toBeLessThan(2000);
    expect(refused.headers.get('retry-after')).toBe(String(Math.ceil(waitMs / 1000)));
    await sleep(waitMs / 2);
    expect((await chat()).status).toBe(429);
    await sleep(waitMs / 2 + 150);
    expect((await chat({ stream: true })).status).toBe(200);
    await running;
  });

  test('tokens are settled from what was used when a client hangs up, and when the upstream breaks off', async () => {
    const { chat, upstream, gateway } = await gatewayOf(
      'limits: { perKey: { tokensPerMinute: 10000 } }\n',
      words(100, 20),
    );
    const remaining = async (): Promise<number> => {
      upstream.answer(openaiServer(['x']));
      const response = await chat({ max_tokens: 1 });
      await response.text();
      return Number(response.headers.get('x-ratelimit-remaining-tokens'));
    };
    const start = await remaining();
    upstream.answer(words(100, 20));
    const leaving = new AbortController();
    const response = await fetch(`${gateway().url}/v1/chat/completions`, {
      method: 'POST',
      signal: leaving.signal,
      headers: { authorization: `Bearer ${user}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'demo',
        max_tokens: 4000,
        stream: true,
        messages: [{ role: 'user', content: 'hi' }],
      }),
    });
    const reader = response.body?.getReader();
    await reader?.read();
    leaving.abort();
    await reader?.cancel().catch(() => {});
    upstream.answer(() => ({ body: [sse({ choices: [{ index: 0, delta: { content: 'Hel' } }] }), 'reset'] }));
    await (await chat({ max_tokens: 4000, stream: true })).text().catch(() => {});
    await expect.poll(remaining, { timeout: 5000 }).toBeGreaterThan(start - 5300);
    expect(await remaining()).toBeLessThan(start);
  });

  test('a moderation counts as one request, however many models were looked through for one that can', async () => {
    const { call } = await gatewayOf(
      `providers:
  cannot: { type: anthropic, baseUrl: "UP", apiKey: sk-cannot }
  up: { type: openai-compatible, baseUrl: "UP", apiKey: sk-up }
models:
  one: { targets: [{ provider: cannot, model: a }] }
  two: { targets: [{ provider: cannot, model: b }] }
  three: { targets: [{ provider: up, model: c }] }
limits: { perKey: { requestsPerMinute: 10 } }
`,
    );
    for (const left of ['9', '8', '7']) {
      const response = await call('POST', '/v1/moderations', { input: 'hi' });
      expect([response.status, response.headers.get('x-ratelimit-remaining-requests')]).toEqual([200, left]);
    }
  });

  test('Anthropic’s clients get its own headers beside OpenAI’s, on answers and refusals', async () => {
    const { call } = await gatewayOf('limits: { perKey: { requestsPerMinute: 1, tokensPerMinute: 1000 } }\n');
    const ask = () =>
      call('POST', '/v1/messages', { model: 'demo', max_tokens: 10, messages: [{ role: 'user', content: 'hi' }] });
    const [first, second] = [await ask(), await ask()];
    expect([first.status, second.status]).toEqual([200, 429]);
    for (const [response, left] of [
      [first, '0'],
      [second, '0'],
    ] as const) {
      expect(response.headers.get('anthropic-ratelimit-requests-limit')).toBe('1');
      expect(response.headers.get('anthropic-ratelimit-requests-remaining')).toBe(left);
      expect(response.headers.get('x-ratelimit-remaining-requests')).toBe(left);
      const reset = response.headers.get('anthropic-ratelimit-requests-reset') ?? '';
      expect(reset).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(Date.parse(reset) - Date.now()).toBeGreaterThan(30_000);
      expect(Date.parse(reset) - Date.now()).toBeLessThan(63_000);
    }
    expect(Number(first.headers.get('anthropic-ratelimit-tokens-remaining'))).toBeLessThan(1000);
    expect(((await second.json()) as { error: { type: string } }).error.type).toBe('rate_limit_error');
  });
});

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

const embedding = {
  headers: { 'content-type': 'application/json' },
  body: [
    JSON.stringify({
      object: 'list',
      model: 'm',
      data: [{ object: 'embedding', index: 0, embedding: [0.1, 0.2] }],
      usage: { prompt_tokens: 4, total_tokens: 4 },
    }),
  ],
};
const chatOrEmbedding: Responder = (request) =>
  request.path.endsWith('/embeddings') ? embedding : openaiServer(['Hel', 'lo'])(request);

const messages = [{ role: 'user', content: 'hi' }];
test.each<[string, object, number]>([
  ['/v1/chat/completions', { messages }, 1],
  ['/v1/chat/completions', { messages, stream: true }, 1],
  ['/v1/chat/completions', { messages, store: true }, 1],
  ['/v1/completions', { prompt: 'hi' }, 1],
  ['/v1/completions', { prompt: ['one', 'two'] }, 2],
  ['/v1/responses', { input: 'hi' }, 1],
  ['/v1/responses', { input: 'hi', stream: true }, 1],
  ['/v1/messages', { messages, max_tokens: 5 }, 1],
  ['/v1/messages', { messages, max_tokens: 5, stream: true }, 1],
  ['/v1/embeddings', { input: 'hi' }, 1],
])(
  'an Idempotency-Key at %s with %j gives the same answer at once, later, and after a restart',
  async (path, more, calls) => {
    const { call, upstream, restart } = await gatewayOf('ledger: {}\n', chatOrEmbedding);
    const send = async (body = more) => {
      const response = await call('POST', path, { model: 'demo', ...body }, { 'idempotency-key': 'k-1' });
      // An item's own id inside a response and the second of its end are made for each reply; the answer's id is not.
      const text = (await response.text()).replace(/"(msg|rs)_\w+"/g, '"item"').replace(/"completed_at":\d+/g, '');
      return [response.status, text];
    };
    const [first, second] = await Promise.all([send(), send()]);
    expect(first[0]).toBe(200);
    expect(second).toEqual(first);
    expect(await send()).toEqual(first);
    await restart();
    expect(await send()).toEqual(first);
    expect(upstream.requests).toHaveLength(calls);
    expect((await send({ ...more, user: 'another' }))[0]).toBe(409);
  },
);

test('a batch that is sent again with its Idempotency-Key is one batch', async () => {
  const { call, gateway } = await gatewayOf('ledger: {}\n');
  const form = new FormData();
  form.set('purpose', 'batch');
  form.set(
    'file',
    new Blob([
      `${JSON.stringify({ custom_id: 'a', method: 'POST', url: '/v1/chat/completions', body: { model: 'demo', messages } })}\n`,
    ]),
    'lines.jsonl',
  );
  const upload = await fetch(`${gateway().url}/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${user}` },
    body: form,
  });
  const file = (await upload.json()) as { id: string };
  const wish = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
  const create = async (more = {}) => {
    const response = await call('POST', '/v1/batches', { ...wish, ...more }, { 'idempotency-key': 'b-1' });
    return { status: response.status, id: ((await response.json()) as { id?: string }).id };
  };
  const all = await Promise.all([create(), create(), create()]);
  expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  expect(await create()).toEqual(all[0]);
  expect((await create({ metadata: { a: 'b' } })).status).toBe(409);
  const { data } = (await (await call('GET', '/v1/batches')).json()) as { data: unknown[] };
  expect(data).toHaveLength(1);
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

describe('a changed file', () => {
  test('changes caches, limits, audit and the ledger’s policies without a restart', async () => {
    const before = `cache: { response: { ttl: 1m } }
limits: { perKey: { requestsPerMinute: 100 } }
ledger: {}
`;
    const { chat, write, gateway, admin, folder, upstream } = await gatewayOf(before);
    const cacheOf = async (more = {}, headers = {}) => {
      const response = await chat(more, headers);
      await response.text();
      return response.headers.get('x-tidegate-cache');
    };
    expect([await cacheOf(), await cacheOf()]).toEqual(['miss', 'hit']);
    write(`cache: { response: { ttl: 1m }, maxAnswerBytes: 300, idempotency: { inFlight: conflict } }
limits: { perKey: { requestsPerMinute: 200 } }
ledger: { usageRetention: 400d, whenLost: refuse }
audit: { requests: false, content: { keep: true } }
server: { maxBodyBytes: 500 }
`);
    expect(await gateway().reload()).toEqual({ restart: [] });
    expect(await cacheOf()).toBe('hit'); // what was kept stays
    upstream.answer(openaiServer(['a long answer '.repeat(30)]));
    expect([await cacheOf({ seed: 1 }), await cacheOf({ seed: 1 })]).toEqual(['miss', 'miss']); // too long now
    upstream.answer(words(1, 300));
    const first = chat({ stream: true }, { 'idempotency-key': 'k', 'x-tidegate-cache': 'no-store' });
    await upstream.received(4);
    const second = await chat({ stream: true }, { 'idempotency-key': 'k', 'x-tidegate-cache': 'no-store' });
    expect([second.status, (await first).status]).toEqual([409, 200]);
    expect(second.headers.get('x-ratelimit-limit-requests')).toBe(null);
    expect((await first).headers.get('x-ratelimit-limit-requests')).toBe('200');
    expect((await chat({ messages: [{ role: 'user', content: 'long '.repeat(200) }] })).status).toBe(413);
    const contents = async () => ((await admin('/admin/contents')) as { data: unknown[] }).data.length;
    await expect.poll(contents).toBeGreaterThan(0);
    const { data } = (await admin('/admin/audit?action=request')) as { data: unknown[] };
    expect(data).toHaveLength(2); // none since the change
    expect(folder.path).toBeTruthy();
  });

  test('changes what filters make of answers that are kept: the cache holds what the provider said', async () => {
    const filters = (phrase: string) => `cache: { response: { ttl: 1m } }
filters: { words: { kind: patterns, phrases: [${phrase}], action: mask } }
models: { demo: { targets: [{ provider: up, model: m }], filters: [words] } }
`;
    const { chat, write, gateway, upstream } = await gatewayOf(filters('nothing'));
    const say = async () => {
      const response = await chat();
      const { choices } = (await response.json()) as { choices: { message: { content: string } }[] };
      return [response.headers.get('x-tidegate-cache'), choices[0]?.message.content === 'Hello'];
    };
    expect(await say()).toEqual(['miss', true]);
    expect(await say()).toEqual(['hit', true]);
    write(filters('Hello'));
    await gateway().reload();
    expect(await say()).toEqual(['hit', false]);
    write(filters('nothing'));
    await gateway().reload();
    expect(await say()).toEqual(['hit', true]);
    expect(upstream.requests).toHaveLength(1);
  });

  test('what needs a restart is named, in the answer and the log, until the file is as it was', async () => {
    const { write, gateway, lines } = await gatewayOf('ledger: {}\n');
    write(`ledger: { url: "file:elsewhere.db" }
audit: { secret: a-secret-of-sixteen }
server: { port: 9999, heartbeat: 5s }
engine: { slots: 3 }
observability: { history: 5 }
`);
    const restart = ['server.port', 'engine.slots', 'ledger.url', 'audit.secret', 'observability.history'];
    expect(await gateway().reload()).toEqual({ restart });
    const warning = lines.find((line) => line.includes('take effect at the next start'));
    expect(JSON.parse(warning ?? '{}')).toMatchObject({ restart });
    write('ledger: {}\n');
    expect(await gateway().reload()).toEqual({ restart: [] });
  });
});
