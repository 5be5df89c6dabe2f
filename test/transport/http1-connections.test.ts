import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { toGatewayError } from '../../src/core/errors.ts';
import type { TransportRequest } from '../../src/core/transport.ts';
import { createPooledTransport } from '../../src/transport/pooled.node.ts';

/** What the upstream does once the head of a request is there; `nth` of all. */
let script: (socket: Socket, nth: number) => void;
let server: Server;
let url: string;
/** The heads of requests, and over which connection each came. */
let heads: string[];
let used: Socket[];
const transport = createPooledTransport({ connectTimeoutMs: 1000 });

beforeEach(async () => {
  [heads, used] = [[], []];
  server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      if (!text.startsWith('POST ')) return; // more of a long body
      used.push(socket);
      script(socket, heads.push(text));
    });
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/chat`; // listening on TCP
});
afterEach(() => {
  for (const socket of used) socket.destroy();
  server.close();
});

const ok = 'HTTP/1.1 200 OK\r\n';
const answer = (text: string, more = '') => `${ok}${more}content-length: ${text.length}\r\n\r\n${text}`;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const never = new AbortController().signal;

async function ask(change: Partial<TransportRequest> = {}, signal = never, over = transport): Promise<string> {
  const response = await over.send({ method: 'POST', url, headers: {}, body: '{}', ...change }, { signal });
  const pieces: Uint8Array[] = [];
  for await (const piece of response.body) pieces.push(piece);
  return Buffer.concat(pieces).toString('latin1');
}
const kindOf = (asked: Promise<unknown>) =>
  asked.then(
    () => 'answered',
    (error: unknown) => toGatewayError(error).kind,
  );
const connections = () => new Set(used).size;

test.each([
  { what: 'nothing of it', head: answer('one'), again: true },
  { what: 'that it closes, and does not', head: answer('one', 'connection: close\r\n'), again: false },
  { what: 'the older version', head: answer('one').replace('1.1', '1.0'), again: false },
  {
    what: 'the older version and that it goes on',
    head: answer('one', 'connection: keep-alive\r\n').replace('1.1', '1.0'),
    again: true,
  },
  { what: 'that it closes in a second', head: answer('one', 'keep-alive: timeout=1\r\n'), again: false },
  { what: 'that it closes in a minute', head: answer('one', 'keep-alive: timeout=60\r\n'), again: true },
])('a connection whose peer says $what is used again: $again', async ({ head, again }) => {
  script = (socket) => socket.write(head);
  await ask();
  await pause(20);
  await ask();
  expect(connections()).toBe(again ? 1 : 2);
});

test('a connection that rests for too long is not used again, and is closed', async () => {
  const brief = createPooledTransport({ keepAliveMs: 30 });
  script = (socket) => socket.write(answer('ok'));
  await ask({}, never, brief);
  await pause(60);
  await ask({}, never, brief);
  expect(connections()).toBe(2);
  await expect.poll(() => used.every((socket) => socket.destroyed)).toBe(true);
  await brief.close?.();
});

test('a connection whose answer had more behind it is closed: half of an answer would spoil the next one', async () => {
  script = (socket, nth) => socket.write(answer('ok') + (nth === 1 ? ok : ''));
  for (let i = 0; i < 3; i++) expect(await ask()).toBe('ok');
  expect(used.map((socket) => socket === used[0])).toEqual([true, false, false]);
});

test('what a peer says in the moment before a request is sent is not its answer', async () => {
  script = (socket) => socket.write(answer('good'));
  expect(await ask()).toBe('good');
  await pause(20);
  used[0]?.write(answer('poison'));
  expect(await ask()).toBe('good');
  expect(connections()).toBe(2);
});

test('a connection over which a body was still on its way when the answer came is not used again', async () => {
  script = (socket, nth) => {
    if (nth === 1) socket.pause(); // who refuses a body need not read it
    socket.write(answer('ok'));
  };
  expect(await ask({ body: new Uint8Array(20_000_000) })).toBe('ok');
  expect(await ask()).toBe('ok');
  expect(connections()).toBe(2);
});

test('a client that leaves late closes nothing that carries another request', async () => {
  script = (socket, nth) => setTimeout(() => socket.write(answer(`to ${nth}`)), nth === 1 ? 0 : 50);
  const first = new AbortController();
  await ask({}, first.signal);
  await pause(20);
  const second = ask();
  await pause(20);
  first.abort();
  expect(await second).toBe('to 2');
  expect(connections()).toBe(1);
});

test.each([
  { when: 'before', resting: false },
  { when: 'before, with a connection at rest', resting: true },
])('a request whose client left $when is never sent', async ({ resting }) => {
  script = (socket) => socket.write(answer('ok'));
  if (resting) await ask();
  await pause(20);
  const [gone, going] = [AbortSignal.abort(), new AbortController()];
  const asked = [ask({}, gone), ask({}, going.signal)].map(kindOf);
  going.abort();
  expect(await Promise.all(asked)).toEqual(['cancelled', 'cancelled']);
  await pause(50);
  expect(heads).toHaveLength(resting ? 1 : 0);
});

test('nothing is sent once the transport is closed', async () => {
  const closed = createPooledTransport();
  await closed.close?.();
  expect(await kindOf(ask({}, never, closed))).toMatch(/^upstream_/);
  expect(heads).toEqual([]);
});

test('a POST without a body says so, since some servers want to be told', async () => {
  script = (socket) => socket.write(answer('ok'));
  const { body } = await transport.send({ method: 'POST', url, headers: {} }, { signal: never });
  await body[Symbol.asyncIterator]().next();
  expect(heads[0]).toMatch(/\r\ncontent-length: 0\r\n\r\n$/);
});

test.each([
  { what: 'a path with a space in it', change: () => ({ url: `${url}/a HTTP/1.1` }) },
  { what: 'a path with a line break in it', change: () => ({ url: `${url}\r\nx-evil: 1` }) },
  { what: 'a framing of the caller’s own', change: () => ({ headers: { 'transfer-encoding': 'chunked' } }) },
  { what: 'a length of the caller’s own', change: () => ({ headers: { 'content-length': '1' } }) },
])('$what never reaches an upstream as it is', async ({ change }) => {
  script = (socket) => socket.write(answer('ok'));
  await kindOf(ask(change()));
  for (const head of heads) {
    expect(head).toMatch(/^POST \S+ HTTP\/1\.1\r\n/);
    expect(head).not.toMatch(/x-evil|transfer-encoding|content-length: 1\r\n/i);
  }
});

test('a body that is asked for as a whole comes whole after it had to wait, and is refused where it is too long', async () => {
  const size = 500_000; // more than is held for a reader before its socket is paused
  script = (socket) => socket.write(answer('x'.repeat(size)));
  const { body } = await transport.send({ method: 'POST', url, headers: {}, body: '{}' }, { signal: never });
  await pause(50);
  expect((await body.whole?.(size))?.length).toBe(size);
  for (const waitMs of [0, 50]) {
    const late = await transport.send({ method: 'POST', url, headers: {}, body: '{}' }, { signal: never });
    await pause(waitMs);
    expect(await kindOf(Promise.resolve(late.body.whole?.(1000)))).toBe('upstream_failed');
    await expect.poll(() => used.at(-1)?.destroyed).toBe(true);
  }
});

test('who cannot be connected to is given up in time', async () => {
  // A listener that never accepts, its queue full: the system answers no more.
  const listens = `require('net').createServer().listen({port:0,host:'127.0.0.1',backlog:1},function(){
    process.stdout.write(this.address().port+'\\n',()=>Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0,20000))})`;
  const child = spawn(process.execPath, ['-e', listens]);
  const port = Number(String(await once(child.stdout, 'data')));
  const waiting = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  await pause(100);
  const startMs = performance.now();
  expect(await kindOf(ask({ url: `http://127.0.0.1:${port}/` }))).toBe('timeout');
  expect(performance.now() - startMs).toBeLessThan(5000);
  for (const socket of waiting) socket.destroy();
  child.kill('SIGKILL');
});
