import type { lookup } from 'node:dns';
import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { createFetchTransport } from '../../src/transport/fetch.ts';
import { assertPublicUrl } from '../../src/transport/guard.ts';
import { createPooledTransport } from '../../src/transport/pooled.node.ts';
import { createUndiciTransport } from '../../src/transport/undici.ts';
import { type FaultyUpstream, faultyUpstream, gzipped, json, split } from '../faulty-upstream.ts';

const transports = {
  pooled: createPooledTransport({ connectTimeoutMs: 300 }),
  undici: createUndiciTransport({ connectTimeoutMs: 300 }),
  fetch: createFetchTransport(),
};
const never = new AbortController().signal;
let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(async () => {
  await transports.pooled.close?.();
  await transports.undici.close?.();
  await upstream.close();
});

async function read(body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}
const kindOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof GatewayError ? error.kind : String(error)),
  );
const post = (url: string) => ({ method: 'POST', url, headers: { 'x-a': 'b' }, body: '{"a":1}' }) as const;

describe.each(Object.entries(transports))('%s transport', (name, transport) => {
  test('sends the request as it is and reads the answer', async () => {
    upstream.answer(json({ ok: true }, 201, { 'x-one': 'two' }));
    const before = upstream.requests.length;
    const response = await transport.send(post(`${upstream.baseUrl}/chat?x=1`), { signal: never });
    expect([response.status, response.headers['x-one']]).toEqual([201, 'two']);
    expect(await read(response.body)).toBe('{"ok":true}');
    const seen = upstream.requests[before];
    expect([seen?.method, seen?.path, seen?.headers['x-a'], seen?.text]).toEqual([
      'POST',
      '/v1/chat?x=1',
      'b',
      '{"a":1}',
    ]);
  });

  test('undoes gzip as it arrives', async () => {
    upstream.answer(gzipped('héllo '.repeat(100)));
    const { body } = await transport.send(post(upstream.url), { signal: never });
    expect(await read(body)).toBe('héllo '.repeat(100));
  });

  test('keeps bytes in order when the reader is slow', async () => {
    const text = Array.from({ length: 40_000 }, (_, i) => `${i} `).join('');
    upstream.answer({ body: split(text, 1000) });
    const { body } = await transport.send(post(upstream.url), { signal: never });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(await read(body)).toBe(text);
  });

  test('never follows a redirect', async () => {
    upstream.answer({ status: 302, headers: { location: `${upstream.url}/elsewhere` } });
    const before = upstream.requests.length;
    const { status, body } = await transport.send(post(upstream.url), { signal: never });
    await read(body);
    expect([status, upstream.requests.length - before]).toEqual([302, 1]);
  });

  test.each([
    { phase: 'waiting for the head', answer: { beforeHead: ['stall'] } as const },
    { phase: 'streaming', answer: { body: [{ repeat: 'data: x\n\n', everyMs: 2 }] } as const },
    { phase: 'stalled, nobody pulling', answer: { body: ['data: x\n\n', 'stall'] } as const },
    { phase: 'paused by a reader that stopped', answer: { body: [{ repeat: 'x'.repeat(65536) }] } as const },
  ])('an abort while $phase closes the socket within 100 ms', async ({ answer, phase }) => {
    upstream.answer(answer);
    const before = upstream.requests.length;
    const controller = new AbortController();
    const sent = transport.send(post(upstream.url), { signal: controller.signal });
    sent.catch(() => {});
    await upstream.received(before + 1);
    if (phase === 'streaming') {
      for await (const _ of (await sent).body) break;
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
    const start = performance.now();
    controller.abort();
    const closed = await upstream.requests[before]?.closed;
    expect((closed ?? Number.POSITIVE_INFINITY) - start).toBeLessThan(100);
    if (phase === 'waiting for the head') expect(await kindOf(sent)).toBe('cancelled');
  });

  test('an abort is told to the reader as the reason it was given', async () => {
    upstream.answer({ body: ['data: x\n\n', 'stall'] });
    const controller = new AbortController();
    const { body } = await transport.send(post(upstream.url), { signal: controller.signal });
    setTimeout(() => controller.abort(new GatewayError('timeout', 'The first token took too long.')), 20);
    expect(await kindOf(read(body))).toBe('timeout');
  });

  test.each([
    { fault: 'a reset in the body', answer: { body: ['data: x\n\n', 'reset'] } as const, kind: 'upstream_failed' },
    { fault: 'a cut body', answer: { body: ['data: x\n\n', 'cut'] } as const, kind: 'upstream_failed' },
    { fault: 'a reset before the head', answer: { beforeHead: ['reset'] } as const, kind: 'upstream_unreachable' },
  ])('$fault is $kind', async ({ answer, kind }) => {
    upstream.answer(answer);
    const exchange = transport.send(post(upstream.url), { signal: never }).then(({ body }) => read(body));
    expect(await kindOf(exchange)).toBe(kind);
  });

  test('what is no HTTP is upstream_failed', async () => {
    const server = createServer((socket) => socket.on('error', () => {}).on('data', () => socket.end('SSH-2.0-x\r\n')));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    expect(await kindOf(transport.send(post(`http://127.0.0.1:${port}/`), { signal: never }))).toBe(
      name === 'fetch' ? 'upstream_unreachable' : 'upstream_failed', // fetch does not tell why
    );
    await new Promise((resolve) => server.close(resolve));
  });

  test('nobody listening is upstream_unreachable', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await new Promise((resolve) => server.close(resolve));
    expect(await kindOf(transport.send(post(`http://127.0.0.1:${port}/`), { signal: never }))).toBe(
      'upstream_unreachable',
    );
  });

  test('a reader that stops early frees the connection', async () => {
    upstream.answer({ body: [{ repeat: 'data: x\n\n', everyMs: 2 }] });
    const before = upstream.requests.length;
    const { body } = await transport.send(post(upstream.url), { signal: never });
    for await (const _ of body) break;
    await upstream.requests[before]?.closed;
  });

  if (name !== 'fetch') {
    test('uses a connection again after an answer that was read to its end', async () => {
      const alone = await faultyUpstream(json({ ok: true }));
      for (let i = 0; i < 5; i++) await read((await transport.send(post(alone.url), { signal: never })).body);
      expect(await alone.connections()).toBeLessThanOrEqual(2); // undici rests a connection for one turn of the loop
      await alone.close();
    });

    test.each([
      { what: 'a bomb', headers: { 'content-encoding': 'gzip' }, body: gzipped(' '.repeat(40_000_000)).body ?? [] },
      { what: 'an unknown encoding', headers: { 'content-encoding': 'zstd, gzip' }, body: ['x'] },
      { what: 'broken gzip', headers: { 'content-encoding': 'gzip' }, body: ['not gzip at all'] },
      {
        what: 'truncated gzip',
        headers: { 'content-encoding': 'gzip' },
        body: (gzipped('x'.repeat(999)).body ?? []).slice(0, 2),
      },
    ])('refuses $what', async ({ headers, body }) => {
      upstream.answer({ headers, body });
      const exchange = transport.send(post(upstream.url), { signal: never }).then((response) => read(response.body));
      expect(await kindOf(exchange)).toBe('upstream_failed');
    });

    test('stops reading from an upstream whose reader stopped', async () => {
      let written = 0;
      upstream.answer({
        body: [
          {
            get repeat() {
              written += 65536;
              return 'x'.repeat(65536);
            },
          },
        ],
      });
      const controller = new AbortController();
      await transport.send(post(upstream.url), { signal: controller.signal });
      await new Promise((resolve) => setTimeout(resolve, 200));
      controller.abort();
      expect(written).toBeLessThan(16_000_000);
    });
  }
});

