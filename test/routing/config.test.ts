import { expect, test } from 'vitest';
import { parseConfig } from '../../src/config-text.ts';
import { noCapabilities, type Provider } from '../../src/core/provider.ts';
import { routedModels } from '../../src/routes-of-config.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { ask, contextOf } from '../request.ts';

const design = `
providers:
  openai:  { type: openai, apiKey: x }
  cluster: { type: openai-compatible, replicas: [http://127.0.0.1:8001/v1, http://127.0.0.1:8002/v1], balance: prefix-affinity }
models:
  smollm2: { targets: [{ local: smollm2-135m-instruct }] }
  chat:
    targets: [{ provider: openai, model: gpt-5-mini, weight: 95 }, { provider: cluster, model: qwen3-8b, weight: 5 }]
    fallback: [smollm2]
    timeouts: { firstTokenMs: 4000, idleMs: 15s, totalMs: 120000 }
    shadow: { target: { local: smollm2-135m-instruct }, percent: 2 }
    require: [{ when: '"personal-data" in request.labels', local: true }]
  code:
    strategy: ordered
    targets:
      - { when: 'request.promptTokens > 1000', provider: openai, model: big }
      - { when: 'language == "de"', targets: [{ provider: openai, model: a }, { provider: openai, model: b }], strategy: least-latency }
      - { local: small }
`;

const named = (name: string, local = false): Provider => ({
  name,
  capabilities: { ...noCapabilities, local },
  async *stream() {},
});

async function routingOf(text: string) {
  const config = await parseConfig(text, 'tidegate.yaml', { env: {} });
  const providers = new Map([
    ['local', [named('local', true)]],
    ['openai', [named('openai')]],
    ['cluster', [named('cluster#1'), named('cluster#2')]],
  ]);
  return createRouting(await routedModels(config, providers), undefined, { random: () => 0.5 });
}

const said = (text: string) => ({ messages: [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }] });

test.each([
  {
    name: 'weights, replicas and a fallback become one list',
    model: 'chat',
    request: said('hi'),
    targets: ['openai/gpt-5-mini', 'cluster#', 'cluster#', 'local/smollm2-135m-instruct'],
  },
  {
    name: 'personal data stays at home',
    model: 'chat',
    request: { ...said('hi'), labels: ['personal-data'] },
    targets: ['local/smollm2'],
  },
  { name: 'size decides', model: 'code', request: said('x'.repeat(8000)), targets: ['openai/big', 'local/small'] },
  {
    name: 'language decides, for a nested group',
    model: 'code',
    request: said('Wie ist das Wetter und wo ist der Hund?'),
    targets: ['openai/a', 'openai/b', 'local/small'],
  },
  {
    name: 'what no condition holds for goes to the rest',
    model: 'code',
    request: said('hello there'),
    targets: ['local/small'],
  },
])('$name', async ({ model, request, targets }) => {
  const { plan } = (await routingOf(design)).explain(model, ask(request), contextOf());
  const names = plan.targets.map(({ leaf }) => leaf.target.name);
  expect(names).toHaveLength(targets.length);
  for (const [index, target] of targets.entries()) expect(names[index]).toContain(target);
});

test.each([
  {
    name: 'a provider that is not there',
    line: 'fallback: [smollm2]',
    by: 'fallback: [{ provider: opnai }]',
    says: /models\.chat\.fallback\.0\.provider: there is no provider 'opnai'/,
  },
  {
    name: 'a model that is not there',
    line: 'fallback: [smollm2]',
    by: 'fallback: [smolm]',
    says: /line 9: models\.chat\.fallback\.0: there is no model 'smolm'/,
  },
  {
    name: 'a circle of fallbacks',
    line: 'fallback: [smollm2]',
    by: 'fallback: [chat]',
    says: /falls back to 'chat' itself/,
  },
  {
    name: 'an expression that is none',
    line: 'request.promptTokens > 1000',
    by: 'request.promptTokens >',
    says: /models\.code\.targets\.0\.when/,
  },
  {
    name: 'an expression that could be made slow',
    line: 'request.promptTokens > 1000',
    by: 'request.text.matches("(a+)+b")',
    says: /found\("pattern"\) instead of matches/,
  },
  {
    name: 'an expression over an unknown name',
    line: 'language == "de"',
    by: 'lang == "de"',
    says: /Unknown variable: lang/,
  },
  {
    name: 'a misspelt field of a nested target',
    line: '{ provider: openai, model: b }',
    by: '{ provider: openai, modle: b }',
    says: /modle: there is no such setting; did you mean 'model'/,
  },
  {
    name: 'a target that is two things',
    line: '{ local: small }',
    by: '{ local: small, provider: openai }',
    says: /either `local`, `provider` or `targets`/,
  },
  {
    name: 'a strategy that does not exist',
    line: 'strategy: least-latency',
    by: 'strategy: fastest',
    says: /models\.code\.targets\.1\.strategy/,
  },
])('$name is refused, with line and field', async ({ line, by, says }) => {
  expect(design).toContain(line);
  await expect(parseConfig(design.replace(line, by), 'tidegate.yaml', { env: {} })).rejects.toThrow(says);
  await expect(parseConfig(design.replace(line, by), 'tidegate.yaml', { env: {} })).rejects.toThrow(/line \d+/);
});

test('a model that is a file or an address goes by its last part, and two files of one name stay two', async () => {
  const routing = await routingOf(`
models:
  a: { targets: [{ local: /home/somebody/models/one.gguf }], fallback: [b, c, d] }
  b: { targets: [{ local: ../other/one.gguf }] }
  c: { targets: [{ local: 'https://user:secret@host.example/files/two.gguf?token=secret' }] }
  d: { targets: [{ local: 'hf:owner/repo/three.gguf' }] }
`);
  const { plan } = routing.explain('a', ask(said('hi')), contextOf());
  const names = plan.targets.map(({ leaf }) => leaf.target.name);
  expect(names).toEqual(['local/one.gguf', 'local/one.gguf~2', 'local/two.gguf', 'local/hf:owner/repo/three.gguf']);
});
