import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readBody } from '../../src/http/body.ts';
import type { AppContext, NodeRequest } from '../../src/http/env.ts';
import { type Listening, listen } from '../../src/node/server.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';
import { hello, RawClient, request } from './raw-client.ts';

/** What a server says that was sent these bytes, until its first final answer is whole or it hangs up. */
function answered(port: number, bytes: string, cut = 0): Promise<string> {
  return new Promise((resolve) => {
    let heard = '';
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(bytes.slice(0, cut), 'latin1');
      setImmediate(() => socket.write(bytes.slice(cut), 'latin1'));
    });
    socket.setTimeout(5000, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => resolve(heard));
    socket.on('data', (piece) => {
      heard = `${heard}${piece.toString('latin1')}`.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '');
      const [, length = ''] = /\r\ncontent-length: (\d+)\r\n/i.exec(heard) ?? [];
      const isWhole = length !== '' && heard.length >= heard.indexOf('\r\n\r\n') + 4 + Number(length);
      if (isWhole || heard.endsWith('0\r\n\r\n')) socket.destroy();
    });
  });
}

/** Both servers answer with what they have read. */
const echo = (incoming: Pick<NodeRequest, 'method' | 'headers'> | undefined, body: Uint8Array) => {
  const { method, headers = {} } = incoming ?? {};
  const { 'x-a': a, 'x-b': b, cookie, host } = headers;
  return JSON.stringify({ method, a, b, cookie, host, body: Buffer.from(body).toString('latin1') });
};
const oracle = createServer(async (incoming, outgoing) => {
  try {
    const pieces: Uint8Array[] = [];
    for await (const piece of incoming) pieces.push(piece);
    outgoing.end(echo(incoming, Buffer.concat(pieces)));
  } catch {
    outgoing.destroy(); // a body that broke off
  }
});
let ours: Listening;
let oraclePort: number;
let plainly = 0;
const direct = async (c: AppContext) => {
  if (c.env?.incoming?.body) plainly++;
  const text = echo(c.env?.incoming, await readBody(c, 100_000));
  c.env?.outgoing?.writeHead(200, { 'content-length': String(Buffer.byteLength(text)) });
  c.env?.outgoing?.end(text);
  return new Response();
};
const general = async (request: Request) =>
  new Response(
    echo(
      { method: request.method, headers: Object.fromEntries(request.headers) },
      new Uint8Array(await request.arrayBuffer()),
    ),
  );

beforeAll(async () => {
  const routes = new Map([['/echo', new Map([['POST', direct]])]]);
  ours = await listen({ fetch: general, direct: routes }, { host: '127.0.0.1', port: 0 });
  await new Promise<void>((ready) => oracle.listen(0, '127.0.0.1', ready));
  oraclePort = (oracle.address() as AddressInfo).port; // listening on TCP
});
afterAll(async () => {
  await ours.close(0);
  oracle.closeAllConnections();
  oracle.close();
});

const mostly = (usual: string, ...others: readonly string[]) =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(usual) }, fc.constantFrom(...others));
const plainValue = fc.constantFrom('a', '', ' b; c ', 'a,b');
const evenLines = fc.tuple(fc.constantFrom('x-a', 'X-B', 'cookie', '__proto__'), plainValue).map((of) => of.join(': '));
const oddLine = fc.constantFrom(
  ...['x-a: \xe9', 'x-a: a\0b', 'x-a: a\rb', 'x-a: a\nb: 2', 'x-a: 1\r\n 2', 'x-a : 1', ': 1', 'noline', 'x y: 1'],
  ...['connection: close', 'connection: keep-alive', 'expect: 100-continue', 'upgrade: h2c', '(x): 1', '\xe9: 1'],
  ...[`x-a: ${'v'.repeat(20_000)}`, 'transfer-encoding: chunked', 'content-length: 2', 'trailer: x', 'te: trailers'],
);
const chunks = (body: string) => `${body.length.toString(16)};a=b\r\n${body}\r\n0\r\nx-t: 1\r\n\r\n`;
const framed = fc.tuple(fc.constantFrom('hi', 'hello', 'a'.repeat(300), '\0\xff\r\n\r\n'), fc.nat(25)).map(
  ([body, kind]) =>
    [
      [`content-length: 0${body.length}`, body],
      ['transfer-encoding: chunked', chunks(body)],
      ['Transfer-Encoding: gzip', chunks(body)],
      [`content-length: ${body.length}, ${body.length}`, body],
      [`content-length: +${body.length}`, body],
      ['transfer-encoding: chunked\r\ncontent-length: 3', chunks(body)],
    ][kind] ?? [`content-length: ${body.length}`, body],
);
const requests = fc
  .record({
    method: mostly('POST', 'PUT', 'DELETE', 'OPTIONS', 'post', 'PO ST'),
    target: mostly('/echo', '/echo?x=1', '/other', 'http://a/echo', '/e\x7f'),
    version: mostly('HTTP/1.1', 'HTTP/1.0', 'HTTP/1.2', 'XTTP/1.1'),
    host: fc.constantFrom('host: a', 'Host:a', 'host: a:80'),
    framed,
    more: fc.array(fc.oneof({ weight: 15, arbitrary: evenLines }, oddLine), { maxLength: 4 }),
    cut: fc.nat(120),
  })
  .map(({ method, target, version, host, framed: [frame, body], more, cut }) => {
    const lines = [`${method} ${target} ${version}`, ...more.slice(2), frame, host, ...more.slice(0, 2)];
    return { bytes: `${lines.join('\r\n')}\r\n\r\n${body}`, cut };
  });

