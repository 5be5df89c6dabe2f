import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

/**
 * A real HTTP server on an ephemeral port that answers as its script says, with every fault an upstream can have.
 *
 *     const upstream = await faultyUpstream();
 *     upstream.answer(chatAnswer(['Hel', 'lo']));               // each answer is used once, the last one for ever
 *     upstream.answer((request) => request.json.stream ? chatAnswer(['a']) : chatJson('a'));
 *     …                                                          // upstream.baseUrl is `http://127.0.0.1:PORT/v1`
 *     expect(upstream.requests[0]?.json.model).toBe('m');
 *     await upstream.requests[0]?.closed;                        // the client hung up
 *     await upstream.close();
 */
export async function faultyUpstream(...answers: (Answer | Responder)[]): Promise<FaultyUpstream> {
  const queue: (Answer | Responder)[] = [...answers];
  const requests: RecordedRequest[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const server = createServer((message, response) => {
    handle(message, response).catch(() => response.destroy());
  });

  const handle = async (message: IncomingMessage, response: ServerResponse) => {
    const request = await record(message, response);
    requests.push(request);
    for (const wait of waiting.filter(({ count }) => requests.length >= count)) wait.resolve();
    const next = queue.length > 1 ? queue.shift() : queue[0];
    if (!next) throw new Error('no answer is scripted');
    await play(typeof next === 'function' ? await next(request) : next, response);
  };

  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    url,
    baseUrl: `${url}/v1`,
    requests,
    answer(...more) {
      queue.splice(0, queue.length, ...more);
    },
    received(count) {
      if (requests.length >= count) return Promise.resolve();
      return new Promise((resolve) => waiting.push({ count, resolve }));
    },
    connections: () => new Promise((resolve) => server.getConnections((_, count) => resolve(count))),
    close,
    [Symbol.asyncDispose]: close,
  };
}

export interface FaultyUpstream extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** The same with `/v1`. */
  readonly baseUrl: string;
  readonly requests: readonly RecordedRequest[];
  /** Replaces the script: one answer per request in order, the last one for ever. */
  answer(...answers: (Answer | Responder)[]): void;
  /** Resolves when so many requests have come. */
  received(count: number): Promise<void>;
  /** Sockets open now. */
  connections(): Promise<number>;
  close(): Promise<void>;
}

export type Responder = (request: RecordedRequest) => Answer | Promise<Answer>;

export interface RecordedRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  /** The body as JSON, an empty object where it is none. Tests read it freely. */
  // biome-ignore lint/suspicious/noExplicitAny: the one place where tests look into unknown bodies
  readonly json: any;
  /** `performance.now()` when it was read. */
  readonly atMs: number;
  /** `performance.now()` when the client closed before the answer was complete; never resolves otherwise. */
  readonly closed: Promise<number>;
  /** The same, when it has happened. */
  readonly closedAtMs: number | undefined;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Happens before the head is sent. */
  readonly beforeHead?: readonly Step[];
  /** The body; each `string` or `Uint8Array` is one write. */
  readonly body?: readonly Step[];
}

export type Step =
  | string
  | Uint8Array
  /** Milliseconds of silence. */
  | { readonly wait: number }
  /** Silence until the client leaves. */
  | 'stall'
  /** RST. */
  | 'reset'
  /** FIN in the middle of the body. */
  | 'cut'
  /** The same bytes again and again, as fast as the client reads or every so often; for ever unless `times` is set. */
  | { readonly repeat: string | Uint8Array; readonly everyMs?: number; readonly times?: number };

const verbs = new Set<unknown>(['stall', 'reset', 'cut']);

async function record(message: IncomingMessage, response: ServerResponse): Promise<RecordedRequest> {
  const pieces: Buffer[] = [];
  for await (const piece of message as AsyncIterable<Buffer>) pieces.push(piece);
  const text = Buffer.concat(pieces).toString('utf8');
  let json: unknown = {};
  try {
    json = JSON.parse(text);
  } catch {} // not JSON: the test looks at `text`
  let closedAtMs: number | undefined;
  const closed = new Promise<number>((resolve) => {
    response.on('close', () => {
      if (response.writableFinished) return;
      closedAtMs = performance.now();
      resolve(closedAtMs);
    });
  });
  return {
    method: message.method ?? '',
    path: message.url ?? '',
    headers: message.headers,
    text,
    json,
    atMs: performance.now(),
    closed,
    get closedAtMs() {
      return closedAtMs;
    },
  };
}

