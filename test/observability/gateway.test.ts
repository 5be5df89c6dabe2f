import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { startGateway } from '../../src/node.ts';
import { otlpReceiver } from './otlp-receiver.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function serve(
  answer: (request: IncomingMessage, body: string) => readonly [status: number, type: string, body: string],
) {
  const server: Server = createServer((request, response) => {
    let body = '';
    request.on('data', (piece) => {
      body += String(piece);
    });
    request.on('end', () => {
      const [status, type, text] = answer(request, body);
      response.writeHead(status, { 'content-type': type }).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`; // a TCP server's address
}

test('the real gateway traces, counts, logs, alerts and remembers what it does', { timeout: 60_000 }, async () => {
  const seen: Record<string, unknown>[] = [];
  let broken = false;
  const upstream = await serve((request) => {
    seen.push(request.headers);
    if (broken) return [500, 'application/json', '{"error":{"message":"out of order"}}'];
    const chunk = (delta: object, finish: string | null) =>
      `data: ${JSON.stringify({ id: 'up-1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
    const usage = `data: ${JSON.stringify({ id: 'up-1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [], usage: { prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 } })}\n\n`;
    return [
      200,
      'text/event-stream',
      `${chunk({ role: 'assistant', content: 'High.' }, null)}${chunk({}, 'stop')}${usage}data: [DONE]\n\n`,
    ];
  });
  const alerts: { alerts: { labels: { alertname: string } }[] }[] = [];
  const webhook = await serve((_request, body) => {
    alerts.push(JSON.parse(body));
    return [200, 'text/plain', ''];
  });
  const collector = await otlpReceiver();
  closing.push(collector.close);
  const lines: string[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-observe-'));
  const configFile = join(folder, 'tidegate.yaml');
  writeFileSync(
    configFile,
    `server: { port: 0 }
providers: { up: { type: openai-compatible, baseUrl: "${upstream}/v1", apiKey: sk-very-secret } }
models: { tide: { targets: [{ provider: up, model: m }] } }
observability:
  traces: { url: "${collector.url}" }
  alerts: { webhook: "${webhook}", every: 100ms, hold: 0s, waiting: 0 }
`,
  );
  const gateway = await startGateway({
    configFile,
    env: {},
    log: { destination: { write: (line) => void lines.push(line) } },
  });
  closing.push(() => gateway.close());
  const ask = () =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        'content-type': 'application/json',
      },
      body: JSON.stringify({ model: 'tide', messages: [{ role: 'user', content: 'Tide whispered?' }] }),
    });

  const answer = (await (await ask()).json()) as { id: string };
  expect(answer).toMatchObject({ choices: [{ message: { content: 'High.' } }] });

  const page = await fetch(`${gateway.url}/`, { headers: { accept: 'text/html' } });
  expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
  expect(metrics).toContain('tidegate_requests_total{endpoint="/v1/chat/completions",model="tide",outcome="ok"} 1');
  expect(metrics).toContain('tidegate_target_breaker_state{target="up/m"} 0');
  expect(lines.map((line) => JSON.parse(line)).find(({ msg }) => msg === 'request')).toMatchObject({
    model: 'tide',
    target: 'up/m',
    outcome: 'ok',
  });
  expect(lines.join('')).not.toMatch(/whispered|sk-very-secret/);

  const feedback = await fetch(`${gateway.url}/v1/feedback`, {
    method: 'POST',
    body: JSON.stringify({ response_id: answer.id, score: 1 }),
  });
  expect(feedback.status).toBe(201);
  const explained = await (await fetch(`${gateway.url}/v1/explanations/${answer.id}`)).json();
  expect(explained).toMatchObject({ target: 'up/m', traceId: '4bf92f3577b34da6a3ce929d0e0e4736' });
  const settings = (await (await fetch(`${gateway.url}/admin/settings`)).json()) as { text: string; values: unknown[] };
  expect(JSON.stringify(settings)).not.toContain('sk-very-secret');
  expect(settings.values).toContainEqual({ path: 'engine.slots', value: '8', origin: 'default' });

  await expect.poll(() => collector.spans.length, { timeout: 10_000 }).toBeGreaterThan(3);
  const call = collector.spans.find(({ name }) => name === 'chat m');
  expect(call).toMatchObject({
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    attributes: { 'gen_ai.usage.input_tokens': 5 },
  });
  expect(seen[0]?.['traceparent']).toBe(`00-4bf92f3577b34da6a3ce929d0e0e4736-${call?.spanId}-01`);
  expect(JSON.stringify(collector.spans)).not.toContain('whispered');

  broken = true;
  for (let i = 0; i < 12; i++) await (await ask()).text();
  await expect
    .poll(() => alerts.flatMap((message) => message.alerts.map(({ labels }) => labels.alertname)), { timeout: 10_000 })
    .toContain('TidegateErrors');
});

test('how answers are distributed is read from a copy of what passes through, and outlives a restart', {
  timeout: 60_000,
}, async () => {
  const chunk = (delta: object, finish: string | null) =>
    `data: ${JSON.stringify({ id: 'up-1', object: 'chat.completion.chunk', created: 1, model: 'm', odd: 1, choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const upstream = await serve(({ url }) =>
    url?.endsWith('/embeddings')
      ? [
          200,
          'application/json',
          '{"object":"list","model":"e","data":[{"index":0,"embedding":[1,0]}],"usage":{"prompt_tokens":1,"total_tokens":1}}',
        ]
      : [
          200,
          'text/event-stream',
          `${chunk({ content: 'The tide is in and the harbour is full.' }, null)}${chunk({}, 'stop')}data: [DONE]\n\n`,
        ],
  );
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-quality-'));
  const configFile = join(folder, 'tidegate.yaml');
  writeFileSync(
    configFile,
    `ledger: { url: "file:${join(folder, 'ledger.db')}" }
providers: { up: { type: openai-compatible, baseUrl: "${upstream}/v1" } }
models: { tide: { targets: [{ provider: up, model: m }] }, near: { targets: [{ provider: up, model: e }] } }
observability: { quality: { passedThrough: 1, embeddings: near, embedded: 1 } }
`,
  );
  const start = async () => {
    const gateway = await startGateway({ configFile, env: {}, port: 0, log: { level: 'silent' } });
    closing.push(() => gateway.close().catch(() => {}));
    return gateway;
  };
  const versions = async (url: string) =>
    (
      (await (await fetch(`${url}/admin/quality`)).json()) as {
        versions: { samples: number; signals: { name: string }[] }[];
      }
    ).versions;
  const body = JSON.stringify({ model: 'tide', stream: true, messages: [{ role: 'user', content: 'Tide?' }] });

  const first = await start();
  for (let i = 0; i < 8; i++) {
    const answer = await fetch(`${first.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    expect(await answer.text()).toContain('"odd":1'); // the upstream's own bytes
  }
  const signals = async () => (await versions(first.url))[0]?.signals.map(({ name }) => name);
  await expect
    .poll(signals, { timeout: 10_000 })
    .toEqual(expect.arrayContaining(['language', 'refusal', 'distance from usual']));
  const before = await versions(first.url);
  await first.close();

  const second = await start();
  expect(await versions(second.url)).toEqual(before);
  expect(before[0]?.samples).toBe(8);
});
