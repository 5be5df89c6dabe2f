import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PlainHeads } from '../../src/node/plain/head.ts';
import { type PlainConnections, servePlainly } from '../../src/node/plain/serve.ts';
import { type Listening, listen } from '../../src/node/server.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { hello, RawClient, request } from './raw-client.ts';

describe('heads', () => {
  /** What node:http reads in a request; undefined where it refuses it. */
  let port: number;
  const server = createServer((incoming: IncomingMessage, outgoing) => {
    const { 'content-length': _, ...headers } = incoming.headers;
    outgoing.setHeader('connection', 'close').end(JSON.stringify({ path: incoming.url, headers }));
  });
  beforeAll(async () => {
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    port = (server.address() as AddressInfo).port; // listening on TCP
  });
  afterAll(() => server.close());

  const nodes = async (head: string): Promise<unknown> => {
    const client = new RawClient(port);
    client.socket.write(`${head}\r\n\r\nabc`, 'latin1');
    await client.leaves();
    const [, body = ''] = client.heard.split('\r\n\r\n');
    return client.heard.startsWith('HTTP/1.1 200 ') ? JSON.parse(body) : undefined;
  };

  const name = fc.constantFrom(
    'Host',
    'host',
    'x-a',
    'X-B',
    'authorization',
    'Accept',
    'x_c',
    '__proto__',
    'constructor',
  );
  const special = fc.constantFrom('Connection', 'Expect', 'Upgrade', 'TE', 'Transfer-Encoding', 'Content-Length');
  const value = fc.oneof(
    fc.constantFrom('keep-alive', 'Keep-Alive', 'close', 'chunked', '3', '03', '+3', '3, 3', '100-continue', '', ' '),
    fc.string({ unit: fc.constantFrom('a', 'B', ' ', '\t', ',', ':', '"', '\xe9', '\x7f', '\r', '\n') }),
  );
  const line = fc.tuple(
    fc.oneof({ weight: 4, arbitrary: name }, special),
    fc.constantFrom(':', ': ', ':\t', ' :'),
    value,
  );
  const heads = fc
    .record({
      first: fc.constantFrom(
        'POST /v1/x',
        'POST /v1/x?y=1',
        'GET /',
        'post /v1/x',
        'POST  /v1/x',
        'POST http://a/v1/x',
      ),
      version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
      before: fc.array(line, { maxLength: 3 }),
      length: fc.constantFrom('content-length: 3', 'Content-Length:3 ', 'content-length: 3'),
      host: fc.constantFrom('host: a', 'Host:a:80', 'x-host: a'),
      after: fc.array(line, { maxLength: 2 }),
    })
    .map(({ first, version, before, length, host, after }) => {
      const lines = (all: typeof before) => all.map((parts) => parts.join(''));
      return [`${first} HTTP/${version}`, ...lines(before), length, host, ...lines(after)].join('\r\n');
    });

  test('what is read of a plain head is what node:http reads', async () => {
    let plain = 0;
    await fc.assert(
      fc.asyncProperty(heads, async (text) => {
        const head = new PlainHeads().read(text);
        if (!head) return;
        plain++;
        expect(head.length).toBe(3);
        expect({ path: head.path, headers: head.headers }).toEqual(await nodes(text));
      }),
      { numRuns: 1500, seed: 7 },
    );
    expect(plain).toBeGreaterThan(20); // not all were left to node:http
  });

  const plain = 'POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 3';
  test.each([
    ['another method', plain.replace('POST', 'GET')],
    ['an older version', plain.replace('1.1', '1.0')],
    ['an absolute address', plain.replace('/v1/x', 'http://a/v1/x')],
    ['no host', plain.replace('host: a', 'x: a')],
    ['an empty host', plain.replace('host: a', 'host:')],
    ['two hosts', `${plain}\r\nHost: b`],
    ['what is no host', plain.replace('host: a', 'host: a/b')],
    ['no length', plain.replace('content-length', 'x')],
    ['two lengths', `${plain}\r\ncontent-length: 3`],
    ['a length that is no number', plain.replace('3', '+3')],
    ['a length that is two', plain.replace('3', '3, 3')],
    ['chunks', `${plain}\r\ntransfer-encoding: chunked`],
    ['a wish to go on', `${plain}\r\nexpect: 100-continue`],
    ['another protocol', `${plain}\r\nconnection: upgrade\r\nupgrade: h2c`],
    ['an end of the connection', `${plain}\r\nconnection: close`],
    ['an end of the connection to a proxy', `${plain}\r\nproxy-connection: close`],
    ['a header twice', `${plain}\r\nx: 1\r\nX: 2`],
    ['a folded header', `${plain}\r\nx: 1\r\n 2`],
    ['a space before the colon', `${plain}\r\nx : 1`],
    ['a bare line feed', `${plain}\r\nx: 1\ny: 2`],
    ['a bare carriage return', `${plain}\r\nx: 1\ry: 2`],
    ['a letter beyond ASCII', `${plain}\r\nx: \xe9`],
    ['a zero byte', `${plain}\r\nx: \0`],
    ['a name that every object has', `${plain}\r\n__proto__: 1`],
    ['a line before it', `\r\n${plain}`],
  ])('with %s are left to node:http', (_, text) => {
    const heads = new PlainHeads();
    expect(heads.read(text)).toBeUndefined();
    expect(heads.read(plain)).toMatchObject({ length: 3 });
    expect(heads.read(text)).toBeUndefined(); // also after one that is plain
  });

  test('are read once for all requests that differ in the length alone', () => {
    const heads = new PlainHeads();
    const first = heads.read(plain);
    const second = heads.read(plain.replace('3', '27'));
    expect(second).toEqual({ ...first, length: 27 });
    expect(second?.headers).toBe(first?.headers);
    expect(heads.read(plain.replace('a\r', 'b\r'))).toMatchObject({ headers: { host: 'b' }, length: 3 });
    expect(heads.read(plain.replace('3', ''))).toBeUndefined();
    for (const key of ['one', 'two']) {
      expect(heads.read(`${plain}\r\nauthorization: ${key}`)).toMatchObject({ headers: { authorization: key } });
    }
  });
});

