import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createProvider } from '../../providers/registry.ts';
import type { Provider } from '../../src/core/provider.ts';
import { readable } from '../../src/core/request.ts';
import { modelPath } from '../engine/model.ts';
import { freePort } from '../free-port.ts';
import { chatRequest, hear, never, transport } from './support.ts';

/**
 * One run against a real engine that is not ours: TIDEGATE_LLAMA_SERVER names the binary, or it is on the PATH.
 * bench/build-llama-server.sh builds it (.ci/run does, where there is a C++ compiler); where it is absent this is skipped.
 */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const asked = process.env['TIDEGATE_LLAMA_SERVER'] ?? 'llama-server';
const binary = spawnSync(asked, ['--version']).error ? undefined : asked;
const model = binary ? await modelPath() : null;
if (!binary)
  console.warn('skipped: no llama-server; bench/build-llama-server.sh builds one, TIDEGATE_LLAMA_SERVER names it');

describe.skipIf(!binary || !model)('llama-server', () => {
  let server: ChildProcess;
  let provider: Provider;
  beforeAll(async () => {
    const port = await freePort();
    const args = ['-m', model ?? '', '--port', String(port), '-c', '2048', '-np', '2', '-t', '1', '--no-webui'];
    server = spawn(binary ?? '', args, { stdio: 'ignore' });
    const entry = { type: 'llama-server', baseUrl: `http://127.0.0.1:${port}/v1` };
    provider = createProvider('other', entry, { transport });
    for (let tries = 0; ; tries++) {
      if ((await fetch(`http://127.0.0.1:${port}/health`).catch(() => undefined))?.ok) return;
      if (server.exitCode !== null || tries > 500) throw new Error('llama-server does not get ready');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  });
  afterAll(() => {
    server?.kill('SIGKILL');
  });

  const body = {
    model: 'smollm2',
    stream: true,
    temperature: 0,
    max_tokens: 12,
    messages: [{ role: 'user', content: 'Say hello.' }],
  };

  test('says the same through both paths, with usage and finish', async () => {
    const [passed, translated] = [
      await hear(provider, chatRequest(body)),
      await hear(provider, readable(chatRequest(body))),
    ];
    expect([passed.error, translated.error]).toEqual([undefined, undefined]);
    expect(passed.text.length).toBeGreaterThan(0);
    expect(translated.text).toBe(passed.text);
    expect(passed.usage?.completionTokens).toBe(translated.usage?.completionTokens);
    expect(passed.finish).toEqual(translated.finish);
  });

  test('keeps to a JSON schema and to a grammar', async () => {
    const schema = {
      type: 'object',
      properties: { name: { type: 'string', maxLength: 8 } },
      required: ['name'],
      additionalProperties: false,
    };
    const format = { type: 'json_schema', json_schema: { name: 'person', schema } };
    const json = await hear(provider, readable(chatRequest({ ...body, max_tokens: 60, response_format: format })));
    expect(Object.keys(JSON.parse(json.text))).toEqual(['name']);
    const grammar = await hear(provider, readable(chatRequest({ ...body, grammar: 'root ::= "yes" | "no"' })));
    expect(grammar.text).toMatch(/^(yes|no)$/);
  });

  test('answers two choices', async () => {
    const { finish, error } = await hear(provider, readable(chatRequest({ ...body, n: 2 })));
    expect([error, finish.length]).toEqual([undefined, 2]);
  });

  test('continues a given beginning', async () => {
    const messages = [...body.messages, { role: 'assistant', content: 'Hello, my name is' }];
    const heard = await hear(provider, readable(chatRequest({ ...body, messages, continue_final_message: true })));
    expect(heard.error).toBeUndefined();
    expect(heard.text.trim().length).toBeGreaterThan(0);
  });

  test('a prompt beyond its context is told as such', async () => {
    const messages = [{ role: 'user', content: 'tide '.repeat(4000) }];
    const { error } = await hear(provider, readable(chatRequest({ ...body, messages })));
    expect(error?.kind).toBe('context_length_exceeded');
  });

  test('lists its model', async () => {
    expect((await provider.models?.({ signal: never }))?.length).toBe(1);
  });
});