async function play(
  { status = 200, headers = {}, beforeHead = [], body = [] }: Answer,
  response: ServerResponse,
): Promise<void> {
  for (const step of beforeHead) if (!(await perform(step, response))) return;
  response.writeHead(status, { 'content-type': 'text/event-stream', ...headers });
  if (body.some((step) => typeof step !== 'string' || verbs.has(step))) response.flushHeaders();
  for (const step of body) if (!(await perform(step, response))) return;
  response.end();
}

/** True while the script goes on. */
async function perform(step: Step, response: ServerResponse): Promise<boolean> {
  if (response.destroyed) return false;
  if (step === 'stall') return false;
  if (step === 'reset') {
    await sleep(5); // what was written must leave first
    response.socket?.resetAndDestroy();
    return false;
  }
  if (step === 'cut') {
    await sleep(5);
    response.socket?.destroySoon();
    return false;
  }
  if (typeof step === 'string' || step instanceof Uint8Array) {
    await write(step, response);
    return true;
  }
  if ('wait' in step) {
    await sleep(step.wait);
    return true;
  }
  for (let count = 0; count < (step.times ?? Number.POSITIVE_INFINITY) && !response.destroyed; count++) {
    await write(step.repeat, response);
    if (step.everyMs !== undefined) await sleep(step.everyMs);
  }
  return !response.destroyed;
}

function write(bytes: string | Uint8Array, response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.write(bytes)) {
      setImmediate(resolve); // so that each write is a packet of its own
      return;
    }
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

// ── Scripts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** `data: …` events; strings are taken as they are, everything else as JSON. */
export const sse = (...events: unknown[]): string =>
  events.map((event) => `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`).join('');

export const named = (event: string, data: unknown): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

export const done = 'data: [DONE]\n\n';

/** The pieces of `text` in writes of `size` bytes; characters may be cut. */
export function split(text: string | Uint8Array, size: number): Uint8Array[] {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

const base = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'mock-model' };

/** One chunk of a chat stream, with whatever is to be changed. */
export const chunk = (delta: object, more: object = {}, choice: object = {}): object => ({
  ...base,
  choices: [{ index: 0, delta, finish_reason: null, ...choice }],
  ...more,
});

export const finishChunk = (reason = 'stop', index = 0): object => chunk({}, {}, { index, finish_reason: reason });

export const usageChunk = (prompt = 3, completion = 2): object => ({
  ...base,
  choices: [],
  usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
});

/** The SSE text of a whole, healthy chat stream. */
export const chatStream = (
  texts: readonly string[],
  { usage = false, reason = 'stop', done: end = true } = {},
): string =>
  sse(
    chunk({ role: 'assistant', content: '' }),
    ...texts.map((content) => chunk({ content })),
    finishChunk(reason),
    ...(usage ? [usageChunk(3, texts.length)] : []),
  ) + (end ? done : '');

/** A healthy stream; with usage where the request asks for it, when used as a responder. */
export const chatAnswer = (texts: readonly string[], options?: Parameters<typeof chatStream>[1]): Answer => ({
  body: [chatStream(texts, options)],
});

export const json = (body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Answer => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: [JSON.stringify(body)],
});

export const chatJson = (content: string, more: object = {}): Answer =>
  json({
    ...base,
    object: 'chat.completion',
    choices: [
      { index: 0, message: { role: 'assistant', content, refusal: null }, logprobs: null, finish_reason: 'stop' },
    ],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    ...more,
  });

/** Streams and plain answers as an OpenAI-compatible server gives them, usage included where asked for. */
export const openaiServer =
  (texts: readonly string[]): Responder =>
  ({ json: body }) =>
    body.stream ? chatAnswer(texts, { usage: body.stream_options?.include_usage === true }) : chatJson(texts.join(''));

