import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chunk, type FaultyUpstream, faultyUpstream, openaiServer, sse } from '../faulty-upstream.ts';
import { bundleWorker } from './bundle.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-runtimes-'));
const require = createRequire(import.meta.url);

/** The binary of a runtime's npm package, which .ci/run installs; undefined (with a reason) where it isn't here. */
function binary(packageName: string, path: string): string | undefined {
  try {
    const file = join(dirname(require.resolve(`${packageName}/package.json`)), path);
    accessSync(file);
    chmodSync(file, 0o755); // packages without their install script leave it unset
    return file;
  } catch (error) {
    if (process.env['CI']) throw error;
    console.warn(`skipped: ${packageName} is not installed (npm i --no-save ${packageName})`);
    return undefined;
  }
}

const serve = {
  bun: `const s = Bun.serve({ hostname: '127.0.0.1', port: 0, idleTimeout: 60, fetch: (r) => worker.fetch(r, env, context) }); console.log('port', s.port);`,
  deno: `Deno.serve({ hostname: '127.0.0.1', port: 0, onListen: ({ port }) => console.log('port', port) }, (r) => worker.fetch(r, env, context));`,
};
const runtimes = [
  { name: 'bun' as const, file: binary('@oven/bun-linux-x64', 'bin/bun'), args: ['run'] },
  {
    name: 'deno' as const,
    file: binary('@deno/linux-x64-glibc', 'deno'),
    args: ['run', '--allow-net=127.0.0.1', '--no-lock'],
  },
];

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
  writeFileSync(join(folder, 'worker.mjs'), (await bundleWorker()).code);
});
afterAll(async () => {
  await upstream.close();
  rmSync(folder, { recursive: true });
});

describe.each(runtimes)('the worker on $name', ({ name, file, args }) => {
  let child: ChildProcess | undefined;
  let client: OpenAI;
  beforeAll(async () => {
    if (!file) return;
    const config = `providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-up } }\nmodels: { m: { targets: [{ provider: up, model: m-1 }], timeouts: { idleMs: 2000 } } }\n`; // Bun's fetch does not tell of a reset: there the idle deadline ends the answer
    const entry = join(folder, `${name}.mjs`);
    writeFileSync(
      entry,
      `import worker from './worker.mjs';\nconst env = ${JSON.stringify({ TIDEGATE_CONFIG: config })};\nconst context = { waitUntil() {}, passThroughOnException() {} };\n${serve[name]}\n`,
    );
    const running = spawn(file, [...args, entry], { stdio: ['ignore', 'pipe', 'inherit'] });
    child = running;
    const port = await new Promise<string>((resolve, reject) => {
      running.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
      running.stdout.on('data', (data: Buffer) => {
        const found = /port (\d+)/.exec(data.toString())?.[1];
        if (found) resolve(found);
      });
    });
    client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: 'none', maxRetries: 0 });
  });
  afterAll(() => child?.kill());

  const ask = { model: 'm', messages: [{ role: 'user' as const, content: 'Hi' }] };

  test.skipIf(!file)('the official SDK streams an upstream’s answer, and gets it whole', async () => {
    upstream.answer(openaiServer(['Hel', 'lo']));
    let text = '';
    for await (const part of await client.chat.completions.create({ ...ask, stream: true })) {
      text += part.choices[0]?.delta.content ?? '';
    }
    expect(text).toBe('Hello');
    expect((await client.chat.completions.create(ask)).choices[0]?.message.content).toBe('Hello');
  });

  test.skipIf(!file)('bad requests and broken upstreams are told as what they are', async () => {
    await expect(client.chat.completions.create({ ...ask, model: 'x' })).rejects.toMatchObject({ status: 404 });
    upstream.answer({ body: [sse(chunk({ role: 'assistant', content: 'a' })), { wait: 50 }, 'reset'] });
    const stream = await client.chat.completions.create({ ...ask, stream: true });
    await expect(
      (async () => {
        for await (const _ of stream);
      })(),
    ).rejects.toThrow();
  });

  test.skipIf(!file)('a client that leaves frees the upstream', async () => {
    upstream.answer({ body: [sse(chunk({ role: 'assistant', content: 'a' })), 'stall'] });
    const stream = await client.chat.completions.create({ ...ask, stream: true });
    for await (const _ of stream) break;
    await upstream.requests.at(-1)?.closed;
  });
});
