import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { chatAnswer, chatJson, type FaultyUpstream, faultyUpstream, json } from '../faulty-upstream.ts';
import { type Edge, startEdge } from './workers.ts';

const secret = 'a-secret-of-two-gateways-0123456789';

/** A way to `target` on which everything takes `delayMs` longer. */
function farAway(target: string, delayMs: () => number): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    setTimeout(() => {
      const passed = httpRequest(
        `${target}${incoming.url}`,
        { method: incoming.method, headers: incoming.headers },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        },
      );
      passed.on('error', () => outgoing.destroy());
      incoming.pipe(passed);
    }, delayMs());
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
const addressOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** Stands in for Workers AI: answers as the documented binding does when the raw response is wanted. */
const ai = `
export default () => ({
  async run(model, inputs, options) {
    if (!options.returnRawResponse) throw new Error('the raw response is wanted');
    if (inputs.text) return Response.json({ data: inputs.text.map((text) => [text.length, 1]) });
    const words = ['from ', model, ': ', inputs.messages.at(-1).content];
    const event = (delta, finish_reason = null) =>
      'data: ' + JSON.stringify({ id: 'ai-1', object: 'chat.completion.chunk', created: 1, model, choices: [{ index: 0, delta, finish_reason }] }) + '\\n\\n';
    const body = words.map((content) => event({ content })).join('') + event({}, 'stop') + 'data: [DONE]\\n\\n';
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  },
});`;

