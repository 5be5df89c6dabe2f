import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { scratch } from '../ledger/databases.ts';

const folder = scratch();
const root = 'tg-root-0123456789abcdef';
const bin = resolve(import.meta.dirname, '../../bin/tidegate.mjs');
const run = promisify(execFile);

const logged: string[] = [];
let upstream: FaultyUpstream;
let gateway: RunningGateway;
const file = join(folder.path, 'tidegate.yaml');

beforeAll(async () => {
  upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
  writeFileSync(
    file,
    `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-upstream-secret } }
models:
  demo: { targets: [{ provider: up, model: m }] }
  other: { targets: [{ provider: up, model: m }] }
  kept: { targets: [{ provider: up, model: m }], cache: { ttl: 10m } }
keys: { fixed: [{ name: root, key: ${root}, role: admin }], fresh: 100ms }
prices: { overrides: { "up/*": { input: 1000, output: 1000 } } }
budgets: [{ name: small, per: key, only: [poor], usd: 0.03, period: month }]
ledger: {}
audit: { content: { keep: true } }
`,
  );
  const destination = { write: (line: string) => void logged.push(line) };
  gateway = await startGateway({ port: 0, configFile: file, log: { level: 'trace', destination } });
});
afterAll(async () => {
  await gateway?.close();
  await upstream?.close();
  folder.remove();
});

