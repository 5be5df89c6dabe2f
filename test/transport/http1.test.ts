import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { toGatewayError } from '../../src/core/errors.ts';
import type { Transport } from '../../src/core/transport.ts';
import { AnswerParser } from '../../src/transport/http1/answer-parser.node.ts';
import { createPooledTransport } from '../../src/transport/pooled.node.ts';
import { createUndiciTransport } from '../../src/transport/undici.ts';

/** Writes the pieces one packet each when a whole request has come, then does what `then` says. */
let script: (socket: Socket, request: string) => void;
let server: Server;
let url: string;
const requests: string[] = [];
const sockets = new Set<Socket>();
const pooled = createPooledTransport({ connectTimeoutMs: 1000 });
const undici = createUndiciTransport({ connectTimeoutMs: 1000 });

beforeAll(async () => {
  server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    let request = '';
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (bytes) => {
      request += bytes.toString('latin1');
      const end = request.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/.exec(request)?.[1] ?? 0);
      if (end < 0 || request.length < end + 4 + length) return;
      requests.push(request);
      request = '';
      script(socket, requests.at(-1) ?? '');
    });
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/chat`; // listening on TCP
});
afterAll(async () => {
  await pooled.close?.();
  await undici.close?.();
  for (const socket of sockets) socket.destroy();
  server.close();
});

const never = new AbortController().signal;
const post = (body: string | Uint8Array = '{}') => ({ method: 'POST', url, headers: { 'x-a': 'b' }, body }) as const;

/** What a client makes of an answer. */
async function heard(transport: Transport): Promise<unknown> {
  try {
    const { status, headers, body, contentType } = await transport.send(post(), { signal: never });
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return { status, headers, contentType, text: Buffer.concat(pieces).toString('latin1') };
  } catch (error) {
    return toGatewayError(error).kind;
  }
}

const ok = 'HTTP/1.1 200 OK\r\n';
const answers: Readonly<Record<string, string>> = {
  'a length': `${ok}Content-Type: application/json\r\ncontent-length: 7\r\n\r\n{"a":1}`,
  'no body': `${ok}content-length: 0\r\n\r\n`,
  'status 204': 'HTTP/1.1 204 No Content\r\n\r\n',
  'status without a reason': 'HTTP/1.1 500 \r\ncontent-length: 2\r\n\r\nno',
  'status without a reason and its space': 'HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok',
  chunks: `${ok}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nB\r\n, \r\nworld!!\r\n0\r\n\r\n`,
  'chunks with extensions and trailers': `${ok}Transfer-Encoding: Chunked\r\n\r\n2;a=b\r\nhi\r\n003\r\nyou\r\n0\r\nx-t: 1\r\ny: 2\r\n\r\n`,
  'repeated headers': `${ok}x-one: 1\r\nX-One:2\r\nx-two:  spaces\r\nx-empty:\r\ncontent-length: 0\r\n\r\n`,
  'letters beyond ASCII': `${ok}x-name: \xe9\xff\r\ncontent-length: 2\r\n\r\n\xc3\xa9`,
  'an interim answer before': `HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${ok}content-length: 2\r\n\r\nok`,
  'a length of nothing and a status that has no body': 'HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n',
  'no keep-alive': `${ok}connection: close\r\ncontent-length: 2\r\n\r\nok`,
  'a short rest': `${ok}keep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok`,
  'a kind told twice': `${ok}content-type: text/a\r\ncontent-type: text/b\r\ncontent-length: 2\r\n\r\nok`,
  'HTTP/1.0': 'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok',
};
/** What is no answer, or could be understood as two: undici refuses these too, if in other words. */
const noAnswers: Readonly<Record<string, string>> = {
  'another protocol': 'SSH-2.0-OpenSSH_9.6\r\n\r\n',
  'two lengths': `${ok}content-length: 2\r\ncontent-length: 3\r\n\r\nok!`,
  'a length that is none': `${ok}content-length: 2x\r\n\r\nok`,
  'a length and chunks': `${ok}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
  'a header without a name': `${ok}: x\r\ncontent-length: 2\r\n\r\nok`,
  'a space before the colon': `${ok}content-length : 2\r\n\r\nok`,
  'a line without a colon': `${ok}nonsense\r\ncontent-length: 2\r\n\r\nok`,
  'a name with a space in it': `${ok}x y: 1\r\ncontent-length: 2\r\n\r\nok`,
  'a line feed alone within a header': `${ok}x: a\ncontent-length: 9\r\ncontent-length: 2\r\n\r\nok`,
  'a carriage return alone within a header': `${ok}x: a\rb\r\ncontent-length: 2\r\n\r\nok`,
  'a zero byte within a header': `${ok}x: a\0b\r\ncontent-length: 2\r\n\r\nok`,
  'a length that is a list': `${ok}content-length: 2, 2\r\n\r\nok`,
  'another protocol from here on': 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n',
  'a status that is none': 'HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\nok',
};
/** A broken frame is told after the head, so that a reader may have seen some of the body. */
const brokenBodies: Readonly<Record<string, string>> = {
  'a size that is none': `${ok}transfer-encoding: chunked\r\n\r\nxyz\r\nok\r\n0\r\n\r\n`,
  'a chunk longer than its size': `${ok}transfer-encoding: chunked\r\n\r\n2\r\noktoo\r\n0\r\n\r\n`,
  'a size beyond all counting': `${ok}transfer-encoding: chunked\r\n\r\n${'f'.repeat(20)}\r\nok\r\n0\r\n\r\n`,
  'an extension that ends in a line feed alone': `${ok}transfer-encoding: chunked\r\n\r\n2;a\nok\r\n0\r\n\r\n`,
  'no size at all': `${ok}transfer-encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n`,
  'a trailer that ends in a line feed alone': `${ok}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: 1\n\r\n`,
  'a last line that is a line feed alone': `${ok}transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\n`,
};

