import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { scratch } from '../ledger/databases.ts';

/** Every route that the sources name, so that a new one is held to this too. */
const routes: readonly (readonly [method: string, path: string])[] = (() => {
  const root = resolve(import.meta.dirname, '../../src');
  const files = ['http', 'node'].flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(root, room, name), 'utf8')),
  );
  const found = files.flatMap((text) => [...text.matchAll(/\[\s*'(GET|POST|PUT|PATCH|DELETE)',\s*'(\/[^']*)'/g)]);
  return found.map(([, method = '', path = '']) => [method, path.replace(/:id\{[^}]*\}|:\w+/g, 'x')] as const);
})();

/** Asked without a key: whether it lives, the page that asks for one, and what it is that answers here. */
const open = new Set([
  ...['/health', '/health/live', '/health/ready', '/', '/ui/x'],
  ...['/api/version', '/openapi.json', '/docs', '/docs/x'],
]);

const key = (name: string) => `tg-${name}-0123456789abcdef`;
const folder = scratch();
let upstream: FaultyUpstream;
let gateway: RunningGateway;

beforeAll(async () => {
  upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
  const file = join(folder.path, 'tidegate.yaml');
  writeFileSync(
    file,
    `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-up } }
models:
  demo: { targets: [{ provider: up, model: m }] }
  other: { targets: [{ provider: up, model: m }] }
keys:
  fixed:
    - { name: none, key: ${key('none')}, endpoints: [/nothing] }
    - { name: plain, key: ${key('plain')} }
    - { name: model, key: ${key('model')}, models: [demo] }
    - { name: batch, key: ${key('batch')}, endpoints: [/files*, /batches*] }
    - { name: root, key: ${key('root')}, role: admin }
ledger: {}
`,
  );
  gateway = await startGateway({ port: 0, configFile: file, log: { level: 'silent' } });
});
afterAll(async () => {
  await gateway?.close();
  await upstream?.close();
  folder.remove();
});

const call = async (method: string, path: string, name: string | undefined, body?: object | FormData) => {
  const form = body instanceof FormData;
  const response = await fetch(`${gateway.url}${path}`, {
    method,
    headers: {
      ...(name !== undefined && { authorization: `Bearer ${key(name)}` }),
      ...(!form && { 'content-type': 'application/json' }),
    },
    ...(method !== 'GET' && { body: form ? body : JSON.stringify(body ?? {}) }),
  });
  return { status: response.status, text: await response.text() };
};

test('all routes are known here', () => {
  expect(routes.length).toBeGreaterThan(60);
  for (const path of ['/metrics', '/admin/keys', '/v1/usage', '/api/chat', '/v1/batches', '/docs', '/openapi.json']) {
    expect(routes.map(([, one]) => one)).toContain(path);
  }
});

test.each(routes.filter(([, path]) => !open.has(path)))(
  '%s %s needs a key, one whose scopes hold it, and under /admin an admin’s',
  async (method, path) => {
    expect((await call(method, path, undefined)).status).toBe(401);
    expect((await call(method, path, 'unknown')).status).toBe(401);
    expect((await call(method, path, 'none')).status).toBe(403);
    if (path.startsWith('/admin') && path !== '/admin/me') {
      expect((await call(method, path, 'plain')).status).toBe(403);
    }
    if (path.startsWith('/v1/')) expect((await call(method, path.slice('/v1'.length), 'none')).status).toBe(403);
  },
);

test.each(['/metrics', '/v1/models/load', '/v1/models/unload'])('%s is not for everybody with a key', async (path) => {
  expect((await call(path === '/metrics' ? 'GET' : 'POST', path, 'plain', { model: 'demo' })).status).toBe(403);
});

test('nobody but an admin makes the gateway fetch a model', async () => {
  expect((await call('POST', '/api/pull', 'plain', { model: 'smollm2:360m' })).status).toBe(404);
});

test.each(['/api/pull', '/admin/models/pull', '/admin/models/load'])(
  'an admin too makes the gateway fetch no address and look at no path by %s',
  async (path) => {
    for (const model of [`${upstream.baseUrl}/model.gguf`, import.meta.filename, 'hf:a/b/../../model.gguf']) {
      expect((await call('POST', path, 'root', { model })).text).toMatch(
        /Over HTTP only|not a hub coordinate|neither served nor pulled/,
      );
    }
    expect(upstream.requests).toEqual([]);
  },
);

