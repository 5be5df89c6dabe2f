import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Listening, listen } from '../../src/node/server.ts';
import { appWith } from '../app.ts';
import { type ScriptedProvider, scripted } from '../scripted.ts';
import { hello, RawClient, request } from './raw-client.ts';

const long = { ...hello, messages: [{ role: 'user', content: 'u'.repeat(70_000) }] };
/** Who answers: the gateway itself or, for a body that long, node:http. */
const ways = [
  { way: 'plain', bytes: request(hello) },
  { way: 'node:http', bytes: request(long) },
];

function serving(provider: ScriptedProvider, slowReaderMs?: number): Promise<Listening> {
  const limits = slowReaderMs === undefined ? {} : { slowReaderMs: () => slowReaderMs };
  return listen(appWith(provider), { host: '127.0.0.1', port: 0, ...limits });
}

/** An answer of 10 MB, more than the kernel takes for a client that does not read. */
const tenMegabytes = () => scripted(Array(100).fill('y'.repeat(100_000)));

/** A client that has not read more than the beginning of that answer. */
async function begunToRead(port: number, bytes: Uint8Array): Promise<RawClient> {
  const client = new RawClient(port);
  client.socket.pause();
  client.socket.write(bytes);
  await expect.poll(() => client.socket.bytesRead, { timeout: 10_000 }).toBeGreaterThan(0);
  return client;
}

describe.each(ways)('a connection of the $way way', ({ bytes }) => {
  test('ends once a long answer has left that was being read when the server closed', async () => {
    const server = await serving(tenMegabytes());
    const client = await begunToRead(server.port, bytes);
    const startMs = performance.now();
    const closed = server.close(20_000);
    await sleep(300); // node:http looks for idle connections meanwhile
    client.socket.resume();
    await closed;
    expect(performance.now() - startMs).toBeLessThan(10_000);
    await client.leaves();
    const [head = '', body = ''] = client.heard.split('\r\n\r\n');
    expect(body.length).toBeGreaterThan(10_000_000);
    expect(head).toContain(`content-length: ${body.length}\r\n`);
  });

  test('is cut when nobody reads its whole answer', async () => {
    const server = await serving(tenMegabytes(), 100);
    const client = await begunToRead(server.port, bytes);
    const startMs = performance.now();
    await server.close(30_000); // its limit does not matter: what is not read goes before
    expect(performance.now() - startMs).toBeLessThan(20_000);
    client.socket.resume();
    await client.leaves();
    expect(client.heard.length).toBeLessThan(10_000_000);
  });

  test('is not cut while a slow reader goes on, nor when it rests between requests', async () => {
    const server = await serving(tenMegabytes(), 100);
    const client = await begunToRead(server.port, bytes);
    const pause = () => client.socket.pause();
    client.socket.on('data', pause);
    const reading = setInterval(() => client.socket.resume(), 25); // 64 KB each
    await client.hears(/"total_tokens"/);
    clearInterval(reading);
    client.socket.off('data', pause).resume();
    await sleep(3500);
    client.heard = '';
    client.socket.write(bytes);
    await client.hears(/"total_tokens"/);
    client.socket.destroy();
    await server.close(0);
  });

  test('starts the requests that it brings at once one after the other', async () => {
    const provider = scripted(['a', 100, 'b']);
    const server = await serving(provider);
    const client = new RawClient(server.port);
    client.socket.write(Buffer.concat(Array(5).fill(bytes)));
    const startMs = performance.now();
    await expect.poll(() => provider.requests.length, { interval: 1 }).toBeGreaterThan(0);
    await client.hears(/"total_tokens":5/, 5);
    expect(performance.now() - startMs).toBeGreaterThan(490);
    client.socket.destroy();
    await server.close(0);
  });
});

test('who sends more requests at once than may wait is hung up on, at no cost to others', async () => {
  const provider = scripted(['a', 10_000, 'b']);
  const server = await serving(provider);
  const client = new RawClient(server.port);
  client.socket.write(request(long));
  await expect.poll(() => provider.requests.length, { interval: 1 }).toBe(1);
  const startMs = performance.now();
  client.socket.write('GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(100_000));
  await client.leaves();
  await server.close(0);
  expect(performance.now() - startMs).toBeLessThan(3000);
});

test('all of many requests that wait for their turn are answered', async () => {
  const server = await serving(scripted(['a', 300, 'b']));
  const client = new RawClient(server.port);
  client.socket.write(request(long));
  client.socket.write('GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(99));
  client.socket.write(request(long));
  await client.hears(/HTTP\/1\.1 200 OK\r\n/, 101);
  await client.hears(/"total_tokens":5/, 2);
  client.socket.destroy();
  await server.close(0);
});