export const errorJson = (status: number, message: string, more: object = {}, headers: Record<string, string> = {}) =>
  json({ error: { message, type: 'invalid_request_error', param: null, code: null, ...more } }, status, headers);

export const gzipped = (text: string): Answer => {
  const whole = gzipSync(text);
  return { headers: { 'content-encoding': 'gzip' }, body: split(whole, 7) };
};

const hello = sse(chunk({ role: 'assistant', content: '' }), chunk({ content: 'Hel' }), chunk({ content: 'lo' }));
const whole = hello + sse(finishChunk()) + done;

/** Each ends as a whole, healthy answer of the text "Hello" must. */
export const oddities: Readonly<Record<string, Answer>> = {
  'byte by byte': { body: split(whole, 1) },
  'in pieces of 7 bytes': { body: split(whole, 7) },
  'with CRLF': { body: split(whole.replaceAll('\n', '\r\n'), 11) },
  'with CR': { body: split(whole.replaceAll('\n', '\r'), 11) },
  'with a byte order mark': { body: [`\uFEFF${whole}`] },
  'with comments': { body: [`: hi\n\n${whole.replaceAll('\n\n', '\n\n: ping\n\n')}`] },
  'without a space after the colon': { body: [whole.replaceAll('data: ', 'data:')] },
  'with several data lines': { body: [whole.replaceAll(',"choices"', '\ndata: ,"choices"')] },
  'without [DONE]': { body: [hello + sse(finishChunk())] },
  'with [DONE] twice and noise after it': { body: [`${whole}${done}data: {"noise":1}\n\n`] },
  'hanging after [DONE]': { body: [whole, 'stall'] },
  gzipped: gzipped(whole),
  'with repeated roles and null content': {
    body: [
      sse(
        chunk({ role: 'assistant', content: null }),
        chunk({ role: 'assistant', content: 'Hello' }),
        chunk({ role: 'assistant', content: null, tool_calls: null }),
        finishChunk(),
      ) + done,
    ],
  },
};

/** Each must end as an error, never as a whole answer; those of `late` after text has been delivered. */
export const faults: Readonly<Record<string, { readonly answer: Answer; readonly late: boolean }>> = {
  'a reset before the head': { late: false, answer: { beforeHead: ['reset'] } },
  'a reset before the first event': { late: false, answer: { body: ['reset'] } },
  'an end before the first event': { late: false, answer: { body: [] } },
  'a reset after some events': { late: true, answer: { body: [hello, 'reset'] } },
  'a cut after some events': { late: true, answer: { body: [hello, 'cut'] } },
  'a clean end without a finish': { late: true, answer: { body: [hello] } },
  'a cut inside a character': {
    late: true,
    answer: { body: [hello, Buffer.from('data: {"choices":[{"index":0,"delta":{"content":"é').subarray(0, -1), 'cut'] },
  },
  'an error event': {
    late: true,
    answer: { body: [hello, named('error', { error: { message: 'boom', type: 'server_error' } }), done] },
  },
  'an error object in the stream': {
    late: true,
    answer: { body: [hello, sse({ error: { message: 'boom', code: 500 } }), done] },
  },
  'an error object first': { late: false, answer: { body: [sse({ error: { message: 'boom', code: 500 } })] } },
  'a plain JSON error with status 200': { late: false, answer: { ...errorJson(200, 'boom') } },
  'an HTML page with status 200': {
    late: false,
    answer: { headers: { 'content-type': 'text/html' }, body: ['<html><body>Sign in</body></html>'] },
  },
  'an HTML page with status 502': {
    late: false,
    answer: { status: 502, headers: { 'content-type': 'text/html' }, body: ['<html>Bad gateway</html>'] },
  },
  'garbage instead of JSON': { late: true, answer: { body: [hello, sse('{"choices":[{'), sse(finishChunk()), done] } },
  'an endless line': { late: false, answer: { body: ['data: ', { repeat: 'x'.repeat(65536), times: 512 }] } },
  'a gzip bomb': {
    late: false,
    answer: { headers: { 'content-encoding': 'gzip' }, body: [gzipSync(Buffer.alloc(64 * 1024 * 1024, 32))] },
  },
};
