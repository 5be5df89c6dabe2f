import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defaultHttpOptions } from '../../src/http/env.ts';
import { type Listening, listen } from '../../src/node/server.ts';
import { appWith } from '../app.ts';
import { scripted } from '../scripted.ts';

/** Node serves the routes of the API without a web `Request` and a router; the general way through Hono is the oracle. */
let server: Listening;
const samples: string[] = [];

beforeAll(async () => {
  const app = appWith(scripted(['Hello', ' tide']), {
    observe: ({ route, method, status }) => samples.push(`${method} ${route} ${status}`),
    answerId: () => 'same',
    options: { ...defaultHttpOptions, maxBodyBytes: 2000 },
  });
  server = await listen(app, { host: '127.0.0.1', port: 0 });
});
afterAll(() => server.close(0));

interface Asked {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

function ask(path: string, { method = 'POST', headers = {}, body = '' }: Asked) {
  return new Promise<object>((resolve, reject) => {
    const sent = httpRequest({ port: server.port, path, method, headers, agent: false }, async (answer) => {
      let text = '';
      for await (const piece of answer.setEncoding('utf8')) text += piece;
      const { 'x-request-id': id = '', ...headers } = answer.headers;
      const varying = ['date', 'x-tidegate-overhead-ms', 'x-tidegate-predicted-ttft-ms', 'request-id'];
      for (const name of varying) delete headers[name];
      const plain = text.replaceAll(String(id), 'ID').replace(/"created":\d+/, '"created":0');
      resolve({ status: answer.statusCode, headers, text: plain });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

const hello = { model: 'test', messages: [{ role: 'user', content: 'Hi' }] };

describe('a request answers the same by its route alone as by the router', () => {
  test.each<Asked & { name: string; path?: string }>([
    { name: 'whole', body: JSON.stringify(hello) },
    { name: 'streamed', body: JSON.stringify({ ...hello, stream: true }) },
    { name: 'without /v1', path: '/chat/completions', body: JSON.stringify(hello) },
    { name: 'another dialect', path: '/v1/messages', body: JSON.stringify({ ...hello, max_tokens: 5 }) },
    { name: 'an unknown model', body: JSON.stringify({ ...hello, model: 'none' }) },
    { name: 'no JSON', body: '{' },
    { name: 'no body' },
    { name: 'too large a body', body: 'x'.repeat(3000) },
    { name: 'from a page that may not', body: JSON.stringify(hello), headers: { origin: 'https://elsewhere.example' } },
    { name: 'from a page of this machine', body: JSON.stringify(hello), headers: { origin: 'http://localhost:3000' } },
    { name: 'by a wrong method', method: 'DELETE' },
  ])('$name', async ({ path = '/v1/chat/completions', name: _, ...asked }) => {
    samples.length = 0;
    const direct = await ask(path, asked);
    const general = await ask(`${path}?`, asked);
    expect(direct).toEqual(general);
    await expect.poll(() => samples.length).toBe(2);
    expect(samples[0]).toBe(samples[1]);
  });
});

test('who goes on sending a body that was refused is hung up on', async () => {
  const socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => {});
  let heard = '';
  socket.on('data', (piece) => {
    heard += piece;
  });
  socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000000\r\n\r\n');
  const sending = setInterval(() => socket.write('x'.repeat(1000)), 20);
  await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(sending);
  expect(heard).toMatch(/^HTTP\/1.1 413 /);
});

describe('a body is read whole however its packets come', () => {
  const text = JSON.stringify({ ...hello, messages: [{ role: 'user', content: 'é€😀 '.repeat(20) }] });
  const body = Buffer.from(text);
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: ${body.length}\r\n\r\n`;
  const one = Buffer.concat([Buffer.from(head), body]);
  const chunked = Buffer.from(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
  );
  const middle = one.length - 30; // within a character or not, as it happens

  test.each([
    { name: 'with its head in one', packets: [one], answers: 1 },
    { name: 'after its head', packets: [Buffer.from(head), body], answers: 1 },
    { name: 'cut in the middle', packets: [one.subarray(0, middle), one.subarray(middle)], answers: 1 },
    { name: 'byte by byte', packets: [...one].map((byte) => Buffer.from([byte])), answers: 1 },
    { name: 'in chunks', packets: [chunked], answers: 1 },
    { name: 'three requests in one packet', packets: [Buffer.concat([one, chunked, one])], answers: 3 },
    {
      name: 'one and a half, and the rest',
      packets: [Buffer.concat([one, one.subarray(0, 80)]), one.subarray(80)],
      answers: 2,
    },
    { name: 'three, one after the other', packets: [one, one, one], answers: 3 },
  ])('$name', async ({ packets, answers }) => {
    const socket = connect(server.port, '127.0.0.1').setNoDelay(true);
    let heard = '';
    socket.on('data', (piece) => {
      heard += piece;
    });
    const seen = () => heard.split('"content":"Hello tide"').length - 1;
    for (const packet of packets) {
      socket.write(packet);
      await new Promise((resolve) => setTimeout(resolve, packets.length > 10 ? 0 : 20));
    }
    await expect.poll(seen, { timeout: 5000 }).toBe(answers);
    expect(heard.match(/HTTP\/1\.1 200 /g)).toHaveLength(answers);
    socket.destroy();
  });
});
