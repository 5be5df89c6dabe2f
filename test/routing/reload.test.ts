import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigError } from '../../src/config-text.ts';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { chatAnswer, chunk, done, type FaultyUpstream, faultyUpstream, finishChunk, sse } from '../faulty-upstream.ts';

const folder = mkdtempSync(join(tmpdir(), 'tidegate-reload-'));
const file = join(folder, 'tidegate.yaml');
let upstream: FaultyUpstream;
let gateway: RunningGateway;
const write = (model: string, more = '') =>
  writeFileSync(
    file,
    `providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }\nmodels:\n  ${model}: { targets: [{ provider: up, model: m }] }\n${more}`,
  );
const ask = (model: string) =>
  fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'hi' }] }),
  });

beforeAll(async () => {
  upstream = await faultyUpstream(chatAnswer(['hi']));
  write('first');
  gateway = await startGateway({ configFile: file, port: 0, env: {}, log: { level: 'silent' } });
});
afterAll(async () => {
  await gateway.close();
  await upstream.close();
  rmSync(folder, { recursive: true });
});

test('a changed file serves new requests while a running stream ends as it began; a wrong one changes nothing', async () => {
  upstream.answer(
    {
      body: [
        sse(chunk({ role: 'assistant', content: 'slow' })),
        { wait: 1500 },
        sse(chunk({ content: ' end' }), finishChunk()),
        done,
      ],
    },
    chatAnswer(['hi']),
  );
  const running = await ask('first');
  expect(running.status).toBe(200);

  write('second');
  await expect.poll(() => gateway.models, { timeout: 5000 }).toEqual(['second']);
  const fresh = await ask('second');
  expect([fresh.status, await fresh.text()]).toEqual([200, expect.stringContaining('[DONE]')]);
  const gone = await ask('first');
  expect([gone.status, await gone.text()]).toEqual([404, expect.stringContaining('does not exist')]);
  expect(await running.text()).toMatch(/slow.* end.*\[DONE\]/s);

  write('third', '  wrong: { targets: [{ provider: nobody }] }\n');
  const problem: unknown = await gateway.reload().catch((error: unknown) => error);
  expect(problem).toBeInstanceOf(ConfigError);
  expect(String(problem)).toMatch(/line 4: models\.wrong\.targets\.0\.provider: there is no provider 'nobody'/);
  expect(gateway.models).toEqual(['second']);
  expect((await ask('second')).status).toBe(200);
});
