import { createServer, type Socket } from 'node:net';

/**
 * The upstream of the bench, on bare sockets so that it is never what is measured. The body's model says what it
 * answers: `json`, `burst-N` (N events at once, a write each) or `paced-N-MS` (an event every MS milliseconds).
 */
export function startMock(port = 0): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    let held: Buffer = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (data) => {
      held = held.length === 0 ? data : Buffer.concat([held, data]);
      for (let whole = takeRequest(held); whole; whole = takeRequest(held)) {
        held = held.subarray(whole.bytes);
        answer(socket, whole.body);
      }
    });
  });
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
}

function takeRequest(held: Buffer): { readonly body: string; readonly bytes: number } | undefined {
  const end = held.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = held.toString('latin1', 0, end);
  const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  if (/transfer-encoding: *chunked/i.test(head)) {
    const last = held.indexOf('0\r\n\r\n', end + 4);
    if (last < 0) return undefined;
    return { body: held.toString('latin1', end + 4, last), bytes: last + 5 };
  }
  const bytes = end + 4 + length;
  return held.length < bytes ? undefined : { body: held.toString('latin1', end + 4, bytes), bytes };
}

const fields = '"id":"chatcmpl-mock0123456789","object":"chat.completion.chunk","created":1700000000,"model":"mock"';
const event = (delta: string, reason: string) =>
  `data: {${fields},"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${reason}}]}\n\n`;
const httpChunk = (text: string) => Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n`);
const headOfStream = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n',
);
const word = httpChunk(event('{"content":" token"}', 'null'));
const usage = `data: {${fields},"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":100,"total_tokens":109}}\n\n`;
const lastOf = (withUsage: boolean) =>
  Buffer.from(`${httpChunk(`${event('{}', '"stop"')}${withUsage ? usage : ''}data: [DONE]\n\n`).toString()}0\r\n\r\n`);
const tails = { true: lastOf(true), false: lastOf(false) } as const;

const whole = JSON.stringify({
  id: 'chatcmpl-mock0123456789',
  object: 'chat.completion',
  created: 1700000000,
  model: 'mock',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'word '.repeat(40), refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 9, completion_tokens: 40, total_tokens: 49 },
});
const wholeAnswer = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${whole.length}\r\n\r\n${whole}`,
);

function answer(socket: Socket, body: string): void {
  const [, kind = 'json', count = '0', ms = '0'] = /"model": *"([a-z]+)-?(\d*)-?(\d*)"/.exec(body) ?? [];
  if (kind === 'json') {
    socket.write(wholeAnswer);
    return;
  }
  const tail = tails[body.includes('"include_usage":true') ? 'true' : 'false'];
  socket.write(headOfStream);
  if (kind === 'burst') {
    for (let index = 0; index < Number(count); index++) socket.write(word);
    socket.write(tail);
    return;
  }
  let left = Number(count);
  const next = () => {
    if (socket.destroyed) return clearInterval(timer);
    socket.write(word);
    if (--left > 0) return;
    clearInterval(timer);
    socket.write(tail);
  };
  const timer = setInterval(next, Number(ms));
  next();
}