function inPieces(answer: string, size: number) {
  return (socket: Socket) => {
    const bytes = Buffer.from(answer, 'latin1');
    let at = 0;
    const next = () => {
      if (at >= bytes.length || socket.destroyed) return;
      socket.write(bytes.subarray(at, at + size));
      at += size;
      setImmediate(next);
    };
    next();
  };
}

const cases = Object.entries({ ...answers, ...brokenBodies }).map(([name, answer]) => ({ name, answer }));
test.each(cases)('$name means what it means to undici, in one piece and in many', async ({ answer }) => {
  script = inPieces(answer, answer.length);
  const expected = await heard(undici);
  for (const size of [answer.length, 7, 1]) {
    script = inPieces(answer, size);
    expect(await heard(pooled)).toEqual(expected);
  }
});

const refused = Object.entries(noAnswers).map(([name, answer]) => ({ name, answer }));
test.each(refused)('$name is refused', async ({ answer }) => {
  script = inPieces(answer, answer.length);
  expect(await heard(undici)).toMatch(/^upstream_/);
  for (const size of [answer.length, 7, 1]) {
    script = inPieces(answer, size);
    expect(await heard(pooled)).toBe('upstream_failed');
  }
});

test('an answer without a length goes to the end of the connection', async () => {
  script = (socket) => socket.end(`${ok}x: y\r\n\r\nall of it`);
  expect(await heard(pooled)).toMatchObject({ status: 200, text: 'all of it' });
});

test('chunks give the same bytes however they are made and split', () => {
  const chunk = fc.record({
    data: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    extension: fc.constantFrom('', ';a', ';b="c"'),
  });
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 12 }), fc.array(fc.nat(4000), { maxLength: 30 }), (chunks, cuts) => {
      const wire = Buffer.concat([
        Buffer.from(`${ok}transfer-encoding: chunked\r\n\r\n`),
        ...chunks.flatMap(({ data, extension }) => [
          Buffer.from(`${data.length.toString(16)}${extension}\r\n`),
          Buffer.from(data),
          Buffer.from('\r\n'),
        ]),
        Buffer.from('0\r\n\r\nnext'),
      ]);
      const got: Buffer[] = [];
      let ended = 0;
      const parser = new AnswerParser({
        onHead: () => {},
        onData: (bytes) => got.push(Buffer.from(bytes)),
        onEnd: () => ended++,
      });
      const edges = [0, ...cuts.filter((cut) => cut < wire.length).sort((a, b) => a - b), wire.length];
      let taken = 0;
      for (let i = 1; i < edges.length; i++) {
        const piece = Buffer.from(wire.subarray(edges[i - 1], edges[i])); // it may be moved
        taken += parser.push(piece);
      }
      expect(Buffer.concat(got)).toEqual(Buffer.concat(chunks.map(({ data }) => data)));
      expect({ ended, taken, over: parser.over }).toEqual({ ended: 1, taken: wire.length - 4, over: true });
    }),
    { numRuns: 200 },
  );
});

test.each([
  { what: 'closes it', after: (socket: Socket) => socket.end() },
  {
    what: 'says more than was asked for',
    after: (socket: Socket) => socket.write(`${ok}content-length: 6\r\n\r\npoison`),
  },
])('a connection is not used again when the peer $what', async ({ after }) => {
  let count = 0;
  script = (socket) => {
    const first = count++ === 0;
    socket.write(`${ok}content-length: 3\r\n\r\n${first ? 'one' : 'two'}`);
    if (first) setTimeout(() => after(socket), 20);
  };
  expect(await heard(pooled)).toMatchObject({ text: 'one' });
  await new Promise((resolve) => setTimeout(resolve, 150)); // it rests, and the peer acts
  expect(await heard(pooled)).toMatchObject({ text: 'two' });
});

test('a peer that closes each connection behind its answer, without a word, fails no request', async () => {
  script = (socket) => {
    socket.write(`${ok}content-length: 2\r\n\r\nok`);
    setImmediate(() => socket.end());
  };
  const many = Array.from({ length: 8 }, async () => {
    for (let i = 0; i < 20; i++) expect(await heard(pooled)).toMatchObject({ text: 'ok' });
  });
  await Promise.all(many);
});

