import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { type RunningGateway, startGateway } from '../../../src/node.ts';
import { faultyUpstream, openaiServer, type Responder, sse, usageChunk } from '../../faulty-upstream.ts';
import { scratch } from '../../ledger/databases.ts';

const cleanups: (() => unknown)[] = [];
/** Runs when the test is over, last come first. */
export const afterwards = (cleanup: () => unknown): void => void cleanups.push(cleanup);
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export const root = 'tg-root-0123456789abcdef';
export const user = 'tg-user-0123456789abcdef';

/** A whole gateway with a key for `user`, one for `root`, and what a test says besides; `UP` is the upstream's address. */
export async function gatewayOf(config: string, answer: Responder = openaiServer(['Hel', 'lo']), folder = scratch()) {
  const upstream = await faultyUpstream(answer);
  const file = join(folder.path, 'tidegate.yaml');
  const write = (text: string) =>
    writeFileSync(
      file,
      `${text.includes('providers:') ? '' : 'providers: { up: { type: openai-compatible, baseUrl: "UP", apiKey: sk-up } }\n'}${
        text.includes('models:') ? '' : 'models: { demo: { targets: [{ provider: up, model: m }] } }\n'
      }${text.includes('keys:') ? '' : `keys: { fixed: [{ name: user, key: ${user} }, { name: root, key: ${root}, role: admin }] }\n`}${text}`.replaceAll(
        'UP',
        upstream.baseUrl,
      ),
    );
  write(config);
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const start = () => startGateway({ port: 0, configFile: file, log: { level: 'trace', destination } });
  let gateway: RunningGateway = await start();
  afterwards(async () => {
    await gateway.close();
    await upstream.close();
    folder.remove();
  });
  const call = (method: string, path: string, body?: object, headers: Record<string, string> = {}, key = user) =>
    fetch(`${gateway.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
  const chat = (more: object = {}, headers: Record<string, string> = {}, key = user) =>
    call(
      'POST',
      '/v1/chat/completions',
      { model: 'demo', messages: [{ role: 'user', content: 'hi' }], ...more },
      headers,
      key,
    );
  const admin = async (path: string) => (await call('GET', path, undefined, {}, root)).json();
  return {
    upstream,
    call,
    chat,
    admin,
    lines,
    folder,
    write,
    gateway: () => gateway,
    async restart() {
      await gateway.close();
      gateway = await start();
    },
  };
}

/** Words one after the other, with usage only at the end. */
export const words = (n: number, everyMs = 0): Responder => {
  const all = Array.from({ length: n }, () => sse({ choices: [{ index: 0, delta: { content: ' tide' } }] }));
  const end = sse({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }, usageChunk(3, n), '[DONE]');
  return () => ({ body: [...all.flatMap((word) => (everyMs > 0 ? [word, { wait: everyMs }] : [word])), end] });
};

export const priced =
  'prices: { overrides: { "up/*": { input: 0, output: 1000 }, "cheap/*": { input: 0, output: 1 } } }';

const embedding = {
  headers: { 'content-type': 'application/json' },
  body: [
    JSON.stringify({
      object: 'list',
      model: 'm',
      data: [{ object: 'embedding', index: 0, embedding: [0.1, 0.2] }],
      usage: { prompt_tokens: 4, total_tokens: 4 },
    }),
  ],
};
export const chatOrEmbedding: Responder = (request) =>
  request.path.endsWith('/embeddings') ? embedding : openaiServer(['Hel', 'lo'])(request);