/** Of times on a busy machine. */
const slack = process.env['CI'] ? 5 : 2;

describe('a connection', () => {
  const provider = scripted(['Hé', 60, 'llo 😀']);
  let server: Listening;
  beforeAll(async () => {
    server = await listen(appWith(provider), { host: '127.0.0.1', port: 0 });
  });
  afterAll(() => server.close(0));

  const whole = request(hello);
  const streamed = request({ ...hello, stream: true });
  const general = request(hello, 'x: \xe9\r\n'); // node:http has it

  test('answers requests of both kinds one after the other, and what was sent too early behind them', async () => {
    const client = new RawClient(server.port);
    const sent = [whole, streamed, whole, general, streamed, whole];
    for (const [i, bytes] of sent.entries()) {
      client.socket.write(bytes);
      await client.hears(/HTTP\/1\.1 200 OK\r\n/, i + 1);
      await client.hears(/"total_tokens":5|data: \[DONE\]\n\n\r\n0\r\n\r\n/, i + 1);
    }
    for (const bytes of [whole, streamed]) {
      client.heard = '';
      const early = new RawClient(server.port);
      early.socket.write(bytes);
      await expect.poll(() => provider.requests.length).toBeGreaterThan(6);
      early.socket.write(whole);
      early.socket.write(general);
      await early.hears(/HTTP\/1\.1 200 OK\r\n/, 3);
      await early.hears(/"total_tokens":5/, bytes === whole ? 3 : 2);
      early.socket.destroy();
    }
    client.socket.destroy();
  });

  test('writes text and heads as node:http does', async () => {
    const answers: string[] = [];
    for (const bytes of [whole, general, streamed, request({ ...hello, stream: true }, 'x: \xe9\r\n')]) {
      const client = new RawClient(server.port);
      client.socket.write(bytes);
      await client.hears(/"total_tokens":5|0\r\n\r\n$/);
      const [head = '', body = ''] = client.heard.split('\r\n\r\n', 2);
      const lines = head.toLowerCase().split('\r\n').sort();
      const [id = ''] = /req_\w+/.exec(head) ?? [];
      const varying = /^(date|x-tidegate-overhead-ms|x-tidegate-predicted-ttft-ms):/;
      const text = lines.filter((line) => !varying.test(line)).join('\n');
      const whole = Buffer.from(body.replace(/^[0-9a-f]+\r\n/gm, ''), 'latin1').toString();
      answers.push(`${text}\n${whole}`.replaceAll(id.toLowerCase(), 'ID').replace(/chatcmpl-\w+|"created":\d+/g, ''));
      client.socket.destroy();
    }
    expect(answers[0]).toContain('Héllo 😀');
    expect(answers[0]).toBe(answers[1]);
    expect(answers[2]).toContain('data: [DONE]');
    expect(answers[2]).toBe(answers[3]);
  });

  test.each([
    ['is closed', (client: RawClient) => client.socket.destroy()],
    ['is reset', (client: RawClient) => client.socket.resetAndDestroy()],
    ['says no more', (client: RawClient) => client.socket.end()],
  ])('that %s in the middle of an answer stops it within 100 ms', async (_, leave) => {
    const slow = scripted(['a', 20_000, 'b']);
    const listening = await listen(appWith(slow), { host: '127.0.0.1', port: 0 });
    for (const bytes of [whole, streamed, Buffer.concat([streamed])]) {
      const before = slow.aborted;
      const client = new RawClient(listening.port);
      client.socket.write(bytes);
      await expect.poll(() => slow.requests.length, { interval: 1 }).toBeGreaterThan(before);
      if (bytes !== whole) client.socket.write(whole); // a request too early does not hide that the client leaves
      await new Promise((resolve) => setTimeout(resolve, 20));
      const leftMs = performance.now();
      leave(client);
      await expect.poll(() => slow.aborted, { interval: 1 }).toBe(before + 1);
      expect(performance.now() - leftMs).toBeLessThan(100 * slack);
    }
    await listening.close(0);
  });

  test('ends with its answer once the server closes, or at once where it rests', async () => {
    const provider = scripted(['a', 100, 'b']);
    const listening = await listen(appWith(provider), { host: '127.0.0.1', port: 0 });
    const [resting, running, streaming] = [1, 2, 3].map(() => new RawClient(listening.port));
    resting?.socket.write(whole);
    await resting?.hears(/"total_tokens":5/);
    running?.socket.write(whole);
    streaming?.socket.write(streamed);
    await streaming?.hears(/"content":"a"/);
    await expect.poll(() => provider.requests.length, { interval: 1 }).toBe(3);
    const closed = listening.close(5000);
    for (const client of [resting, running, streaming]) await client?.leaves();
    await closed;
    expect(running?.heard).toMatch(/\r\nconnection: close\r\n[\s\S]*"total_tokens":5/);
    expect(streaming?.heard).toMatch(/data: \[DONE\]\n\n\r\n0\r\n\r\n$/);
  });

  test('ends once a long answer has left that was being read when the server closed', async () => {
    const listening = await listen(appWith(scripted(Array(100).fill('y'.repeat(100_000)))), {
      host: '127.0.0.1',
      port: 0,
    });
    const client = new RawClient(listening.port);
    client.socket.pause();
    client.socket.write(whole);
    await expect.poll(() => client.socket.bytesRead, { timeout: 10_000 }).toBeGreaterThan(0);
    const startMs = performance.now();
    const closed = listening.close(20_000);
    client.socket.resume();
    await closed;
    expect(performance.now() - startMs).toBeLessThan(10_000);
    await client.leaves();
    const [head = '', body = ''] = client.heard.split('\r\n\r\n');
    expect(body.length).toBeGreaterThan(10_000_000);
    expect(head).toContain(`content-length: ${body.length}\r\n`);
  });

  test('answers all that was sent too early, also where that is more than is kept', async () => {
    const provider = scripted(['a', 100, 'b']);
    const listening = await listen(appWith(provider), { host: '127.0.0.1', port: 0 });
    const client = new RawClient(listening.port);
    client.socket.write(whole);
    await expect.poll(() => provider.requests.length, { interval: 1 }).toBe(1);
    const long = request({ ...hello, messages: [{ role: 'user', content: 'u'.repeat(60_000) }] });
    client.socket.write(Buffer.concat(Array(12).fill(long)));
    await client.hears(/"total_tokens":5/, 13);
    client.socket.destroy();
    await listening.close(0);
  });

  test('is cut when the server’s patience ends', async () => {
    const listening = await listen(appWith(scripted(['a', 20_000, 'b'])), { host: '127.0.0.1', port: 0 });
    const client = new RawClient(listening.port);
    client.socket.write(streamed);
    await client.hears(/"content":"a"/);
    await listening.close(50);
    await client.leaves();
    expect(client.heard).not.toContain('[DONE]');
  });
});

