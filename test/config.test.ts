import { describe, expect, test } from 'vitest';
import { configSchema } from '../src/config.ts';
import { ConfigError, parseConfig } from '../src/config-text.ts';

const files: Readonly<Record<string, string>> = { '/run/secrets/key': 'sk-2\n' };
const readFile = (path: string) => {
  const text = files[path];
  if (text === undefined) throw new Error(`${path}: there is no such file`);
  return text;
};
const parse = (text: string, env: Record<string, string> = {}) => parseConfig(text, 'tidegate.yaml', { env, readFile });
const problemsOf = async (text: string) => {
  try {
    await parse(text);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

describe('the configuration', () => {
  test('may be empty: the default model on loopback', async () => {
    const config = await parse('');
    expect(config.server).toMatchObject({ host: '127.0.0.1', port: 8787 });
    expect(config.models['smollm2']?.targets[0]?.local).toBe('smollm2-135m-instruct');
  });

  test('has the same in a section that is absent and in one that is empty', async () => {
    const empty = configSchema().parse({});
    const sections = ['server', 'engine', 'prompts', 'keys', 'limits', 'prices', 'cache', 'audit', 'observability'];
    for (const name of sections) expect(await parse(`${name}: {}`), name).toEqual(empty);
    expect(await parse('budgets: []')).toEqual(empty);
  });

  test('fills in secrets and reads durations and sizes', async () => {
    const config = await parse(
      'providers:\n  up: { type: openai, apiKey: "${KEY}" }\nserver: { heartbeat: 5s, maxBodyBytes: 2MiB }\n',
      { KEY: 'sk-1' },
    );
    expect(config.providers['up']).toMatchObject({ apiKey: 'sk-1' });
    expect(config.server).toMatchObject({ heartbeat: 5000, maxBodyBytes: 2 * 1024 * 1024 });
  });

  test('takes a secret without the line break that came with it', async () => {
    const { providers } = await parse('providers:\n  up: { type: openai, apiKey: "${KEY}" }\n', { KEY: 'sk-1\n' });
    expect(providers['up']).toMatchObject({ apiKey: 'sk-1' });
  });

  test('takes a secret from a file, in either way of writing it', async () => {
    for (const apiKey of ['file:/run/secrets/key', '$' + '{file:/run/secrets/key}']) {
      const { providers } = await parse(`providers:\n  up: { type: openai, apiKey: "${apiKey}" }\n`);
      expect(providers['up']).toMatchObject({ apiKey: 'sk-2' });
    }
    expect((await parse('ledger: { url: "file:a.db" }')).ledger?.url).toBe('file:a.db');
  });

  test('takes numbers and switches from the environment where it wants such, and leaves texts of digits alone', async () => {
    const text = `server: { port: "\${PORT}", drain: "\${DRAIN:-5s}", heartbeat: "\${MS}" }
models: { m: { targets: [{ provider: up, weight: "\${SHARE}" }] } }
providers: { up: { type: openai, apiKey: "\${KEY}" } }
observability: { metrics: { open: "\${OPEN}" } }
`;
    const config = await parse(text, { PORT: '9100', DRAIN: '', MS: '2000', SHARE: '0.5', KEY: '0123', OPEN: 'true' });
    expect(config.server).toMatchObject({ port: 9100, drain: 5000, heartbeat: 2000 });
    expect(config.models['m']?.targets[0]?.weight).toBe(0.5);
    expect(config.providers['up']).toMatchObject({ apiKey: '0123' });
    expect(config.observability.metrics.open).toBe(true);
    await expect(parse(text, { PORT: 'x', MS: '1', SHARE: '1', KEY: 'k', OPEN: 'true' })).rejects.toThrow(
      /line 1: server\.port: .*expected number/,
    );
  });

  test.each([
    { name: 'broken YAML', text: 'server: {', problem: /^line 1: / },
    {
      name: 'aliases of aliases without end',
      text: [...'bcdefg'].reduce((text, name, at) => {
        const before = `*${'abcdef'[at]}`;
        return `${text}${name}: &${name} [${Array(9).fill(before).join(', ')}]\n`;
      }, 'a: &a [1]\n'),
      problem: /alias count/,
    },
    { name: 'a wrong type', text: 'server:\n  port: high\n', problem: /^line 2: server\.port: / },
    {
      name: 'an unknown setting',
      text: 'server:\n  prot: 1\n',
      problem: /^line 2: server\.prot: .*did you mean 'port'/,
    },
    {
      name: 'a secret that is not set',
      text: 'providers:\n  a: { type: openai, apiKey: "${NOPE}" }\n',
      problem: /^line 2: .*NOPE is not set/,
    },
    {
      name: 'a secret whose file is not there',
      text: 'providers:\n  a: { type: openai, apiKey: "file:/nope" }\n',
      problem: /^line 2: \/nope: there is no such file/,
    },
    {
      name: 'a target that names nothing',
      text: 'models:\n  a:\n    targets:\n      - { weight: 1 }\n',
      problem: /^line 4: .*local.*provider/,
    },
    {
      name: 'a key that no header can hold',
      text: 'providers:\n  a: { type: openai, apiKey: "sk-1\\n2" }\n',
      problem: /^line 2: providers\.a\.apiKey: .*line breaks/,
    },
    {
      name: 'a header within a header',
      text: 'providers:\n  a: { type: openai, headers: { x-a: "1\\r\\nx-b: 2" } }\n',
      problem: /^line 2: providers\.a\.headers\.x-a: .*line breaks/,
    },
    {
      name: 'a budget that sends on to no model',
      text: 'budgets:\n  - { name: all, usd: 1, reroute: smal }\n',
      problem: /^line 2: budgets\.0\.reroute: there is no model 'smal'/,
    },
    {
      name: 'a judge that is no model',
      text: 'filters:\n  kind: { kind: topics, banned: [war], judge: nobody }\n',
      problem: /^line 2: filters\.kind\.judge: there is no model 'nobody'/,
    },
    {
      name: 'a mistyped setting of a kind of provider',
      text: 'providers:\n  a: { type: openai, apikey: x }\n',
      problem: /^line 2: providers\.a\.apikey: .*did you mean 'apiKey'/,
    },
    {
      name: 'a mistyped kind of provider',
      text: 'providers:\n  a: { type: opnai, apiKey: x }\n',
      problem: /^line 2: providers\.a\.type: there is no such type; did you mean 'openai'\?$/,
    },
    {
      name: 'a kind that resembles none',
      text: 'models:\n  m: { targets: [{ local: x }], strategy: 1 }\n',
      problem: /^line 2: models\.m\.strategy: there is no such strategy; known are ordered, weighted, /,
    },
    {
      name: 'a provider without its kind',
      text: 'providers:\n  a: { apiKey: x }\n',
      problem: /^line 2: providers\.a\.type: it is missing; known are openai, /,
    },
    {
      name: 'a name that no provider can have',
      text: 'providers:\n  a b: { type: openai }\n',
      problem: /^line 2: providers\.a b: .*letters, digits/,
    },
    {
      name: 'a server without an address',
      text: 'providers:\n  a: { type: openai-compatible, apiKey: x }\n',
      problem: /^line 2: providers\.a\.baseUrl: it is missing/,
    },
    {
      name: 'what is missing',
      text: 'budgets:\n  - { usd: 1 }\n',
      problem: /^line 2: budgets\.0\.name: it is missing/,
    },
    { name: 'a bad duration', text: 'server: { drain: soon }\n', problem: /500ms/ },
    {
      name: 'what fits none of several kinds',
      text: 'keys: { required: sometimes }\n',
      problem: /^line 1: keys\.required: .*"auto".*; or .*boolean/,
    },
  ])('refuses $name with its line and field', async ({ text, problem }) => {
    expect((await problemsOf(text)).join('\n')).toMatch(problem);
  });
});
