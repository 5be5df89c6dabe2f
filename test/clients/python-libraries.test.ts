import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningGateway } from '../../src/node.ts';
import { localGateway, localModel, model } from './local-gateway.ts';

const run = promisify(execFile);

/** An environment of its own: these libraries hold on to an older OpenAI SDK. `.ci/run` makes it. */
const bin = resolve(process.env['TIDEGATE_PYTHON_LIBRARIES'] ?? '.tidegate/python-libraries/bin');
const installed = existsSync(`${bin}/python`);
if (!installed && process.env['CI']) throw new Error('The Python libraries are missing; .ci/run installs them.');
if (!installed) console.warn('skipped: the Python libraries are not installed');

const conformance = 'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance';

/** What schemathesis says of the gateway where it finds a fault. */
async function faultsOf(args: readonly string[]): Promise<string | undefined> {
  const hooks = { SCHEMATHESIS_HOOKS: 'schemathesis_hooks', PYTHONPATH: resolve('test/clients/python') };
  const env = { ...process.env, ...hooks, MODEL: model, PYTHONDONTWRITEBYTECODE: '1' };
  return run(`${bin}/st`, args, { cwd: tmpdir(), maxBuffer: 2 ** 24, env }).then(
    () => undefined,
    (error: { stdout?: string }) => error.stdout,
  );
}

describe.skipIf(localModel === null || !installed)('Python’s libraries with the local model', () => {
  let gateway: RunningGateway;
  beforeAll(async () => {
    gateway = await localGateway();
  });
  afterAll(() => gateway.close());

  test('OpenAI’s older SDK, LiteLLM, Instructor and LangChain do what people do with them', async () => {
    const env = { ...process.env, BASE_URL: gateway.url, MODEL: model, PYTHONDONTWRITEBYTECODE: '1' };
    const args = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'test/clients/python/test_libraries.py'];
    const { stdout } = await run(`${bin}/python`, args, { env });
    expect(stdout).toMatch(/\d+ passed/);
  }, 600_000);

  test('LangChain’s standard suites pass, but for what measures a model’s wit', async () => {
    const env = { ...process.env, BASE_URL: gateway.url, MODEL: model, PYTHONDONTWRITEBYTECODE: '1' };
    const oneLoop = ['asyncio_mode=auto', 'asyncio_default_test_loop_scope=session'].flatMap((set) => ['-o', set]);
    const args = ['-m', 'pytest', '-q', '-rxX', '-p', 'no:cacheprovider', ...oneLoop];
    const { stdout } = await run(`${bin}/python`, [...args, 'test/clients/python/test_langchain_standard.py'], { env });
    console.info(
      stdout
        .split('\n')
        .filter((line) => /^X(FAIL|PASS)/.test(line))
        .join('\n'),
    );
    expect(stdout).toMatch(/\d+ passed/);
  }, 600_000);

  test('schemathesis finds no answer that is no answer: no 5xx, and every body as the reference tells', async () => {
    const args = ['run', `${gateway.url}/openapi.json`, '--checks', conformance, '--phases', 'fuzzing'];
    const bounds = [
      '--max-time',
      '45',
      '--max-examples',
      '10',
      '--generation-deterministic',
      '--request-timeout',
      '60',
    ];
    const spared = ['--exclude-path-regex', '/api/pull|/models/(un)?load|/docs'];
    expect(await faultsOf([...args, ...bounds, ...spared])).toBeUndefined();
  }, 600_000);

  test('schemathesis follows the links of the reference: what was made is found, and what was deleted is not', async () => {
    const checks = `${conformance},use_after_free,ensure_resource_availability`;
    const args = ['run', `${gateway.url}/openapi.json`, '--checks', checks, '--phases', 'stateful'];
    const bounds = [
      '--max-time',
      '20',
      '--max-examples',
      '30',
      '--generation-deterministic',
      '--request-timeout',
      '60',
    ];
    const kept = ['--include-path-regex', '^/v1/(files|responses|conversations)'];
    expect(await faultsOf([...args, ...bounds, ...kept])).toBeUndefined();
  }, 600_000);
});
