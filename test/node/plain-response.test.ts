import { Agent, createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DirectContext } from '../../src/http/direct.ts';
import type { AppContext, NodeResponse } from '../../src/http/env.ts';
import { type PlainConnections, servePlainly } from '../../src/node/plain/serve.ts';
import { RawClient } from './raw-client.ts';

/** What the route under test does with its response: by the plain way, or by node:http's, which is the oracle. */
let write: (out: NodeResponse) => unknown;
const path = '/x';
const handler = async (c: AppContext): Promise<Response> => {
  const { outgoing } = c.env ?? {};
  if (outgoing) await write(outgoing);
  return new Response();
};
const server = createServer((incoming, outgoing) => {
  incoming.resume();
  handler(new DirectContext(path, { ...incoming, headers: {}, complete: true } as never, outgoing as never)).catch(() =>
    outgoing.destroy(),
  );
});
let plain: PlainConnections;
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
beforeAll(async () => {
  const direct = new Map([[path, new Map([['POST', handler]])]]);
  const limits = { headersTimeout: 9000, keepAliveTimeout: 9000, slowReaderMs: () => 9000 };
  plain = servePlainly(server, direct, { ...limits, connectionsCheckingInterval: 1000 });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
});
afterAll(() => {
  agent.destroy();
  plain.destroy();
  server.close();
});
const port = () => (server.address() as AddressInfo).port; // listening on TCP

/** One answer, read by node's own client over a connection that is kept, or one of its own. */
async function ask(headers: Record<string, string> = {}, over: Agent | false = agent) {
  const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = {
      port: port(),
      host: '127.0.0.1',
      path,
      method: 'POST',
      headers: { ...headers, 'content-length': 2 },
    };
    request({ ...options, agent: over })
      .on('error', reject)
      .on('response', resolve)
      .end('{}');
  });
  const { date: _, connection: __, 'keep-alive': ___, ...rest } = incoming.headers;
  return { status: incoming.statusCode, headers: rest, body: (await buffer(incoming)).toString() };
}
/** What of a request leads to node:http. */
const nodes = { 'x-to-node': '\xe9' };
const bytes = (text: string) => new TextEncoder().encode(text);

test.each<{ what: string; does: (out: NodeResponse) => void }>([
  {
    what: 'text and bytes of many letters, given out together',
    does(out) {
      out.writeHead(200, { 'x-name': 'Zo\xeb' });
      out.cork();
      for (const piece of ['é€', bytes('é€'), 'a', bytes('a😀'), '😀']) out.write(piece);
      out.uncork();
      out.end('é');
    },
  },
  {
    what: 'empty pieces among others',
    does(out) {
      out.writeHead(200, {});
      for (const piece of ['a', '', new Uint8Array(), 'b']) out.write(piece);
      out.end('');
    },
  },
  {
    what: 'long pieces between short ones',
    does(out) {
      out.writeHead(200, {});
      for (const piece of ['a', bytes('b'.repeat(40_000)), 'é', 'c'.repeat(40_000), bytes('d')]) out.write(piece);
      out.end();
    },
  },
  {
    what: 'a status that has no body',
    does(out) {
      out.writeHead(204, {});
      out.end();
    },
  },
])('$what arrive as from node:http, and the next answer of the connection too', async ({ does }) => {
  write = does;
  const expected = await ask(nodes, false);
  for (let i = 0; i < 2; i++) expect(await ask()).toEqual(expected);
});

test('a header with a line break in its value is not sent', async () => {
  write = (out) => {
    out.writeHead(200, { 'x-a': 'b\r\nx-evil: 1' });
    out.end('x');
  };
  const { status, headers } = await ask();
  expect([status, headers['x-evil']]).toEqual([500, undefined]);
});

test('a fault after the head ends the connection: the client must not take a part for the whole', async () => {
  write = (out) => {
    out.writeHead(200, {});
    out.write('half');
    throw new Error('a bug');
  };
  await expect(ask({}, false)).rejects.toThrow(/aborted|socket hang up/);
});

test('a head longer than node:http takes is refused as there', async () => {
  write = (out) => {
    out.writeHead(200, {});
    out.end('x');
  };
  expect((await ask({ 'x-long': 'a'.repeat(20_000) }, false)).status).toBe(431);
});

test('a client that sends on and on while its answer is made is held back', async () => {
  write = () => new Promise(() => {}); // never answers
  const client = new RawClient(port());
  client.socket.write(`POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}`);
  await new Promise((resolve) => setTimeout(resolve, 20));
  client.socket.write('x'.repeat(60_000_000));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(client.socket.writableLength).toBeGreaterThan(0);
  client.socket.destroy();
});
