import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Listening, listen } from '../../src/node/server.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { hello, RawClient, request } from './raw-client.ts';

const provider = scripted(['Hi']);
let server: Listening;
beforeAll(async () => {
  server = await listen(appWith(provider), { host: '127.0.0.1', port: 0 });
});
afterAll(() => server.close(0));

/** All that a connection brings for these bytes, to its end. */
async function heard(bytes: string): Promise<string> {
  const client = new RawClient(server.port);
  client.socket.write(bytes, 'latin1');
  await client.leaves();
  return client.heard;
}

const text = JSON.stringify(hello);
const chat = request(hello).toString();

describe('what can be no host gets a 400', () => {
  test.each([
    ['a host with a path', 'host: 127.0.0.1/x'],
    ['a host with a blank in it', 'host: 127.0.0.1 x'],
    ['a host with a user', 'host: user@127.0.0.1'],
  ])('as %s, whoever would answer it', async (_, lines) => {
    const before = provider.requests.length;
    for (const bytes of [chat, `GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`]) {
      const odd = bytes.replace('host: 127.0.0.1', lines);
      expect(await heard(odd)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
      expect(await heard(odd + odd)).not.toMatch(/HTTP[\s\S]*HTTP/); // the connection ends with it
    }
    expect(provider.requests.length).toBe(before);
  });

  test.each(['127.0.0.1', '127.0.0.1:80', '[::1]:80', 'localhost', 'LOCALHOST:', ''])('unlike %s', async (host) => {
    const bytes = chat.replace('127.0.0.1\r\n', `${host}\r\nconnection: close\r\n`);
    expect(await heard(bytes)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('what no route sees is refused in words', () => {
  const get = 'GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n';
  test.each([
    { what: 'no HTTP', bytes: 'hello\r\n\r\n', status: 400, says: /no HTTP\/1\.1 request/ },
    { what: 'no host', bytes: 'GET /v1/models HTTP/1.1\r\n\r\n', status: 400, says: /name one host/ },
    { what: 'two hosts', bytes: `${get}host: b\r\n\r\n`, status: 400, says: /name one host/ },
    { what: 'no path', bytes: 'OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n', status: 400, says: /name a path/ },
    { what: 'a head of 3 MB', bytes: `${get}x: ${'y'.repeat(3_000_000)}\r\n\r\n`, status: 431, says: /too large/ },
    { what: 'a strange expectation', bytes: `${get}expect: x\r\n\r\n`, status: 417, says: /100-continue/ },
    { what: 'a tunnel', bytes: 'CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n', status: 501, says: /no proxy/ },
    {
      what: 'a chunk of no size',
      bytes: 'POST /v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      status: 400,
      says: /chunk size/,
    },
  ])('$what', async ({ bytes, status, says }) => {
    const [head = '', ...bodies] = (await heard(bytes)).split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [A-Z].*\\r\\n`));
    expect(head).toMatch(/^connection: close$/im);
    const { error } = JSON.parse(/\{.*\}/.exec(bodies.join(''))?.[0] ?? '');
    expect(error).toMatchObject({ type: 'invalid_request_error', param: null, code: expect.any(String) });
    expect(error.message).toMatch(says);
  });

  test('but never in place of an answer that is being made', async () => {
    const slow = scripted([60_000]);
    const own = await listen(appWith(slow), { host: '127.0.0.1', port: 0 });
    const client = new RawClient(own.port);
    client.socket.write(`\r\n${chat}`); // the blank line leaves it to node:http
    await expect.poll(() => slow.requests.length).toBe(1);
    client.socket.write('hello\r\n\r\n');
    await client.leaves();
    expect(client.heard).toBe('');
    await own.close(0);
  });
});

const mostly = <T>(usual: T, ...odd: T[]) =>
  fc.oneof({ weight: 3 * odd.length, arbitrary: fc.constant(usual) }, fc.constantFrom(...odd));

const size = text.length.toString(16);
const odd = fc
  .record({
    first: mostly(
      'POST /v1/chat/completions HTTP/1.1',
      ...[
        'POST /v1/chat/completions HTTP/1.0',
        'POST /v1/chat/completions?a=b HTTP/1.1',
        'post /v1/chat/completions HTTP/1.1',
      ],
      ...[
        'POST http://127.0.0.1/v1/chat/completions HTTP/1.1',
        'PUT /v1/chat/completions HTTP/1.1',
        'GET /v1/models HTTP/1.1',
      ],
      ...[
        'TRACE /v1/models HTTP/1.1',
        'OPTIONS * HTTP/1.1',
        'POST  /v1/chat/completions HTTP/1.1',
        'POST /v1/chat/completions',
      ],
      ...[
        'POST /v1/chat/completions HTTP/1.1 ',
        'POST /v1/chat/completions HTTP/2.0',
        'POST /\xe9 HTTP/1.1',
        'POST /v1/embeddings HTTP/1.1',
      ],
    ),
    host: mostly('host: 127.0.0.1', 'Host:localhost', 'host: a\r\nhost: b', 'host:', 'x: y', 'host : a'),
    more: fc.array(
      fc.constantFrom(
        ...[
          'x: y',
          'X-Y:z',
          'x: \xe9',
          'x: \x7f',
          'x: a\x01',
          'x : y',
          'x: a\r\n b',
          'x',
          ': y',
          'x(: y',
          'x: a\ny: b',
        ],
        ...['Connection: close', 'Connection: Keep-Alive', 'upgrade: h2c', 'expect: 100-continue'],
        ...[
          'expect: x',
          'te: trailers',
          'trailer: x',
          `x: ${'y'.repeat(20_000)}`,
          `x: ${'y'.repeat(40_000)}`,
          '__proto__: x',
        ],
        ...['content-length: 5', 'transfer-encoding: chunked', 'content-type: text/plain'],
      ),
      { maxLength: 2 },
    ),
    body: mostly(
      `content-length: ${text.length}\r\n\r\n${text}`,
      `content-length: +${text.length}\r\n\r\n${text}`,
      `content-length: ${text.length}, ${text.length}\r\n\r\n${text}`,
      `content-length: 000${text.length} \r\n\r\n${text}`,
      `content-length: ${text.length - 1}\r\n\r\n${text}`,
      `content-length : ${text.length}\r\n\r\n${text}`,
      `Transfer-Encoding: chunked\r\n\r\n${size};a=b\r\n${text}\r\n0\r\nx: y\r\n\r\n`,
      `transfer-encoding: xchunked\r\n\r\n${size}\r\n${text}\r\n0\r\n\r\n`,
      `transfer-encoding: chunked\r\n\r\n${size}\n${text}\r\n0\r\n\r\n`,
      '\r\n',
    ),
  })
  .map(({ first, host, more, body }) => `${[first, host, ...more].join('\r\n')}\r\n${body}`);

/** Without what two answers to the same request differ in. */
const alike = (answer: string): string =>
  answer
    .replace(/\r\n(date|x-tidegate-overhead-ms|x-tidegate-predicted-ttft-ms): [^\r]*/gi, '')
    .replace(/\r\n(connection|keep-alive): /gi, (line) => line.toLowerCase())
    .replace(/(req_|chatcmpl-)\w+|"created":\d+/g, '$1');

/** Of each answer its head's lines sorted, since node:http puts its own elsewhere. */
const answersOf = (all: string): string[][] =>
  alike(all)
    .split(/(?=HTTP\/1\.1 \d)/)
    .map((each) => {
      const [head = '', ...body] = each.split('\r\n\r\n');
      return [...head.split('\r\n').sort(), body.join('\r\n\r\n')];
    });

/** A blank line before it leaves a whole connection to node:http, which is the oracle. */
test('odd requests are answered as node:http reads them, also behind others', async () => {
  const end = 'GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n';
  let answered = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(odd, fc.constant(chat)), { minLength: 1, maxLength: 3 }), async (requests) => {
      const bytes = requests.join('') + end;
      const [ours, nodes] = await Promise.all([heard(bytes), heard(`\r\n${bytes}`)]);
      expect(answersOf(ours)).toEqual(answersOf(nodes));
      if (ours.includes('HTTP/1.1 200 ')) answered++;
    }),
    { numRuns: 150, seed: 11 },
  );
  expect(answered).toBeGreaterThan(40);
});
