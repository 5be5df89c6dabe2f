import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { createPooledTransport } from '../../src/transport/pooled.node.ts';
import { createUndiciTransport } from '../../src/transport/undici.ts';

/** Answers raw bytes and closes; undici 7 alone would end this process in the second half of the table. */
async function answering(head: string, body: Buffer, how: 'end' | 'reset') {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(`${head}\r\n\r\n`);
      socket.write(body);
      if (how === 'end') socket.end();
      else setTimeout(() => socket.resetAndDestroy(), 50);
    });
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo; // listening on TCP
  return { url: `http://127.0.0.1:${port}/`, close: () => server.close() };
}

const close = 'HTTP/1.1 200 OK\r\nConnection: close';
const cases = [
  { name: 'a whole answer that ends with the connection', head: close, bytes: 100_000, how: 'end', error: false },
  { name: 'a whole HTTP/1.0 answer', head: 'HTTP/1.0 200 OK', bytes: 100_000, how: 'end', error: false },
  {
    name: 'an answer shorter than it said',
    head: `${close}\r\nContent-Length: 600000`,
    bytes: 100_000,
    how: 'end',
    error: true,
  },
  {
    name: 'a reset in the middle',
    head: `${close}\r\nContent-Length: 600000`,
    bytes: 100_000,
    how: 'reset',
    error: true,
  },
] as const;
const ways = [createPooledTransport, createUndiciTransport];
const table = cases.flatMap((each) => ways.map((create) => ({ ...each, create })));
test.each(table)('a slow reader survives $name ($create.name)', async ({ head, bytes, how, error, create }) => {
  const peer = await answering(head, Buffer.alloc(bytes, 'a'), how);
  const transport = create();
  const { body } = await transport.send(
    { method: 'GET', url: peer.url, headers: {} },
    { signal: new AbortController().signal },
  );
  await new Promise((resolve) => setTimeout(resolve, 200)); // the body waits: the parser is paused when the peer closes
  let read = 0;
  const reading = (async () => {
    for await (const piece of body) read += piece.length;
  })();
  if (error) await expect(reading).rejects.toMatchObject({ name: 'GatewayError' });
  else await reading;
  if (!error) expect(read).toBe(bytes);
  peer.close();
  await transport.close?.();
});
