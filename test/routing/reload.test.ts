import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError } from '../../src/config-text.ts';
import { startGateway } from '../../src/node.ts';
import { type FaultyUpstream, faultyUpstream } from '../faulty-upstream.ts';
import { answerOf, type RealGateway, realGateway, says, slowly } from './real-gateway.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

const config = (model: string, more = '') =>
  `providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }\nmodels:\n  ${model}: { targets: [{ provider: up, model: m }] }\n${more}`;
const within = { timeout: 10_000, interval: 25 };
const streamed = (it: RealGateway, model: string) => it.chat('hi', { model, stream: true });

/** Ways in which a new version comes to be at the file's place. */
const ways: readonly { name: string; put: (file: string, text: string) => void }[] = [
  { name: 'written in place', put: (file, text) => writeFileSync(file, text) },
  {
    name: 'renamed over it, as editors do',
    put(file, text) {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    },
  },
  {
    name: 'moved away and written anew, as vim does',
    put(file, text) {
      renameSync(file, `${file}~`);
      writeFileSync(file, text);
    },
  },
];

test.each(ways)(
  'a file $name serves new requests, a running stream ends as it began, and so again',
  async ({ put }) => {
    upstream.answer(slowly(1200), says('hi'));
    await using it = await realGateway(config('first'));
    const running = await streamed(it, 'first');
    expect(running.status).toBe(200);
    for (const name of ['second', 'third']) {
      put(it.file, config(name));
      await expect.poll(() => it.gateway.models, within).toEqual([name]);
      expect(await answerOf(await it.chat('hi', { model: name }))).toBe('hi');
    }
    const gone = await it.chat('hi', { model: 'first' });
    expect([gone.status, await gone.text()]).toEqual([404, expect.stringContaining('does not exist')]);
    expect(await running.text()).toMatch(/slow.* end.*\[DONE\]/s);
  },
);

test('a ConfigMap, whose folder is swapped behind a link, is read again each time', async () => {
  upstream.answer(says('hi'));
  await using it = await realGateway(config('unused'));
  const folder = join(it.folder, 'mounted');
  const version = (name: string) => {
    mkdirSync(join(folder, `..${name}`), { recursive: true });
    writeFileSync(join(folder, `..${name}`, 'tidegate.yaml'), config(name));
    symlinkSync(`..${name}`, join(folder, '..data_tmp'));
    renameSync(join(folder, '..data_tmp'), join(folder, '..data')); // as the kubelet does
  };
  version('first');
  symlinkSync('..data/tidegate.yaml', join(folder, 'tidegate.yaml'));
  const gateway = await startGateway({
    configFile: join(folder, 'tidegate.yaml'),
    port: 0,
    env: {},
    log: { level: 'silent' },
  });
  try {
    expect(gateway.models).toEqual(['first']);
    for (const name of ['second', 'third']) {
      version(name);
      await expect.poll(() => gateway.models, within).toEqual([name]);
    }
  } finally {
    await gateway.close();
  }
});

describe('an invalid file', () => {
  test.each([
    {
      name: 'a provider that is not there',
      more: '  wrong: { targets: [{ provider: nobody }] }\n',
      says: /line 4: models\.wrong\.targets\.0\.provider: there is no provider 'nobody'/,
    },
    {
      name: 'an expression that is none',
      more: "  wrong:\n    targets:\n      - { provider: up, when: 'request.promptTokens >' }\n",
      says: /line 6: models\.wrong\.targets\.0\.when: 'request\.promptTokens >'/,
    },
    { name: 'no YAML', more: '  wrong: [\n', says: /line \d+/ },
    { name: 'a filter that is not there', more: 'filters: { x: { kind: nope } }\n', says: /line 4: filters\.x/ },
  ])('($name) is refused with line and field, and the old one stays', async ({ more, says: problem }) => {
    upstream.answer(says('hi'));
    await using it = await realGateway(config('m'));
    writeFileSync(it.file, config('other', more));
    const error: unknown = await it.gateway.reload().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toMatch(problem);
    expect(it.gateway.models).toEqual(['m']);
    expect(await answerOf(await it.chat())).toBe('hi');
    writeFileSync(it.file, config('mended'));
    await expect.poll(() => it.gateway.models, within).toEqual(['mended']);
  });

  test('(emptied, as by a write onto a full disk) is refused, and the old one stays', async () => {
    upstream.answer(says('hi'));
    await using it = await realGateway(config('m'));
    writeFileSync(it.file, '\n');
    await expect(it.gateway.reload()).rejects.toThrow(/it is empty/);
    expect(await answerOf(await it.chat())).toBe('hi');
  });

  test('that vanishes leaves the old one serving', async () => {
    upstream.answer(says('hi'));
    await using it = await realGateway(config('m'));
    const text = readFileSync(it.file, 'utf8');
    renameSync(it.file, `${it.file}.gone`);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await answerOf(await it.chat())).toBe('hi');
    writeFileSync(it.file, text.replace('  m:', '  back:'));
    await expect.poll(() => it.gateway.models, within).toEqual(['back']);
  });
});

test('keys, limits and filters are read again too', async () => {
  upstream.answer(says('call 555-1234'));
  await using it = await realGateway(config('m'));
  expect((await it.chat()).status).toBe(200);
  const key = 'a-key-of-this-test-0123456789';
  const change = (models: string, more: string) =>
    writeFileSync(
      it.file,
      `providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }\nmodels:\n${models}${more}`,
    );
  const route = '{ targets: [{ provider: up, model: m }], filters: [numbers] }';
  const rule = '{ kind: patterns, expressions: ["[0-9]{3}-[0-9]{4}"], action: mask }';
  change(
    `  m: ${route}\n`,
    `filters: { numbers: ${rule} }\nkeys: { fixed: [{ name: a, key: "${key}", limits: { requestsPerMinute: 3 } }] }\n`,
  );
  await expect.poll(async () => (await it.chat()).status, within).toBe(401);
  const ask = () => it.chat('hi', {}, { authorization: `Bearer ${key}` });
  expect(await answerOf(await ask())).not.toContain('555-1234');
  const statuses = [];
  for (let i = 0; i < 4; i++) statuses.push((await ask()).status);
  expect(statuses).toContain(429);
});
