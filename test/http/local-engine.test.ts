import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { writeLora } from '../engine/lora.ts';
import { modelPath } from '../engine/model.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const path = await modelPath();

describe.skipIf(path === null)('settings of one local model', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-local-'));
  let gateway: RunningGateway;
  beforeAll(async () => {
    mkdirSync(join(folder, 'prompts', 'templates'), { recursive: true });
    writeFileSync(
      join(folder, 'prompts', 'templates', 'tiny.jinja'),
      '{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]',
    );
    const configFile = join(folder, 'tidegate.yaml');
    writeFileSync(
      configFile,
      `
server: { drain: 1s }
engine:
  slots: 2
  contextTokens: 512
  threads: 1
  models:
    "${path}":
      draft: { model: "${path}", max: 4 }
      loras: { odd: "${await writeLora(576, 0.5)}" }
models: { tiny: { targets: [{ local: "${path}" }] } }
`,
    );
    gateway = await startGateway({ port: 0, log: { level: 'silent' }, configFile });
  });
  afterAll(async () => {
    await gateway.close();
    rmSync(folder, { recursive: true });
  });
  const post = async (route: string, body: object) => {
    const response = await fetch(`${gateway.url}${route}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', temperature: 0, max_tokens: 24, ...body }),
    });
    return { status: response.status, body: await response.json() };
  };
  const messages = [{ role: 'user', content: 'Tell me about rivers.' }];

  test('its chat template comes from the prompt library, where a file has its name', async () => {
    const { body } = await post('/apply-template', { messages });
    expect(body.prompt).toBe('[user] Tell me about rivers.\n[assistant]');
  });

  test('its draft model’s guesses are told in usage, and switched off by request', async () => {
    const drafted = await post('/v1/chat/completions', { messages });
    const plain = await post('/v1/chat/completions', { messages, 'speculative.n_max': 0 });
    const details = drafted.body.usage.completion_tokens_details;
    expect(details.accepted_prediction_tokens).toBeGreaterThan(4);
    expect(details.rejected_prediction_tokens).toBeLessThan(4);
    expect(plain.body.usage.completion_tokens_details.accepted_prediction_tokens).toBe(0);
    expect(drafted.body.choices[0].message.content).toBe(plain.body.choices[0].message.content);
  });

  test('its adapters are chosen by request', async () => {
    const plain = await post('/v1/completions', { prompt: 'The sea' });
    const odd = await post('/v1/completions', { prompt: 'The sea', lora: [{ name: 'odd', scale: 1 }] });
    const none = await post('/v1/completions', { prompt: 'The sea', lora: [{ name: 'none', scale: 1 }] });
    expect(odd.status).toBe(200);
    expect(odd.body.choices[0].text).not.toBe(plain.body.choices[0].text);
    expect(none).toMatchObject({ status: 400, body: { error: { param: 'lora' } } });
  });
});
