import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { modelPath } from '../engine/model.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
const model = await modelPath();

describe.skipIf(model === null)('the engine under load, as /metrics and the models page tell it', () => {
  let gateway: RunningGateway;
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-status-'));
  beforeAll(async () => {
    const configFile = join(folder, 'tidegate.yaml');
    writeFileSync(
      configFile,
      `
server: { drain: 1s }
engine: { slots: 2, contextTokens: 1024, threads: 1, kvCache: { memory: 64MiB } }
models: { m: { targets: [{ local: "${model}" }] } }
`,
    );
    gateway = await startGateway({ port: 0, log: { level: 'silent' }, configFile });
  });
  afterAll(async () => {
    await gateway.close();
    rmSync(folder, { recursive: true });
  });

  const complete = async (prompt: string, priority: string, more: object = {}) => {
    const response = await fetch(`${gateway.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-tidegate-priority': priority },
      body: JSON.stringify({ model: 'm', prompt, max_tokens: 40, temperature: 0, ignore_eos: true, ...more }),
    });
    expect(response.status).toBe(200);
    return response.json();
  };
  /** The value of a metric of this engine, by its labels beside the model. */
  const metric = async (name: string, labels = '') => {
    const text = await (await fetch(`${gateway.url}/metrics`)).text();
    for (const line of text.split('\n')) {
      if (line.startsWith(`tidegate_engine_${name}{`) && line.includes(labels)) return Number(line.split(' ').at(-1));
    }
    return Number.NaN;
  };

  test('slots, batch width, speeds, KV, hits, drafts and parking are what happened', async () => {
    const prompt = `Count with me: ${'one two three four five six seven eight '.repeat(8)}`;
    await complete(prompt, 'normal', { prompt_lookup: true });
    const batch = [
      complete(prompt, 'batch', { max_tokens: 120 }),
      complete(`Now ${prompt}`, 'batch', { max_tokens: 120 }),
    ];
    await expect.poll(() => metric('slots', 'state="decode"'), { timeout: 30_000 }).toBe(2);
    expect(await metric('batch_width')).toBe(2);
    expect(await metric('requests_running')).toBe(2);
    await complete('Quick:', 'interactive', { max_tokens: 2 });
    await expect.poll(() => metric('decode_tokens_per_second'), { timeout: 30_000 }).toBeGreaterThan(0);
    const rows = await (await fetch(`${gateway.url}/admin/models`)).json();
    expect(rows.data[0].engine).toMatchObject({ state: 'ready', counters: { preemptions: 1 } });
    await Promise.all(batch);

    await expect.poll(() => metric('slots', 'state="idle"'), { timeout: 30_000 }).toBe(2);
    expect(await metric('requests_running')).toBe(0);
    expect(await metric('preemptions_total')).toBe(1);
    expect(await metric('kv_used_ratio', 'tier="slots"')).toBeGreaterThan(0.05);
    const [asked, hits, read] = await Promise.all(
      ['prompt_tokens_total', 'prefix_hit_tokens_total', 'prefill_tokens_total'].map((name) => metric(name)),
    );
    expect(hits).toBeGreaterThan(50); // the second request's prompt was the first one's
    expect(read).toBeGreaterThanOrEqual((asked ?? 0) - (hits ?? 0));
    expect(await metric('decode_tokens_total')).toBe(40 + 120 + 120 + 2);
    const [drafted, accepted] = [await metric('draft_tokens_total'), await metric('draft_accepted_tokens_total')];
    expect(accepted).toBeGreaterThan(5);
    expect(drafted).toBeGreaterThanOrEqual(accepted);
  });
});