test.each([
  { whose: 'a new connection', before: 0 },
  { whose: 'one used before', before: 1 },
])('a request that $whose loses once it was sent is not sent twice', async ({ before }) => {
  const alone = createPooledTransport();
  let count = 0;
  script = (socket) => {
    if (count++ < before) socket.write(`${ok}content-length: 2\r\n\r\nok`);
    else socket.destroy();
  };
  for (let i = 0; i < before; i++) expect(await heard(alone)).toMatchObject({ text: 'ok' });
  expect(await heard(alone)).toBe('upstream_unreachable');
  expect(count).toBe(before + 1);
  await alone.close?.();
});

test('what comes in the same packet after an answer is nobody’s answer', async () => {
  let count = 0;
  script = (socket) => {
    const more = count++ === 0 ? `${ok}content-length: 6\r\n\r\npoison` : '';
    socket.write(`${ok}content-length: 2\r\n\r\nok${more}`);
  };
  for (let i = 0; i < 3; i++) expect(await heard(pooled)).toMatchObject({ text: 'ok' });
});

test('a connection whose reader lagged behind to the end of an answer is read again for the next', async () => {
  const alone = createPooledTransport();
  const size = 100_000; // more than is held for a reader before its socket is paused
  script = (socket) => socket.write(`${ok}content-length: ${size}\r\n\r\n${'x'.repeat(size)}`);
  for (let round = 0; round < 3; round++) {
    const { body } = await alone.send(post(), { signal: AbortSignal.timeout(10_000) });
    await new Promise((resolve) => setTimeout(resolve, 50)); // all of it has come
    let read = 0;
    for await (const piece of body) read += piece.length;
    expect(read).toBe(size);
  }
  await alone.close?.();
});

test('interim answers without number are passed over', async () => {
  script = (socket) => socket.write(`${'HTTP/1.1 103\r\n\r\n'.repeat(4000)}${ok}content-length: 2\r\n\r\nok`);
  expect(await heard(pooled)).toMatchObject({ status: 200, text: 'ok' });
});

test('a header that goes on in the next line is one line', async () => {
  script = (socket) => socket.write(`${ok}x-a: one\r\n\t two\r\ncontent-length: 2\r\n\r\nok`);
  expect(await heard(pooled)).toMatchObject({ headers: { 'x-a': 'one two' }, text: 'ok' });
});

test('connections are used again, one request at a time', async () => {
  const used = new Set<Socket>();
  script = (socket) => {
    used.add(socket);
    setTimeout(() => socket.write(`${ok}content-length: 2\r\n\r\nok`), 5);
  };
  for (let round = 0; round < 5; round++) await Promise.all([heard(pooled), heard(pooled), heard(pooled)]);
  expect(used.size).toBeLessThanOrEqual(4); // one may have been left by an earlier test
});

test.each([
  { size: 10, kind: 'a small' },
  { size: 100_000, kind: 'a large' },
])('$kind body arrives as it was given, as text and as bytes', async ({ size }) => {
  script = (socket) => socket.write(`${ok}content-length: 0\r\n\r\n`);
  const text = 'é€x'.repeat(size);
  for (const body of [text, new TextEncoder().encode(text)]) {
    await (await pooled.send(post(body), { signal: never })).body[Symbol.asyncIterator]().next();
    const sent = requests.at(-1) ?? '';
    expect(Buffer.from(sent.slice(sent.indexOf('\r\n\r\n') + 4), 'latin1').toString('utf8')).toBe(text);
    expect(sent).toMatch(
      /^POST \/v1\/chat HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\nconnection: keep-alive\r\nx-a: b\r\n/,
    );
  }
});

test.each([
  { what: 'a value with a line break', headers: { 'x-a': 'b\r\nx-evil: 1' } },
  { what: 'a name that is none', headers: { 'x a': 'b' } },
])('$what is never sent', async ({ headers }) => {
  const before = requests.length;
  await expect(pooled.send({ ...post(), headers }, { signal: never })).rejects.toThrow();
  expect(requests.length).toBe(before);
});

test.each([
  ['its last lines', `${ok}content-length: 2\n\nok`],
  ['one line', `${ok}x: y\ncontent-length: 2\r\n`],
])('a head that ends %s in a line feed alone is refused, not waited for', async (_, answer) => {
  for (const size of [answer.length, 1]) {
    script = inPieces(answer, size);
    expect(await heard(pooled)).toBe('upstream_failed');
  }
});

test.each([
  { what: 'a head', begin: ok, more: `x-filler: ${'y'.repeat(8000)}\r\n` },
  { what: 'an extension of a chunk', begin: `${ok}transfer-encoding: chunked\r\n\r\n2;`, more: 'y'.repeat(8000) },
  {
    what: 'what comes after the last chunk',
    begin: `${ok}transfer-encoding: chunked\r\n\r\n0\r\n`,
    more: `x-filler: ${'y'.repeat(8000)}\r\n`,
  },
])('$what without an end is given up', async ({ begin, more }) => {
  script = (socket) => {
    const goOn = () => {
      if (!socket.destroyed) socket.write(more, () => setImmediate(goOn));
    };
    socket.write(begin);
    goOn();
  };
  expect(await heard(pooled)).toBe('upstream_failed');
});