const call = (method: string, path: string, key: string | undefined, body?: object) =>
  fetch(`${gateway.url}${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
    ...(body && { body: JSON.stringify(body) }),
  });
const chat = (key: string | undefined, more: object = {}) =>
  call('POST', '/v1/chat/completions', key, {
    model: 'demo',
    max_tokens: 10,
    messages: [{ role: 'user', content: 'hi' }],
    ...more,
  });
const make = async (wish: object) => {
  const response = await call('POST', '/admin/keys', root, wish);
  expect(response.status).toBe(201);
  expect(response.headers.get('cache-control')).toBe('no-store');
  return (await response.json()) as { id: string; key: string };
};

describe('a gateway with keys and a ledger', () => {
  test('lets nobody in without a key, and health without one', async () => {
    expect((await chat(undefined)).status).toBe(401);
    expect((await chat('tg-wrong')).status).toBe(401);
    expect((await call('GET', '/v1/models', undefined)).status).toBe(401);
    expect((await call('GET', '/health', undefined)).status).toBe(200);
    expect((await call('GET', '/nowhere', undefined)).status).toBe(404);
  });

  test('a key made over the admin API works in every header, until it is revoked', async () => {
    const { id, key } = await make({ name: 'ada', limits: { requestsPerMinute: 100 } });
    const answer = await chat(key);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-ratelimit-remaining-requests')).toBe('99');
    const viaHeader = await fetch(`${gateway.url}/v1/models`, { headers: { 'x-api-key': key } });
    expect(viaHeader.status).toBe(200);
    expect((await call('GET', '/admin/keys', key)).status).toBe(403);
    expect((await call('DELETE', `/admin/keys/${id}`, root)).status).toBe(200);
    expect((await chat(key)).status).toBe(401);
    const listed = await (await call('GET', '/admin/keys', root)).text();
    expect(listed).toContain(id);
    expect(listed).not.toContain(key);
    expect(listed).not.toMatch(/[0-9a-f]{64}/); // no digests
  });

  test('over its limit a key gets a 429 with a true retry-after and OpenAI’s headers', async () => {
    const { key } = await make({ name: 'limited', limits: { requestsPerMinute: 1 } });
    await (await chat(key)).text();
    const refused = await chat(key);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(30);
    expect(refused.headers.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(await refused.json()).toMatchObject({ error: { code: 'rate_limit_exceeded', type: 'requests' } });
  });

  test('a rotated key has a new secret and its old id; the old secret stops, or overlaps', async () => {
    const { id, key } = await make({ name: 'bob' });
    const rotated = (await (await call('POST', `/admin/keys/${id}/rotate`, root, {})).json()) as {
      id: string;
      key: string;
    };
    expect(rotated.id).toBe(id);
    expect((await chat(key)).status).toBe(401);
    expect((await chat(rotated.key)).status).toBe(200);
    const again = (await (await call('POST', `/admin/keys/${id}/rotate`, root, { overlap: '1h' })).json()) as {
      key: string;
    };
    expect((await chat(rotated.key)).status).toBe(200);
    expect((await chat(again.key)).status).toBe(200);
    await call('DELETE', `/admin/keys/${id}`, root);
    expect((await chat(again.key)).status).toBe(401);
    expect((await chat(rotated.key)).status, 'what overlaps ends with its key').toBe(401);
    const late = await call('POST', `/admin/keys/${id}/rotate`, root, {});
    expect([late.status, await late.text()]).toEqual([409, expect.stringContaining('revoked')]);
    const revokedAt = async () =>
      ((await (await call('DELETE', `/admin/keys/${id}`, root)).json()) as { revokedAt: number }).revokedAt;
    const first = await revokedAt();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await revokedAt(), 'revoking twice is no fault, and the day of the first stays').toBe(first);
  });

  test('no overlap outlives the day on which its key expires', async () => {
    const expiresAt = Date.now() + 60_000;
    const { id } = await make({ name: 'brief', expiresAt });
    await call('POST', `/admin/keys/${id}/rotate`, root, { overlap: '24h' });
    const { data } = (await (await call('GET', '/admin/keys', root)).json()) as {
      data: { name: string; expiresAt?: number }[];
    };
    const brief = data.filter(({ name }) => name.startsWith('brief'));
    expect(brief.map((key) => key.expiresAt)).toEqual([expiresAt, expiresAt]);
  });

  test('who revokes a key ends nothing of another one that has the same name', async () => {
    const [one, other] = [await make({ name: 'twin' }), await make({ name: 'twin' })];
    for (const { id } of [one, other]) await call('POST', `/admin/keys/${id}/rotate`, root, { overlap: '1h' });
    await call('DELETE', `/admin/keys/${one.id}`, root);
    expect([(await chat(one.key)).status, (await chat(other.key)).status]).toEqual([401, 200]);
  });

  test('scopes hold: other models are hidden and refused', async () => {
    const { key } = await make({ name: 'scoped', models: ['demo'] });
    expect((await chat(key, { model: 'other' })).status).toBe(403);
    const chatOnly = (await make({ name: 'chat only', endpoints: ['/chat/completions'] })).key;
    expect((await chat(chatOnly)).status).toBe(200);
    for (const path of ['/v1/models', '/v1/files', '/v1/batches', '/files', '/metrics', '/v1/usage']) {
      expect([path, (await call('GET', path, chatOnly)).status]).toEqual([path, 403]);
    }
    const { data } = (await (await call('GET', '/v1/models', key)).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(['demo']);
  });

  test.each([
    [{}, 'name'],
    [{ name: 'x', role: 'root' }, 'role'],
    [{ name: 'x', limits: { requestsPerMinute: 0 } }, 'limits.requestsPerMinute'],
    [{ name: 'x', expiresAt: '2001-01-01T00:00:00Z' }, 'expiresAt'],
  ])('a wish of %j is refused, naming %s', async (wish, param) => {
    const response = await call('POST', '/admin/keys', root, wish);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param } });
  });

  test('a caller sees its own usage, an admin everybody’s, as JSON and CSV', async () => {
    const { id, key } = await make({ name: 'counted' });
    for (const stream of [true, false]) await (await chat(key, { stream })).text();
    await (await chat(key, { model: 'kept' })).text();
    await (await chat(key, { model: 'kept' })).text();
    const own = (await (await call('GET', '/v1/usage?by=key,model', key)).json()) as {
      data: Record<string, unknown>[];
    };
    expect(own.data.map(({ key, model, requests, cache_hits }) => [key, model, requests, cache_hits])).toEqual([
      [id, 'demo', 2, 0],
      [id, 'kept', 2, 1],
    ]);
    const [demo, kept] = own.data as { cost_usd: number; requests: number }[];
    expect(kept?.cost_usd).toBeCloseTo((demo?.cost_usd ?? 0) / 2, 9); // the stored answer cost nothing
    const all = await (await call('GET', '/v1/usage?by=key&format=csv', root)).text();
    expect(all).toMatch(/^key,requests,failed,cache_hits,prompt_tokens,/);
    expect(all).toContain(id);
    expect((await call('GET', '/v1/usage?by=nonsense', key)).status).toBe(400);
  });

  test('a budget ends, for its key alone', async () => {
    const { key } = await make({ name: 'poor' });
    const statuses: number[] = [];
    for (let i = 0; i < 8; i++) {
      const response = await chat(key, { max_tokens: 5 });
      await response.text();
      statuses.push(response.status);
    }
    expect(statuses[0]).toBe(200);
    expect(statuses.at(-1)).toBe(429);
    expect((await chat(root)).status).toBe(200);
    const metrics = await (await call('GET', '/metrics', root)).text();
    expect(metrics).toMatch(/tidegate_budget_used_ratio\{owner="key_\w+"\} 0\.\d/);
  });

  test('the audit names who did what, follows row by row, and holds no key', async () => {
    const verdict = await (await call('GET', '/admin/audit/verify', root)).json();
    expect(verdict).toMatchObject({ intact: true });
    const text = await (await call('GET', '/admin/audit?limit=1000', root)).text();
    expect(text).toContain('key.create');
    expect(text).toContain('"request"');
    expect(text).not.toMatch(/tg-\w{20}|sk-upstream-secret/);
  });

  test('no key, prompt or upstream credential gets into errors, logs or metrics, whatever is sent', async () => {
    const { key } = await make({ name: 'careful' });
    const prompt = 'the-secret-prompt-7261';
    const bodies = [
      { model: 'demo', messages: [{ role: 'user', content: prompt }] },
      { model: 'nope', messages: [{ role: 'user', content: prompt }] },
      { model: 'demo', messages: prompt },
      { model: 'demo', messages: [{ role: 'user', content: prompt }], max_tokens: 'x' },
    ];
    let answers = '';
    for (const body of bodies) {
      for (const headers of [
        { authorization: `Bearer ${key}` },
        { 'x-api-key': key, 'api-key': `${key}x` },
        { authorization: key },
      ]) {
        const init = {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: JSON.stringify(body),
        };
        const response = await fetch(`${gateway.url}/v1/chat/completions`, init as RequestInit);
        const text = await response.text();
        if (response.status !== 200) answers += text + JSON.stringify([...response.headers]);
      }
    }
    upstream.answer({ status: 401, body: ['{"error":{"message":"Incorrect API key provided: sk-upstream-secret"}}'] });
    answers += await (await chat(key)).text();
    upstream.answer(openaiServer(['Hel', 'lo']));
    const metrics = await (await call('GET', '/metrics', root)).text();
    const all = answers + logged.join('') + metrics;
    expect(logged.length).toBeGreaterThan(bodies.length); // something was logged at all
    for (const secret of [key, key.slice(3, 30), root, 'sk-upstream-secret', prompt]) expect(all).not.toContain(secret);
  });

  test('what was kept of a caller, masked prompts and answers too, can be deleted', async () => {
    const { id, key } = await make({ name: 'leaving' });
    const said = 'I am ada@example.org, my card is 4111 1111 1111 1111';
    await (await chat(key, { messages: [{ role: 'user', content: said }] })).text();
    const kept = async () =>
      ((await (await call('GET', `/admin/contents?caller=${id}`, root)).json()) as { data: Record<string, string>[] })
        .data;
    await expect.poll(kept).toHaveLength(1);
    const [content] = await kept();
    expect(content?.['answer']).toBe('Hello');
    expect(content?.['prompt']).toMatch(/^user: I am .+, my card is /);
    expect(content?.['prompt']).not.toMatch(/ada@|4111/);
    expect((await call('GET', '/admin/contents', key)).status).toBe(403);
    expect((await call('DELETE', `/admin/callers/${id}`, root)).status).toBe(200);
    const { data } = (await (await call('GET', `/v1/usage?by=key&key=${id}`, root)).json()) as { data: unknown[] };
    expect(data).toEqual([]);
    expect(await kept()).toEqual([]);
    expect(await (await call('GET', '/admin/audit/verify', root)).json()).toMatchObject({ intact: true });
  });

  test('the command line makes, lists and revokes keys of the running gateway, reports usage, verifies the audit', async () => {
    const cli = async (...args: string[]) => (await run(process.execPath, [bin, ...args, '-c', file])).stdout;
    const secret = (await cli('keys', 'create', '--name', 'from the shell', '--rpm', '7')).trim();
    expect(secret).toMatch(/^tg-\w{43}$/);
    const answer = await chat(secret);
    expect(answer.headers.get('x-ratelimit-limit-requests')).toBe('7');
    await answer.text();
    const keys = JSON.parse(await cli('keys', 'list', '--json')) as { id: string; name: string }[];
    const id = keys.find(({ name }) => name === 'from the shell')?.id ?? '';
    await expect.poll(() => cli('usage', '--by', 'key', '--csv'), { timeout: 20_000 }).toContain(id);
    expect(await cli('usage')).toMatch(/REQUESTS/);
    expect(await cli('audit', 'verify')).toMatch(/each follows from the one before/);
    await cli('keys', 'revoke', id);
    await expect.poll(async () => (await chat(secret)).status).toBe(401);
  });
});

test.each(['0.0.0.0', '::'])('listening on %s without any key is refused, and says how to make one', async (host) => {
  const empty = scratch(); // the other folder has a ledger with keys by now
  const open = join(empty.path, 'open.yaml');
  writeFileSync(open, 'models: { a: { targets: [{ local: smollm2-135m-instruct }] } }\n');
  const start = startGateway({ port: 0, host, configFile: open, log: { level: 'silent' } });
  await expect(start).rejects.toThrow(/tidegate keys create/);
  empty.remove();
});
