import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../src/node.ts';
import { modelPath } from './engine/model.ts';
import { chunk, type FaultyUpstream, faultyUpstream, openaiServer, sse } from './faulty-upstream.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-node-'));
const configure = (text: string) => {
  const file = join(folder, 'tidegate.yaml');
  writeFileSync(file, text);
  return file;
};

const model = await modelPath();

describe.skipIf(model === null)('the gateway on Node, over sockets', () => {
  let gateway: RunningGateway;
  let upstream: FaultyUpstream;
  let client: OpenAI;
  const enginePids: number[] = [];

  beforeAll(async () => {
    upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
    gateway = await startGateway({
      port: 0,
      log: { level: 'silent' },
      configFile: configure(`
server: { drain: 2s }
engine: { slots: 2, contextTokens: 1024, threads: 1 }
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-test } }
models:
  local: { targets: [{ local: "${model}" }] }
  remote: { targets: [{ provider: up, model: m-1 }] }
`),
      onEngine: (event) => {
        if (event.type === 'loaded' && event.pid !== undefined) enginePids.push(event.pid);
      },
    });
    client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });
  afterAll(async () => {
    await gateway.close();
    await upstream.close();
    rmSync(folder, { recursive: true });
  });

  const ask = (name: string, maxTokens = 16) => ({
    model: name,
    max_tokens: maxTokens,
    temperature: 0,
    messages: [{ role: 'user' as const, content: 'Say hello.' }],
  });

  test.each(['local', 'remote'])(
    'the official SDK streams from the %s target, and gets the same answer whole',
    async (name) => {
      let text = '';
      let finish: string | null = null;
      for await (const part of await client.chat.completions.create({ ...ask(name), stream: true })) {
        text += part.choices[0]?.delta.content ?? '';
        finish = part.choices[0]?.finish_reason ?? finish;
      }
      const whole = await client.chat.completions.create(ask(name));
      expect(text.length).toBeGreaterThan(0);
      expect(whole.choices[0]?.message.content).toBe(text);
      expect(whole.choices[0]?.finish_reason).toBe(finish);
      expect(whole.usage?.total_tokens).toBeGreaterThan(0);
    },
  );

  test('a client that hangs up frees the upstream within 100 ms', async () => {
    upstream.answer({ body: [sse(chunk({ role: 'assistant', content: 'a' })), 'stall'] });
    const stream = await client.chat.completions.create({ ...ask('remote'), stream: true });
    for await (const _ of stream) break;
    const leftMs = performance.now();
    const closedMs = await upstream.requests.at(-1)?.closed;
    expect((closedMs ?? Infinity) - leftMs).toBeLessThan(100);
    upstream.answer(openaiServer(['Hel', 'lo']));
  });

  test('an engine killed in mid-answer ends the stream with an error, and the next request works', async () => {
    const stream = await client.chat.completions.create({ ...ask('local', 400), stream: true });
    let failure: unknown;
    try {
      for await (const _ of stream) {
        const pid = enginePids.at(-1);
        if (pid !== undefined) process.kill(pid, 'SIGKILL');
      }
    } catch (error) {
      failure = error;
    }
    expect(String(failure)).toMatch(/engine/i);
    expect((await client.chat.completions.create(ask('local'))).choices[0]?.message.content).toBeTruthy();
  });

  test('a prompt over the context is refused before any stream byte', async () => {
    const long = {
      ...ask('local'),
      messages: [{ role: 'user' as const, content: 'word '.repeat(3000) }],
      stream: true as const,
    };
    await expect(client.chat.completions.create(long)).rejects.toMatchObject({
      status: 400,
      code: 'context_length_exceeded',
    });
  });

  test('apps of Ollama’s API hear that an upstream’s model takes tools and pictures', async () => {
    const show = { method: 'POST', body: JSON.stringify({ model: 'remote' }) };
    const shown = (await (await fetch(`${gateway.url}/api/show`, show)).json()) as { capabilities: string[] };
    expect(shown.capabilities).toEqual(expect.arrayContaining(['completion', 'tools', 'vision']));
  });

  test.each(['local', 'remote'])(
    'apps of Ollama’s API that load the %s model first hear that it is there',
    async (name) => {
      const body = JSON.stringify({ model: name, messages: [] });
      const response = await fetch(`${gateway.url}/api/chat`, { method: 'POST', body });
      expect(await response.json()).toMatchObject({ done: true, done_reason: 'load' });
    },
  );

  test('metrics count what was answered', async () => {
    const text = await (await fetch(`${gateway.url}/metrics`)).text();
    expect(text).toMatch(/gen_ai_server_request_duration_seconds_count\{[^}]*gen_ai_request_model="remote"[^}]*\} \d/);
  });

  test('closing lets a running answer end and refuses new ones', async () => {
    upstream.answer({
      body: [
        sse(chunk({ role: 'assistant', content: 'slow' })),
        { wait: 300 },
        sse(chunk({}, {}, { finish_reason: 'stop' })),
        'data: [DONE]\n\n',
      ],
    });
    const running = client.chat.completions.create({ ...ask('remote'), stream: true });
    const parts = (await running)[Symbol.asyncIterator]();
    await parts.next();
    const closing = gateway.close();
    await expect(fetch(`${gateway.url}/v1/models`)).rejects.toThrow();
    let last: unknown;
    for (let part = await parts.next(); !part.done; part = await parts.next())
      last = part.value.choices[0]?.finish_reason;
    expect(last).toBe('stop');
    await closing;
  });
});
