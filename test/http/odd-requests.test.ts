import { deflateSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { anonymous } from '../../src/core/run.ts';
import { openPolicy } from '../../src/policy/admit.ts';
import { appWith, sse } from '../app.ts';
import { seeded } from '../filters/labelled.ts';
import { scripted } from '../scripted.ts';
import { type Answer, post } from './post.ts';

const hello = { model: 'test', messages: [{ role: 'user', content: 'Hi' }] };
const text = JSON.stringify(hello);
const send = (body: BodyInit | null, headers: Record<string, string> = {}, path = '/v1/chat/completions') =>
  appWith(scripted(['Hello'])).request(path, { method: 'POST', headers, body });
const bytes = (data: Uint8Array): ArrayBuffer => Uint8Array.from(data).buffer;

test.each([
  { name: 'no content type', body: text, headers: {} },
  { name: 'a charset', body: text, headers: { 'content-type': 'application/json; charset=utf-8' } },
  { name: 'another content type', body: text, headers: { 'content-type': 'text/plain' } },
  { name: 'gzip', body: bytes(gzipSync(text)), headers: { 'content-encoding': 'gzip' } },
  { name: 'GZIP in capitals', body: bytes(gzipSync(text)), headers: { 'content-encoding': 'GZIP' } },
  { name: 'deflate', body: bytes(deflateSync(text)), headers: { 'content-encoding': 'deflate' } },
  { name: 'no encoding, said aloud', body: text, headers: { 'content-encoding': 'identity' } },
  { name: 'an empty encoding', body: text, headers: { 'content-encoding': '' } },
  { name: 'a byte order mark', body: `\u{feff}${text}`, headers: {} },
  { name: 'a key twice: the last one counts', body: `{"model":"nope",${text.slice(1)}`, headers: {} },
  { name: 'half a surrogate pair', body: text.replace('Hi', '\\ud800'), headers: {} },
  { name: 'a seed beyond every integer', body: text.replace('{', '{"seed":99999999999999999999,'), headers: {} },
])('a body with $name is read', async ({ body, headers }) => {
  const response = await send(body, headers);
  expect([response.status, ((await response.json()) as Answer).choices?.[0].message.content]).toEqual([200, 'Hello']);
});

test.each([
  { name: 'broken gzip', body: 'x', headers: { 'content-encoding': 'gzip' }, status: 400, code: 'invalid_encoding' },
  ...['soon', '', '0', '-5', 'NaN'].map((value) => ({
    name: `a timeout of '${value}'`,
    body: text,
    headers: { 'x-tidegate-timeout-ms': value },
    status: 400,
    code: 'invalid_value',
  })),
  {
    name: 'an unknown encoding',
    body: text,
    headers: { 'content-encoding': 'zstd' },
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'a small body that unfolds beyond the limit',
    body: bytes(gzipSync(Buffer.alloc(33 * 1024 * 1024, 32))),
    headers: { 'content-encoding': 'gzip' },
    status: 413,
    code: 'request_too_large',
  },
  { name: 'no UTF-8', body: bytes(Buffer.from([0x7b, 0xff, 0x7d])), headers: {}, status: 400, code: 'invalid_json' },
  { name: 'a list', body: '[]', headers: {}, status: 400, code: 'invalid_type' },
  { name: 'nothing', body: null, headers: {}, status: 400, code: 'missing_body' },
])('a body that is $name is refused', async ({ body, headers, status, code }) => {
  const response = await send(body, headers);
  expect([response.status, ((await response.json()) as Answer).error.code]).toEqual([status, code]);
});

test.each([
  { name: 'a word that JSON has not', body: '{"temperature":NaN}', says: /unexpected text\.$/ },
  { name: 'a comma too many', body: '{"n":1,}', says: /unexpected text at position 7\.$/ },
  { name: 'an end too early', body: '{"n":', says: /unexpected end of text\.$/ },
])('$name is told as what it is', async ({ body, says }) => {
  expect(((await (await send(body)).json()) as Answer).error.message).toMatch(says);
});

test.each([
  '/v1/chat/completions/',
  '/v1//chat/completions',
  '//v1/chat/completions',
  '/chat/completions/',
  '/v1/v1/chat/completions',
  '/v1//v1/chat/completions/',
  '/openai/v1/chat/completions',
  '/v1/openai/v1/chat/completions',
  '/openai/chat/completions?api-version=2024-10-21',
])('%s is the same address with another slash or prefix', async (path) => {
  expect((await send(text, {}, path)).status).toBe(200);
});

test.each([
  { name: 'rules where the body names another', path: 'test', body: { model: 'gpt-4o' }, status: 200 },
  { name: 'stands in for the body that names none', path: 'test', body: { model: null }, status: 200 },
  { name: 'may be none of ours', path: 'nope', body: { model: 'test' }, status: 404 },
])('a deployment in the path, as Azure’s clients write it, $name', async ({ path, body, status }) => {
  const app = appWith(scripted(['Hello']));
  const url = `/openai/deployments/${path}/chat/completions?api-version=2024-10-21`;
  expect((await post(app, url, { ...hello, ...body })).status).toBe(status);
  expect(app.records).toMatchObject([{ model: path, endpoint: '/v1/chat/completions' }]);
});

test('a deployment that stands in the query names no model', async () => {
  const app = appWith(scripted(['Hello']));
  const url = '/v1/chat/completions?from=/openai/deployments/nope/';
  expect((await post(app, url, { ...hello, model: 'test' })).status).toBe(200);
});

test('a key for one endpoint opens no other by a further slash', async () => {
  const policy = openPolicy({ ...anonymous, endpoints: ['/v1/embeddings'] });
  const app = appWith(scripted(['Hello']), { policy });
  for (const path of [
    '/v1/chat/completions',
    '/v1//chat/completions/',
    '/v1/v1/chat/completions',
    '/openai/v1/chat/completions',
    '/openai/deployments/test/chat/completions',
    '/openai/deployments/embeddings/../test/chat/completions',
    '/chat/completions',
  ]) {
    expect((await post(app, path, hello)).status).toBe(403);
  }
});

const openai = { error: { message: expect.any(String), type: 'invalid_request_error', param: null } };
const anthropic = { type: 'error', error: { message: expect.any(String) }, request_id: expect.any(String) };
test.each([
  { method: 'GET', path: '/v1/nowhere', status: 404, body: openai },
  { method: 'PUT', path: '/v1/chat/completions', status: 405, body: openai },
  { method: 'GET', path: '/v1/messages', status: 405, body: anthropic },
  { method: 'POST', path: '/v1/messages/batches', status: 404, body: anthropic },
  { method: 'GET', path: '/api/chat', status: 405, body: { error: expect.any(String) } },
  { method: 'POST', path: '/api/nowhere', status: 404, body: { error: expect.any(String) } },
  { method: 'GET', path: '/v1/models/nope', headers: { 'anthropic-version': 'x' }, status: 404, body: anthropic },
])('$method $path fails in its reader’s own envelope', async ({ method, path, status, body, headers = {} }) => {
  const response = await appWith(scripted([])).request(path, { method, headers });
  expect([response.status, await response.json()]).toMatchObject([status, body]);
  expect(response.headers.get('x-request-id')).toMatch(/^req_/);
  expect(response.headers.get('allow') !== null).toBe(status === 405);
});

test.each(['/v1/models/%ff', '/v1/models/%25', '/v1/models/100%25', '/v1/files/%ff', '/v1/responses/%00'])(
  '%s is not found, and no fault',
  async (path) => {
    expect((await appWith(scripted([])).request(path)).status).toBe(404);
  },
);

test('a fault of our own is told once, to the operator whole and to the client without its words', async () => {
  const faults: unknown[] = [];
  const onFault = (fault: unknown) => faults.push(fault);
  const describeModel = () => Promise.reject(new Error('secret'));
  const response = await appWith(scripted([]), { onFault, describeModel }).request('/v1/models');
  expect([response.status, JSON.stringify(await response.json())]).toEqual([
    500,
    expect.not.stringContaining('secret'),
  ]);
  expect(faults).toEqual([expect.objectContaining({ message: 'secret' })]);

  const broken = new Error('secret') as unknown as GatewayError; // thrown by a part that has a bug
  const provider = {
    ...scripted([]),
    async *stream() {
      yield { type: 'text-delta' as const, choice: 0, text: 'x' };
      throw broken;
    },
  };
  const streamed = await post(appWith(provider, { onFault }), '/v1/chat/completions', { ...hello, stream: true });
  expect((await sse(streamed)).at(-1)).toMatchObject({ error: { type: 'server_error', code: expect.any(String) } });
});

test.each([
  { path: '/v1/embeddings', body: { model: 'test', input: Array(2049).fill('a') }, code: 'array_above_max_length' },
  { path: '/v1/embeddings', body: { model: 'test', input: ['a', 1] }, param: 'input[1]', code: 'invalid_type' },
  { path: '/v1/responses', body: { model: 'test', input: 'x', tool_choice: 'required' }, code: 'invalid_value' },
])('$path names $code', async ({ path, body, code, param }) => {
  const response = await post(appWith(scripted(['x'])), path, body);
  const { error } = (await response.json()) as Answer;
  expect([response.status, error.code]).toEqual([400, code]);
  if (param) expect(error.param).toBe(param);
});

test('what is refused as a stream is refused by a status, before any event', async () => {
  const app = appWith(scripted([new GatewayError('rate_limited', 'Wait.', { retryAfterMs: 2000 })]));
  const response = await post(app, '/v1/chat/completions', { ...hello, stream: true });
  expect([response.status, response.headers.get('content-type'), response.headers.get('retry-after')]).toEqual([
    429,
    'application/json',
    '2',
  ]);
});

test('tools in the flat form of responses, and calls without a type, are understood at chat', async () => {
  const provider = scripted(['ok']);
  const call = { id: 'c1', function: { name: 'f', arguments: '{}' } };
  const response = await post(appWith(provider), '/v1/chat/completions', {
    model: 'test',
    tools: [
      { type: 'function', name: 'f', description: 'F.', parameters: { type: 'object' } },
      { function: { name: 'g' } },
      { type: 'custom', name: 'patch' },
    ],
    tool_choice: { type: 'function', name: 'f' },
    messages: [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c1', content: 'r' },
    ],
  });
  expect(response.status).toBe(200);
  const [request] = provider.requests;
  expect(request?.tools).toEqual([
    { kind: 'function', name: 'f', description: 'F.', parameters: { type: 'object' } },
    { kind: 'function', name: 'g' },
    { kind: 'custom', name: 'patch' },
  ]);
  expect(request?.toolChoice).toEqual({ type: 'named', name: 'f' });
  expect(request?.messages[1]).toMatchObject({ toolCalls: [{ id: 'c1', kind: 'function', name: 'f' }] });
  expect(request?.wire).toBeUndefined();
});

test.each([
  { name: 'Mistral’s any', sent: { tool_choice: 'any' }, read: { toolChoice: 'required' } },
  {
    name: 'a named tool without a type',
    sent: { tool_choice: { function: { name: 'f' } } },
    read: { toolChoice: { type: 'named', name: 'f' } },
  },
  ...['json', 'json_object'].map((type) => ({
    name: `Hugging Face’s schema as the value of ${type}`,
    sent: { response_format: { type, value: { type: 'object', required: ['a'] } } },
    read: { responseFormat: { type: 'json-schema', schema: { type: 'object', required: ['a'] } } },
  })),
])('$name is understood at chat, and written OpenAI’s way upstream', async ({ sent, read }) => {
  const provider = scripted(['ok']);
  const tools = [{ type: 'function', function: { name: 'f' } }];
  const response = await post(appWith(provider), '/v1/chat/completions', { ...hello, tools, ...sent });
  expect(response.status).toBe(200);
  expect(provider.requests[0]).toMatchObject(read);
  expect(provider.requests[0]?.wire).toBeUndefined();
});

test('what stands in strings is no nesting, whatever it looks like, and what stands behind them is', async () => {
  const { integer, pick } = seeded(7);
  // What means something to JSON, and what is so long that it is leapt over.
  const parts = ['"', '\\', '['.repeat(150), '{{{', ':', 'a', '\n', '\u00e9', 'as long as most prompts are, or so '];
  for (let run = 0; run < 300; run++) {
    const content = Array.from({ length: integer(0, 40) }, () => pick(parts)).join('');
    const body = JSON.stringify({ ...hello, messages: [{ role: 'user', content }] });
    expect((await send(body)).status, body).toBe(200);
    const nested = await send(`${body.slice(0, -1)},"x":${'['.repeat(150)}`);
    expect(await nested.text(), body).toContain('nested deeper');
  }
});

test.each([
  ['my-id.1:2_3', true],
  ['a b', false],
  ['<script>', false],
  ['x'.repeat(129), false],
])('a request id of the client (%#) is kept only where logs and headers can hold it', async (id, kept) => {
  const response = await send(text, { 'x-request-id': id });
  expect(response.headers.get('x-request-id') === id).toBe(kept);
});
