import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { appWith, chat, sse } from '../app.ts';
import { scripted } from '../scripted.ts';
import { post } from './post.ts';

describe('a whole answer', () => {
  test('is the stream, collected', async () => {
    const response = await chat(appWith(scripted(['Hel', 'lo'])));
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Hello', refusal: null }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    });
  });

  test('tells who answered, and under which id it can be found in the log', async () => {
    const app = appWith(scripted(['a']));
    const response = await chat(app, {}, { 'x-request-id': 'mine-1' });
    await response.text();
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/json',
      'x-request-id': 'mine-1',
      'x-tidegate-target': 'scripted/m',
      'x-tidegate-attempts': '1',
    });
    expect(app.records).toMatchObject([{ requestId: 'mine-1', outcome: 'ok', target: 'scripted/m' }]);
  });
});

describe('a stream', () => {
  test('has the role first, one finish, usage only when asked for, and [DONE] last', async () => {
    const events = await sse(await chat(appWith(scripted(['a', 'b'])), { stream: true }));
    expect(events).toMatchObject([
      { choices: [{ delta: { role: 'assistant', content: '' }, finish_reason: null }] },
      { choices: [{ delta: { content: 'a' }, finish_reason: null }] },
      { choices: [{ delta: { content: 'b' }, finish_reason: null }] },
      { choices: [{ delta: {}, finish_reason: 'stop' }] },
      '[DONE]',
    ]);
    const counted = await sse(
      await chat(appWith(scripted(['a'])), { stream: true, stream_options: { include_usage: true } }),
    );
    expect(counted.at(-2)).toMatchObject({ choices: [], usage: { total_tokens: 4 } });
  });

  test('that fails before its first event is an HTTP error', async () => {
    const response = await chat(appWith(scripted([new GatewayError('upstream_failed', 'No.')])), { stream: true });
    expect(response.status).toBe(502);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toEqual({
      error: { message: 'No.', type: 'server_error', param: null, code: 'upstream_error' },
    });
  });

  test('that fails later ends with the error, without [DONE] and without a finish', async () => {
    const events = await sse(
      await chat(appWith(scripted(['a', new GatewayError('upstream_failed', 'Gone.')])), { stream: true }),
    );
    expect(events.at(-1)).toMatchObject({ error: { message: 'Gone.', code: 'upstream_error' } });
    expect(JSON.stringify(events)).not.toMatch(/DONE|"finish_reason":"stop"/);
  });

  test('says something while the first event is waited for', async () => {
    const app = appWith(scripted([120, 'late']), { options: { heartbeatMs: 30 } as never });
    const text = await (await chat(app, { stream: true })).text();
    expect(text.startsWith(': ping\n\n')).toBe(true);
    expect(text).toContain('late');
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  });

  test('stops its provider when the reader leaves', async () => {
    const provider = scripted(['a', 60_000, 'b']);
    const app = appWith(provider);
    const response = await chat(app, { stream: true });
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    await expect.poll(() => provider.aborted, { timeout: 100, interval: 5 }).toBe(1);
    await expect.poll(() => app.records).toMatchObject([{ outcome: 'cancelled' }]);
  });
});

describe('a bad request', () => {
  const raw = (body: BodyInit, init: RequestInit = {}) =>
    appWith(scripted(['a'])).request('/v1/chat/completions', { method: 'POST', body, ...init });
  test.each([
    { name: 'no body', send: () => raw(''), status: 400, code: 'missing_body' },
    { name: 'broken JSON', send: () => raw('{"model": "secret words'), status: 400, code: 'invalid_json' },
    { name: 'JSON that is no object', send: () => raw('[1]'), status: 400, code: 'invalid_type' },
    {
      name: 'a body that is not UTF-8',
      send: () => raw(new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])),
      status: 400,
      code: 'invalid_json',
    },
    {
      name: 'absurdly many fields',
      send: () => raw(`{"a":{${Array.from({ length: 100_001 }, (_, i) => `"${i}":1`).join()}}}`),
      status: 400,
      code: 'invalid_json',
    },
    { name: 'absurd nesting', send: () => raw('['.repeat(100_000)), status: 400, code: 'invalid_json' },
    {
      name: 'no messages',
      send: () => chat(appWith(scripted([])), { messages: undefined }),
      status: 400,
      code: 'missing_required_parameter',
      param: 'messages',
    },
    {
      name: 'a wrong type deep inside',
      send: () => chat(appWith(scripted([])), { messages: [{ role: 'user', content: 7 }] }),
      status: 400,
      param: 'messages[0].content',
    },
    {
      name: 'an unknown model',
      send: () => chat(appWith(scripted([])), { model: 'tset' }),
      status: 404,
      code: 'model_not_found',
      param: 'model',
    },
    {
      name: 'an unknown path',
      send: () => appWith(scripted([])).request('/v1/nope'),
      status: 404,
      code: 'unknown_url',
    },
    {
      name: 'a wrong method',
      send: () => appWith(scripted([])).request('/v1/chat/completions', { method: 'DELETE' }),
      status: 405,
      code: 'method_not_allowed',
    },
    {
      name: 'a body of too many objects',
      send: () => raw(JSON.stringify({ messages: Array.from({ length: 100_001 }, () => ({})) })),
      status: 400,
      code: 'invalid_json',
    },
    {
      name: 'a body compressed in a way we do not read',
      send: () => raw('x', { headers: { 'content-encoding': 'br' } }),
      status: 415,
      code: 'unsupported_media_type',
    },
  ])('with $name is told so', async ({ name: _, send, status, ...rest }) => {
    const response = await send();
    expect(response.status).toBe(status);
    const { error } = (await response.json()) as { error: Record<string, unknown> };
    expect(error).toMatchObject(rest);
    expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type']);
    expect(error['message']).not.toContain('secret words');
    expect(response.headers.get('x-request-id')).toBeTruthy();
  });

  test('of an unknown model names the nearest one', async () => {
    const response = await chat(appWith(scripted([])), { model: 'tset' });
    expect(await response.text()).toContain("'test'");
  });

  test('over the size limit is a 413, announced or not', async () => {
    const app = appWith(scripted(['a']), { options: { maxBodyBytes: 100 } as never });
    expect((await chat(app, { user: 'x'.repeat(200) })).status).toBe(413);
  });
});

