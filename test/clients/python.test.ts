import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningGateway } from '../../src/node.ts';
import { python } from '../python.ts';
import { localGateway, localModel, model } from './local-gateway.ts';

const run = promisify(execFile);

describe.skipIf(localModel === null)('Python’s SDKs with the local model', () => {
  let gateway: RunningGateway;
  beforeAll(async () => {
    gateway = await localGateway();
  });
  afterAll(() => gateway.close());

  for (const sdk of ['openai', 'anthropic']) {
    const file = python(sdk);
    test.skipIf(!file)(`PyPI ${sdk} does what people do with it`, async () => {
      const env = { ...process.env, BASE_URL: gateway.url, MODEL: model };
      const { stdout } = await run(file ?? '', [`test/clients/python/${sdk}_client.py`], { env });
      expect(stdout.trim()).toBe('ok');
    });
  }
});