test.each([
  '/v1//files',
  '/v1/chat/../files',
  '/v1/%66iles',
  '/V1/files',
  '/v1/files/',
  '/nothing/../v1/files',
  '/nothing%2f..%2fv1/files',
])('the scope of a key cannot be left by writing %s', async (path) => {
  expect([401, 403, 404]).toContain((await call('GET', path, 'none')).status);
});

describe('a key for one model', () => {
  const messages = [{ role: 'user', content: 'hi' }];
  test.each<[string, object]>([
    ['/v1/chat/completions', { messages }],
    ['/v1/completions', { prompt: 'hi' }],
    ['/v1/responses', { input: 'hi' }],
    ['/v1/responses/input_tokens', { input: 'hi' }],
    ['/v1/embeddings', { input: 'hi' }],
    ['/v1/rerank', { query: 'q', documents: ['d'] }],
    ['/v1/messages', { messages, max_tokens: 5 }],
    ['/v1/messages/count_tokens', { messages }],
    ['/v1/audio/speech', { input: 'hi', voice: 'a' }],
    ['/v1/images/generations', { prompt: 'hi' }],
    ['/api/chat', { messages }],
    ['/api/generate', { prompt: 'hi' }],
    ['/api/embed', { input: 'hi' }],
    ['/api/embeddings', { prompt: 'hi' }],
    ['/api/show', {}],
    ['/completion', { prompt: 'hi' }],
    ['/infill', { input_prefix: 'hi' }],
    ['/tokenize', { content: 'hi' }],
    ['/detokenize', { tokens: [1] }],
    ['/apply-template', { messages }],
  ])('is refused another one at %s', async (path, body) => {
    const before = upstream.requests.length;
    const { status, text } = await call('POST', path, 'model', { model: 'other', ...body });
    expect([path, status === 403 || status === 404, text.includes('other')]).toEqual([path, true, true]);
    expect(upstream.requests.length).toBe(before);
  });

  test('sees no other in any list', async () => {
    for (const path of ['/v1/models', '/api/tags', '/v1/models/demo']) {
      const { status, text } = await call('GET', path, 'model');
      expect([path, status, text.includes('demo'), text.includes('other')]).toEqual([path, 200, true, false]);
    }
    expect((await call('GET', '/v1/models/other', 'model')).status).toBe(404);
  });
});

test('the lines of a batch are held to the scopes of who made it', async () => {
  const line = (id: string, model: string) =>
    JSON.stringify({
      custom_id: id,
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model, messages: [{ role: 'user', content: 'hi' }] },
    });
  const run = async (name: string) => {
    const form = new FormData();
    form.set('purpose', 'batch');
    form.set('file', new Blob([`${line('a', 'demo')}\n${line('b', 'other')}\n`]), 'lines.jsonl');
    const file = JSON.parse((await call('POST', '/v1/files', name, form)).text) as { id: string };
    const wish = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' };
    const batch = JSON.parse((await call('POST', '/v1/batches', name, wish)).text) as { id: string };
    interface Batch {
      readonly status: string;
      readonly request_counts: object;
      readonly error_file_id?: string;
    }
    let done: Batch | undefined;
    await expect
      .poll(
        async () => {
          done = JSON.parse((await call('GET', `/v1/batches/${batch.id}`, name)).text) as Batch;
          return done.status;
        },
        { timeout: 20_000 },
      )
      .toBe('completed');
    // Nobody else's key finds it.
    for (const path of [`/v1/batches/${batch.id}`, `/v1/files/${file.id}`, `/v1/files/${file.id}/content`]) {
      expect((await call('GET', path, 'plain')).status).toBe(404);
      expect((await call('GET', path, 'root')).status).toBe(404);
    }
    return done?.request_counts;
  };
  expect(await run('model')).toEqual({ total: 2, completed: 1, failed: 1 });
  expect(await run('batch')).toEqual({ total: 2, completed: 0, failed: 2 }); // it may make batches, not chat
});
