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

  test('schemathesis finds no answer that is no answer: no 5xx, and every body as the reference tells', async () => {
    const checks = 'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance';
    const args = ['run', `${gateway.url}/openapi.json`, '--checks', checks, '--phases', 'fuzzing'];
    const bounds = ['--max-examples', '10', '--generation-deterministic', '--request-timeout', '60'];
    const spared = ['--exclude-path-regex', '/api/pull|/models/(un)?load|/docs'];
    const failure = await run(`${bin}/st`, [...args, ...bounds, ...spared], { cwd: tmpdir(), maxBuffer: 2 ** 24 }).then(
      () => undefined,
      (error: { stdout?: string }) => error.stdout,
    );
    expect(failure).toBeUndefined();
  }, 600_000);
});