describe('a browser', () => {
  test('on this machine may call, one from elsewhere may not', async () => {
    const app = appWith(scripted(['a']));
    const preflight = (origin: string, asked = 'authorization,x-stainless-os') =>
      app.request('/v1/chat/completions', {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': asked,
        },
      });
    const near = await preflight('http://localhost:3000');
    expect(near.headers.get('access-control-allow-headers')).toBe('authorization,x-stainless-os');
    expect(near.headers.get('access-control-allow-origin')).toBe('http://localhost:3000');
    for (const odd of ['a; b', '"a"', `x-${'a'.repeat(2000)}`]) {
      expect((await preflight('http://localhost:3000', odd)).headers.get('access-control-allow-headers')).toBeNull();
    }
    expect((await preflight('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
  });

  test('may read every header, such as the id of a stream to come back to', async () => {
    const headers = { origin: 'http://localhost:3000', 'x-tidegate-resumable': '1' };
    const response = await chat(appWith(scripted(['a'])), { stream: true }, headers);
    expect(response.headers.get('x-tidegate-stream-id')).toMatch(/^strm_/);
    expect(response.headers.get('access-control-expose-headers')).toBe('*');
    await response.text();
  });
});

test('who opens the base URL itself is told where the addresses are', async () => {
  const app = appWith(scripted([]));
  expect(await (await app.request('/v1')).text()).toContain(
    'Unknown request URL: GET /v1. GET /docs shows what there is.',
  );
  expect((await app.request('/docs')).status).toBe(200);
});

describe('models', () => {
  test('are listed and shown one by one, with and without /v1', async () => {
    const app = appWith(scripted([]));
    expect(await (await app.request('/v1/models')).json()).toMatchObject({
      object: 'list',
      data: [{ id: 'test', object: 'model' }],
    });
    expect((await app.request('/models')).status).toBe(200);
    expect(await (await app.request('/v1/models/test')).json()).toMatchObject({ id: 'test', owned_by: 'scripted' });
    expect((await app.request('/v1/models/nope')).status).toBe(404);
  });
});

describe('an answer that never ends', () => {
  const endless = () => {
    const provider = scripted([]);
    const stream: typeof provider.stream = async function* (_, { signal }) {
      while (!signal.aborted) yield { type: 'text-delta', choice: 0, text: 'again '.repeat(50_000) };
    };
    return { ...provider, stream };
  };
  const filters = createFilters(filtersSchema().parse({ shape: { kind: 'json', action: 'repair' } }));

  test.each([
    { name: 'asked for as a whole', path: '/v1/chat/completions', body: {}, parts: {}, status: 502 },
    { name: 'held by a filter', path: '/v1/chat/completions', body: { stream: true }, parts: { filters }, status: 200 },
    { name: 'of a Response', path: '/v1/responses', body: { stream: true, input: 'Hi' }, parts: {}, status: 200 },
  ])('fails, and its upstream is let go, $name', async ({ path, body, parts, status }) => {
    const provider = endless();
    const app = appWith(provider, {
      ...parts,
      routing: createRouting([
        { name: 'test', filters: ['shape'], targets: [{ name: 'endless/m', provider, model: 'm' }] },
      ]),
    });
    const asked = { messages: [{ role: 'user', content: 'Hi' }], ...body };
    const response = await post(app, path, { model: 'test', ...asked });
    expect(response.status).toBe(status);
    expect((await response.text()).includes('longer than')).toBe(true);
    expect(app.records).toHaveLength(1);
    expect(app.records[0]?.outcome).not.toBe('ok');
  });
});
