import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { modelPath } from '../engine/model.ts';
import { type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { scratch } from '../ledger/databases.ts';

const model = await modelPath();
const user = 'tg-user-0123456789abcdef';
const other = 'tg-other-0123456789abcdef';

describe.skipIf(model === null)('with the local model', () => {
  const folder = scratch();
  let upstream: FaultyUpstream;
  let gateway: RunningGateway;
  beforeAll(async () => {
    upstream = await faultyUpstream(openaiServer(['Pa', 'ris']));
    const file = join(folder.path, 'tidegate.yaml');
    writeFileSync(
      file,
      `
engine: { slots: 2, contextTokens: 1024, threads: 1 }
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}", apiKey: sk-up } }
models:
  local: { targets: [{ local: "${model}" }] }
  remote: { targets: [{ provider: up, model: m }], cache: { ttl: 1h, semanticThreshold: 0.93 } }
keys: { fixed: [{ name: user, key: ${user} }, { name: other, key: ${other} }] }
limits: { perKey: { tokensPerMinute: 100000 } }
cache: { embeddings: local }
`,
    );
    gateway = await startGateway({ port: 0, configFile: file, log: { level: 'silent' } });
  });
  afterAll(async () => {
    await gateway?.close();
    await upstream?.close();
    folder.remove();
  });

  const chat = async (body: object, key = user) => {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { headers: response.headers, body: (await response.json()) as { usage: { prompt_tokens: number } } };
  };

  test.each([
    ['a word', [{ role: 'user', content: 'tide' }]],
    ['words of several scripts', [{ role: 'user', content: 'Ebbe und Flut, 潮汐, 🌊 приливы' }]],
    [
      'several turns',
      [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Name a sea.' },
        { role: 'assistant', content: 'The North Sea.' },
        { role: 'user', content: 'Another one?' },
      ],
    ],
  ])('%s: prompt tokens are reserved exactly as they are used', async (_name, messages) => {
    const left = (headers: Headers) => Number(headers.get('x-ratelimit-remaining-tokens'));
    const first = await chat({ model: 'local', max_tokens: 3, temperature: 0, messages });
    const second = await chat({ model: 'local', max_tokens: 3, temperature: 0, messages });
    const used = first.body.usage as { prompt_tokens: number; completion_tokens: number };
    // Between the two heads: the first one's answer was settled to what it used, the second one's prompt and bound taken.
    const settled = 3 - used.completion_tokens;
    expect(left(first.headers) + settled - left(second.headers)).toBe(used.prompt_tokens + 3);
  });

  test('another wording of a question gets the stored answer, by real embeddings, and never another caller’s', async () => {
    const say = async (content: string, key = user) => {
      const { headers } = await chat({ model: 'remote', messages: [{ role: 'user', content }] }, key);
      return [headers.get('x-tidegate-cache'), Number(headers.get('x-tidegate-cache-similarity') ?? 0)] as const;
    };
    expect(await say('What is the capital city of France?')).toEqual(['miss', 0]);
    const [status, similarity] = await say('What is the capital of France?');
    expect([status, similarity > 0.93 && similarity < 1]).toEqual(['hit', true]);
    expect(await say('How long do I have to boil an egg so that it gets hard?')).toEqual(['miss', 0]);
    expect(await say('What is the capital of France?', other)).toEqual(['miss', 0]);
    expect(upstream.requests).toHaveLength(3);
  });
});