describe('a worker between gateways with engines and upstreams', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-hybrid-'));
  let edge: Edge;
  let upstream: FaultyUpstream;
  let collector: FaultyUpstream;
  let engines: FaultyUpstream[];
  let homes: RunningGateway[];
  let ways: Server[];
  const delays = [300, 0];

  beforeAll(async () => {
    [upstream, collector, ...engines] = await Promise.all([
      faultyUpstream(),
      faultyUpstream(),
      faultyUpstream(chatAnswer(['from the first'])),
      faultyUpstream(chatAnswer(['from the second'])),
    ]);
    collector.answer(json({}));
    homes = await Promise.all(
      engines.map(({ baseUrl }, index) => {
        const configFile = join(folder, `${index}.yaml`);
        writeFileSync(
          configFile,
          `
providers: { engine: { type: openai-compatible, baseUrl: "${baseUrl}" } }
models: { small: { targets: [{ provider: engine, model: small }] } }
keys: { gatewaySecret: ${secret} }
`,
        );
        return startGateway({ port: 0, configFile, log: { level: 'silent' } });
      }),
    );
    ways = await Promise.all(homes.map(({ url }, index) => farAway(url, () => delays[index] ?? 0)));
    const config = `
providers:
  up: { type: openai, baseUrl: "\${UP_URL}", apiKey: sk-up }
  cf: { type: workers-ai }
models:
  home: { targets: [{ local: small }], fallback: [{ provider: up, model: gpt-4o }] }
  private: { targets: [{ local: small }], fallback: [{ provider: up, model: gpt-4o }], require: [{ local: true }] }
  european:
    targets: [{ provider: up, model: gpt-4o, region: us }, { provider: up, model: gpt-4o-mini, region: eu }]
    require: [{ regions: [eu] }]
  paid: { targets: [{ provider: up, model: gpt-4o }] }
  ai: { targets: [{ provider: cf, model: "@cf/meta/llama-3.2-3b-instruct" }] }
edge: { nodes: [${ways.map((way) => `"${addressOf(way)}/v1"`).join(', ')}], secret: "${secret}" }
observability: { traces: { url: "${collector.url}/v1/traces", sampled: 1 } }
`;
    edge = await startEdge({ config, bindings: { UP_URL: upstream.baseUrl }, isolates: 2, ai });
  });
  afterAll(async () => {
    await edge?.close();
    for (const way of ways ?? []) way.close().closeAllConnections();
    await Promise.all([...(homes ?? []), upstream, collector, ...(engines ?? [])].map((part) => part?.close()));
    rmSync(folder, { recursive: true });
  });

  const ask = (body: object, { isolate = 0, headers = {} }: { isolate?: number; headers?: object } = {}) =>
    fetch(new URL('/v1/chat/completions', edge.urls[isolate]), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], stream: true, ...body }),
    });
  const askedAt = async (body: object) => {
    const response = await ask(body);
    await response.text();
    return response.headers.get('x-tidegate-target');
  };

  test('prefers the nearest healthy gateway, whatever their order, and another when that is gone', async () => {
    expect(await askedAt({ model: 'home' })).toBe('node#1/small'); // nothing is measured yet
    await expect.poll(() => askedAt({ model: 'home' }), { timeout: 20_000 }).toBe('node#2/small');
    await homes[1]?.close();
    expect(await askedAt({ model: 'home' })).toBe('node#1/small');
    expect(upstream.requests).toHaveLength(0);
  });

  test('goes to an upstream when no gateway is left, but never with what must stay with them', async () => {
    upstream.answer(chatAnswer(['from afar']));
    await homes[0]?.close();
    expect(await askedAt({ model: 'home' })).toBe('up/gpt-4o');
    const before = upstream.requests.length;
    const response = await ask({ model: 'private' });
    expect(response.status).toBeGreaterThanOrEqual(500);
    expect(await response.text()).not.toContain('from afar');
    expect(upstream.requests).toHaveLength(before);
  });

  test('keeps what is bound to a region there, also when that fails', async () => {
    upstream.answer(chatAnswer(['here']));
    expect(await askedAt({ model: 'european' })).toBe('up/gpt-4o-mini');
    upstream.answer({ status: 503 });
    const before = upstream.requests.length;
    expect((await ask({ model: 'european' })).status).toBe(502);
    const asked = upstream.requests.slice(before).map(({ json }) => json.model);
    expect(new Set(asked)).toEqual(new Set(['gpt-4o-mini']));
  });

  test('books what an answer costs by the published prices', async () => {
    const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 };
    upstream.answer(chatJson('paid', { usage }));
    const response = await ask({ model: 'paid', stream: false });
    expect(await response.json()).toMatchObject({ usage });
    const database = await edge.mf.getD1Database('TIDEGATE_DB');
    const cost = () =>
      database
        .prepare('SELECT cost_nano FROM usage WHERE request_id = ?')
        .bind(response.headers.get('x-request-id'))
        .first('cost_nano');
    await expect.poll(cost, { timeout: 10_000 }).toBe(1000 * 2_500 + 100 * 10_000); // gpt-4o's list price
  });

  test('sends a span for the request and one for the attempt to an OTLP collector, under the client’s trace', async () => {
    upstream.answer(chatAnswer(['traced']));
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    await (await ask({ model: 'paid' }, { headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } })).text();
    const spans = () =>
      collector.requests
        .flatMap(({ json }) => json.resourceSpans)
        .flatMap(({ scopeSpans }) => scopeSpans)
        .flatMap((scope) => scope.spans)
        .filter((span) => span.traceId === traceId);
    await expect.poll(() => spans().length, { timeout: 10_000 }).toBeGreaterThanOrEqual(2);
    const [server] = spans().filter(({ parentSpanId }) => parentSpanId === 'b7ad6b7169203331');
    expect(server).toMatchObject({ kind: 2, status: {} });
    expect(spans().some(({ kind, parentSpanId }) => kind === 3 && parentSpanId === server.spanId)).toBe(true);
    expect(JSON.stringify(spans())).toContain('gen_ai.request.model');
    expect(collector.requests[0]?.headers['content-type']).toBe('application/json');
  });

  test('answers by Workers AI through the binding, streamed and whole', async () => {
    const streamed = await (await ask({ model: 'ai' })).text();
    expect(streamed).toContain('"from "');
    expect(streamed).toContain('[DONE]');
    const whole = await (await ask({ model: 'ai', stream: false })).json();
    expect(whole).toMatchObject({
      choices: [{ message: { content: 'from @cf/meta/llama-3.2-3b-instruct: Hi' }, finish_reason: 'stop' }],
    });
  });

  test('answers a retry with its Idempotency-Key by the same answer, at once, later and from another isolate', async () => {
    upstream.answer(async () => {
      await new Promise((resolve) => setTimeout(resolve, 200));
      return chatJson('made once');
    });
    const before = upstream.requests.length;
    const again = (isolate: number, content = 'once?') =>
      ask(
        { model: 'paid', stream: false, messages: [{ role: 'user', content }] },
        { isolate, headers: { 'idempotency-key': 'retry-1' } },
      );
    const atOnce = await Promise.all([again(0), again(1), again(0), again(1)]);
    const answers = await Promise.all([...atOnce, await again(1)].map((response) => response.json()));
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    expect(answers[0]).toMatchObject({ choices: [{ message: { content: 'made once' } }] });
    expect(upstream.requests.length - before).toBe(1);
    const other = await again(0, 'another body');
    expect(other.status).toBe(409);
    expect(await other.json()).toMatchObject({ error: { code: 'idempotency_key_reused' } });

    upstream.answer(chatAnswer(['streamed once']));
    const stream = async (isolate: number) =>
      (await ask({ model: 'paid' }, { isolate, headers: { 'idempotency-key': 'retry-2' } })).text();
    const [first, second] = [await stream(0), await stream(1)];
    expect(first).toContain('streamed once');
    expect(second).toContain('streamed once');
    expect(upstream.requests.length - before).toBe(2);
  });
});
