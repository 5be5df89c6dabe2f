import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configJsonSchema } from '../../src/cli/config.ts';
import { tidegate } from './run-cli.ts';

const home = mkdtempSync(join(tmpdir(), 'tidegate-config-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

test('the schema takes what the gateway takes and refuses what it refuses', async () => {
  const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(
    JSON.parse(await configJsonSchema()) as object,
  );
  expect(validate(parse('server: { port: 9000, drain: 10s }\nmodels: { m: { targets: [{ local: smollm2 }] } }'))).toBe(
    true,
  );
  expect(validate(parse('server: { port: many }'))).toBe(false);
  expect(validate(parse('sever: {}'))).toBe(false);
  const filledIn =
    'server: { port: "${PORT}" }\nedge: { nodes: ["${HOME_URL}"], secret: "${S}" }\nengine: { gpu: "${GPU:-off}" }';
  expect(validate(parse(filledIn))).toBe(true);
});

test('the values in force are shown with their origin, and secrets are not', async () => {
  const file = join(home, 'a.yaml');
  writeFileSync(
    file,
    'server: { port: 9001, drain: "${DRAIN}" }\nproviders: { up: { type: openai, apiKey: sk-very-secret } }\nmodels: { a: { targets: [{ provider: up }] } }\n',
  );
  const env = { HOME: home, DRAIN: '5000' };
  const run = await tidegate(['config', 'show', file], { env });
  expect(run.stdout).toMatch(/^server\.port +9001 +file$/m);
  expect(run.stdout).toMatch(/^server\.drain +5000 +environment$/m);
  expect(run.stdout).toMatch(/^server\.host +"127\.0\.0\.1" +default$/m);
  expect(run.stdout).not.toContain('very-secret');
  const json = await tidegate(['config', 'show', file, '--json'], { env });
  expect(JSON.parse(json.stdout)).toMatchObject({ file, values: expect.any(Array) });
  expect(json.stdout).not.toContain('very-secret');
});

test('no kind of secret is shown, whatever it is called and however it is written', async () => {
  const file = join(home, 'secrets.yaml');
  writeFileSync(
    file,
    `providers:
  aws: { type: bedrock, region: eu-west-1, accessKeyId: AKIA, secretAccessKey: hush-1, sessionToken: 'hush-2' }
  azure:
    type: azure-openai
    baseUrl: https://a.openai.azure.com
    entra: { tenantId: t, clientId: c, clientSecret: hush-3 }
    # apiKey: hush-4
  google:
    type: vertex
    project: p
    credentials: |
      {"private_key": "hush-5"}
  own: { type: openai-compatible, baseUrl: http://127.0.0.1:1/v1, headers: { x-gate: hush-6 } }
keys: { pepper: hush-7-and-long-enough-for-a-pepper }
ledger: { url: "postgres://me:hush-8@db.example/books" }
`,
  );
  const { stdout, stderr, code } = await tidegate(['config', 'show', file, '--json'], { env: { HOME: home } });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).not.toContain('hush');
  const { text } = JSON.parse(stdout) as { text: string };
  expect(text).toContain('secretAccessKey: ••••••, sessionToken: ••••••');
  expect(text).toContain('credentials: ••••••\n  own: {');
});

test('the reference in docs/ is what the schema says (`tidegate config reference` prints it)', async () => {
  const { stdout } = await tidegate(['config', 'reference']);
  expect(readFileSync('docs/configuration.md', 'utf8')).toBe(stdout);
  for (const setting of ['server.port', 'models.NAME.targets[].local', 'filters.NAME.restore', 'ledger.url'])
    expect(stdout).toContain(`| \`${setting}\` |`);
  expect(stdout).toContain('| `models.NAME.retry.base` | duration | `"100ms"` |'); // also below a name, where an empty file has nothing
});

test('check ends with 1 and the line of what is wrong', async () => {
  const file = join(home, 'b.yaml');
  writeFileSync(file, 'server:\n  prot: 1\n');
  for (const args of [[file], ['-c', file]]) {
    const run = await tidegate(['config', 'check', ...args], { env: { HOME: home } });
    expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/line 2.*prot/) });
  }
  writeFileSync(file, 'server: {}\n---\nserver: {}\n');
  const two = await tidegate(['config', 'check', file], { env: { HOME: home } });
  expect(two.stderr).toMatch(/line 2: a second document begins here/);
});

test('init names the schema for editors', async () => {
  const file = join(home, 'c.yaml');
  await tidegate(['init', '--yes', '-o', file], { env: { HOME: home } });
  const address = /^# yaml-language-server: \$schema=(.+)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
  expect(readFileSync(join(home, address), 'utf8')).toBe(`${await configJsonSchema()}\n`);
});