describe('limits', () => {
  const server = createServer({ headersTimeout: 150, requestTimeout: 200, connectionsCheckingInterval: 50 });
  let plain: PlainConnections;
  let port: number;
  beforeAll(async () => {
    const { direct } = appWith(scripted(['Hi']));
    plain = servePlainly(server, direct, {
      headersTimeout: 150,
      keepAliveTimeout: 1000,
      slowReaderMs: () => 60_000,
      connectionsCheckingInterval: 50,
    });
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    port = (server.address() as AddressInfo).port; // listening on TCP
  });
  afterAll(() => {
    plain.destroy();
    server.close();
  });

  test.each([
    { name: 'says nothing', first: '', heard: /^$/ },
    {
      name: 'stops in the middle of a head',
      first: 'POST /v1/chat/completions HTTP/1.1\r\nho',
      heard: /^HTTP\/1\.1 408 /,
    },
    { name: 'stops in the middle of a body', first: request(hello).subarray(0, -5), heard: /^HTTP\/1\.1 408 / },
    { name: 'rests after an answer', first: request(hello), heard: /^HTTP\/1\.1 200 /, afterMs: 900 },
  ])('a client that $name is hung up on', async ({ first, heard, afterMs = 0 }) => {
    const client = new RawClient(port);
    client.socket.write(first);
    const sinceMs = performance.now();
    await client.leaves();
    expect(client.heard).toMatch(heard);
    expect(performance.now() - sinceMs).toBeGreaterThan(afterMs);
  });

  test('a body that comes a byte at a time is hung up on too', async () => {
    const client = new RawClient(port);
    client.socket.write(request(hello).subarray(0, -60));
    const dripping = setInterval(() => client.socket.write('x'), 20);
    await client.leaves();
    clearInterval(dripping);
    expect(client.heard).toMatch(/^HTTP\/1\.1 408 /);
  });
});
