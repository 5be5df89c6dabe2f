import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chunk, done, type FaultyUpstream, faultyUpstream, finishChunk, sse } from '../faulty-upstream.ts';
import { type Edge, startEdge } from './workers.ts';

const config = `
providers: { up: { type: openai-compatible, baseUrl: "\${UP_URL}", apiKey: sk-up } }
models: { m: { targets: [{ provider: up, model: m-1 }] } }
keys: { fixed: [{ name: ann, key: tg-ann-0123456789abcdef }, { name: bob, key: tg-bob-0123456789abcdef }] }
`;

let edge: Edge;
let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
  edge = await startEdge({ config, bindings: { UP_URL: upstream.baseUrl }, isolates: 2 });
});
afterAll(async () => {
  await edge?.close();
  await upstream?.close();
});

const numbers = Array.from({ length: 30 }, (_, i) => `n${i} `);
/** Some thirty events over about a second. */
const slowly = {
  body: [...numbers.flatMap((content) => [sse(chunk({ content })), { wait: 30 }]), sse(finishChunk()) + done],
};

interface AskOptions {
  readonly isolate?: number;
  readonly method?: string;
  readonly path?: string;
  readonly body?: object;
  readonly headers?: Record<string, string>;
  readonly key?: string;
}
const ask = ({
  isolate = 0,
  method = 'POST',
  path = '/v1/chat/completions',
  body,
  headers = {},
  key = 'ann',
}: AskOptions = {}) =>
  fetch(new URL(path, edge.urls[isolate]), {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer tg-${key}-0123456789abcdef`, ...headers },
    ...(body && { body: JSON.stringify({ model: 'm', ...body }) }),
  });
const chatBody = { stream: true, messages: [{ role: 'user', content: 'count' }] };
const resumable = { 'x-tidegate-resumable': 'true' };

/** Reads until there are so many events; then leaves. */
async function read(response: Response, events: number): Promise<string> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while (reader && text.split('\n\n').length <= events) {
    const { done: over, value } = await reader.read();
    if (over) break;
    text += value;
  }
  await reader?.cancel();
  return text;
}
const contentsOf = (text: string) => [...text.matchAll(/"content":"(n\d+ )"/g)].map(([, content]) => content).join('');
const lastId = (text: string) => [...text.matchAll(/^id: (.+)$/gm)].at(-1)?.[1] ?? '';

describe('a resumable stream at the edge', () => {
  test('goes on from another isolate, and nothing is missing or twice', async () => {
    upstream.answer(slowly);
    const before = upstream.requests.length;
    const first = await ask({ body: chatBody, headers: resumable });
    expect(first.headers.get('x-tidegate-stream-id')).toMatch(/^strm_/);
    const heard = await read(first, 6);
    const rest = await ask({ isolate: 1, body: chatBody, headers: { 'last-event-id': lastId(heard) } });
    expect(rest.status).toBe(200);
    const text = await rest.text();
    expect(contentsOf(heard) + contentsOf(text)).toBe(numbers.join(''));
    expect(text).toMatch(/data: \[DONE\]\n\n$/);
    expect(upstream.requests.length).toBe(before + 1);
  });

  test('is made to its end without a listener, and is there for who comes back later, over a restart too', async () => {
    upstream.answer(slowly);
    const first = await ask({ body: chatBody, headers: resumable });
    const id = first.headers.get('x-tidegate-stream-id') ?? '';
    const heard = await read(first, 3);
    const requestId = first.headers.get('x-request-id') ?? '';
    const ended = () => edge.logged.some((line) => line.includes(requestId) && line.includes('"outcome":"ok"'));
    await expect.poll(ended, { timeout: 20_000 }).toBe(true); // nobody listens meanwhile
    await edge.restart();
    const again = await ask({ method: 'GET', path: `/v1/streams/${id}`, headers: { 'last-event-id': lastId(heard) } });
    expect(contentsOf(heard) + contentsOf(await again.text())).toBe(numbers.join(''));
  });

  test('that a crash cut off ends openly, with all that was said before', async () => {
    upstream.answer({ body: [sse(chunk({ content: 'n0 ' })), 'stall'] });
    const first = await ask({ body: chatBody, headers: resumable });
    const id = first.headers.get('x-tidegate-stream-id') ?? '';
    await read(first, 1);
    await new Promise((resolve) => setTimeout(resolve, 500)); // what was said is written
    await edge.restart();
    const text = await (await ask({ method: 'GET', path: `/v1/streams/${id}` })).text();
    expect(contentsOf(text)).toBe('n0 ');
    expect(text).toContain('gateway_stopped');
    expect(text).not.toContain('[DONE]');
  });

  test('is its owner’s alone, and a made-up one is not found', async () => {
    upstream.answer(slowly);
    const first = await ask({ body: chatBody, headers: resumable });
    const id = first.headers.get('x-tidegate-stream-id') ?? '';
    const foreign = await ask({ method: 'GET', path: `/v1/streams/${id}`, key: 'bob' });
    expect(foreign.status).toBe(404);
    expect((await ask({ method: 'GET', path: `/v1/streams/${id}`, key: 'eve' })).status).toBe(401);
    expect((await ask({ method: 'GET', path: '/v1/streams/strm_000000000000000000000000' })).status).toBe(404);
    await first.body?.cancel();
  });

  test('refuses before the stream as any request is refused', async () => {
    const unknown = await ask({ body: { ...chatBody, model: 'nope' }, headers: resumable });
    expect(unknown.status).toBe(404);
    await unknown.text();
    expect((await ask({ body: chatBody, headers: resumable, key: 'eve' })).status).toBe(401);
    expect((await ask({ body: { messages: 7, stream: true }, headers: resumable })).status).toBe(400);
  });
});

test('a background response is made to its end, replayed and cancelled from any isolate', async () => {
  upstream.answer(slowly);
  const body = { input: 'count', background: true };
  const queued = (await (await ask({ path: '/v1/responses', body })).json()) as { id: string; status: string };
  expect(queued.status).toBe('queued');
  const replay = await ask({ isolate: 1, method: 'GET', path: `/v1/responses/${queued.id}?stream=true` });
  const text = await replay.text();
  expect(text).toContain('"type":"response.completed"');
  const kept = (await (await ask({ isolate: 1, method: 'GET', path: `/v1/responses/${queued.id}` })).json()) as object;
  expect(kept).toMatchObject({ status: 'completed' });

  upstream.answer({ body: [sse(chunk({ content: 'n0 ' })), 'stall'] });
  const before = upstream.requests.length;
  const other = (await (await ask({ path: '/v1/responses', body })).json()) as { id: string };
  await upstream.received(before + 1);
  const cancelled = await ask({ isolate: 1, path: `/v1/responses/${other.id}/cancel`, body: {} });
  const told = await cancelled.text();
  expect(told).toContain('"status":"cancelled"');
  await upstream.requests[before]?.closed;
});