describe('a transport for public addresses only', () => {
  const guarded = createUndiciTransport({ publicOnly: true });
  test.each([
    'http://127.0.0.1/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f000001/',
    'http://0177.0.0.1/',
    'http://0/',
    'http://localhost/',
    'http://LOCALHOST./',
    'http://a.localhost/',
    'http://metadata.google.internal/',
    'http://printer/',
    'http://10.1.2.3/',
    'http://172.20.0.1/',
    'http://192.168.1.1/',
    'http://169.254.169.254/latest/meta-data',
    'http://100.64.0.1/',
    'http://[::1]/',
    'http://[::]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:7f00:1]/',
    'http://[fe80::1]/',
    'http://[fd00:ec2::254]/',
    'http://[64:ff9b::7f00:1]/',
    'http://[64:ff9b:1::9.9.9.9]/',
    'http://[2001:0:909:909::1]/',
    'http://[2001:db8::1]/',
    'http://[2002:7f00:1::]/',
    'http://user:pass@example.com/',
    'file:///etc/passwd',
    'ftp://example.com/',
    'http://①②⑦.0.0.1/',
    'http://224.0.0.1/',
    'http://255.255.255.255/',
    'http://198.18.0.1/',
  ])('refuses %s', async (url) => {
    expect(await kindOf(guarded.send(post(url), { signal: never }))).toMatch(/^(forbidden|invalid_request)$/);
  });

  test.each(['http://9.9.9.9/', 'http://[2620:fe::fe]/', 'http://[::ffff:9.9.9.9]/', 'http://[64:ff9b::9.9.9.9]/'])(
    'lets %s pass, an IPv6 form of a public address too',
    (url) => expect(() => assertPublicUrl(url)).not.toThrow(),
  );

  test.each([
    ['a private address', ['127.0.0.1']],
    ['a public and a private address', ['9.9.9.9', '127.0.0.1']],
    ['a private address in an IPv6 form', ['::ffff:127.0.0.1']],
    ['the address of metadata', ['169.254.169.254']],
    ['no address', []],
  ])('refuses a public name that leads to %s when it is asked for', async (_what, answers) => {
    const before = upstream.requests.length;
    const resolveName = ((_name: string, _options: object, done: (error: null, found: object[]) => void) =>
      done(
        null,
        answers.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      )) as unknown as typeof lookup; // its overload for all addresses
    const transport = createUndiciTransport({ publicOnly: true, resolveName });
    const url = upstream.url.replace('127.0.0.1', 'rebinding.example');
    expect(await kindOf(transport.send(post(url), { signal: never }))).toBe('forbidden');
    expect(upstream.requests).toHaveLength(before);
    await transport.close?.();
  });
});