test('a request means what it means to node:http, whoever reads it, in one piece and in two', async () => {
  const meaning = (answer: string) => {
    const status = answer.slice(9, 12);
    return `${status} ${status === '200' ? /\{.*\}/.exec(answer)?.[0] : ''}`; // a refusal's words are our own
  };
  const sample = fc.sample(requests, { numRuns: 400, seed: 11 });
  const statuses = new Set<string>();
  for (let at = 0; at < sample.length; at += 20) {
    const compared = sample.slice(at, at + 20).map(async ({ bytes, cut }) => {
      const [expected, whole, split] = await Promise.all([
        answered(oraclePort, bytes),
        answered(ours.port, bytes),
        answered(ours.port, bytes, cut),
      ]);
      expect(meaning(whole), bytes).toBe(meaning(expected));
      expect(meaning(split), bytes).toBe(meaning(expected));
      statuses.add(meaning(expected).slice(0, 4));
    });
    await Promise.all(compared);
  }
  expect([...statuses].sort()).toEqual(['200 ', '400 ']);
  expect(plainly).toBeGreaterThan(100); // not all were left to node:http
});

test.each([
  { name: 'a POST', bytes: 'POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nHost: b\r\n\r\nhi' },
  { name: 'a GET', bytes: 'GET /echo HTTP/1.1\r\nhost: a\r\nHOST: a\r\n\r\n' },
  { name: 'an absolute address', bytes: 'GET http://a/echo HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n' },
  { name: 'an absolute address and its header', bytes: 'GET http://b:80/echo HTTP/1.1\r\nhost: a\r\n\r\n' },
])('two hosts of $name are refused', async ({ bytes }) => {
  expect(await answered(ours.port, bytes)).toMatch(/^HTTP\/1\.1 400 [\s\S]*connection: close/i);
});

test('an absolute address of the host that the header names is answered', async () => {
  const bytes = 'GET http://A/echo HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n';
  expect(await answered(ours.port, bytes)).toMatch(/^HTTP\/1\.1 (?!400)/);
});

test('CONNECT is answered, and then the connection ends', async () => {
  const client = new RawClient(ours.port);
  client.socket.write('CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n');
  await client.leaves();
  expect(client.heard).toMatch(/^HTTP\/1\.1 501 Not Implemented\r\n/);
});

test('CONNECT behind a request gets no answer that could be taken for its, and stops it', async () => {
  const slow = scripted(['a', 20_000, 'b']);
  const listening = await listen(appWith(slow), { host: '127.0.0.1', port: 0 });
  const client = new RawClient(listening.port);
  client.socket.write(request(hello, 'x: \xe9\r\n')); // node:http has it
  await expect.poll(() => slow.requests.length, { interval: 1 }).toBe(1);
  client.socket.write('CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n');
  await client.leaves();
  expect(client.heard).toBe('');
  await expect.poll(() => slow.aborted, { interval: 1 }).toBe(1);
  await listening.close(0);
});
