import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { beginTrace } from '../../src/core/trace.ts';
import { otlpExporter } from '../../src/observability/traces.node.ts';
import { traceRequests } from '../../src/observability/traces.ts';
import { freePort } from '../free-port.ts';
import { ask, contextOf } from '../request.ts';
import { answerOf, drain, gatewayWith, scripted } from './harness.ts';

/** `MLFLOW` names the `mlflow` command of PyPI's package (850 MB with what it needs, so it is not asked for in CI). */
const mlflow = process.env['MLFLOW'];
if (!mlflow)
  console.log('skipped: set MLFLOW to the mlflow command (pip install mlflow) to test against a real server');

describe.skipIf(!mlflow)('a real MLflow', () => {
  let server: ChildProcess | undefined;
  afterEach(() => server?.kill());

  test('takes our traces, with their tokens, prompts and answers', { timeout: 180_000 }, async () => {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-mlflow-'));
    const store = `sqlite:///${join(folder, 'mlflow.db')}`;
    const options = [
      'server',
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--workers',
      '1',
      '--backend-store-uri',
      store,
    ];
    server = spawn(mlflow ?? '', options, { stdio: 'ignore', cwd: folder });
    const url = `http://127.0.0.1:${port}`;
    const healthy = () =>
      fetch(`${url}/health`).then(
        ({ ok }) => ok,
        () => false,
      );
    await expect.poll(healthy, { timeout: 120_000, interval: 1000 }).toBe(true);

    const failures: unknown[] = [];
    const otlp = await otlpExporter({
      url: `${url}/v1/traces`,
      headers: { 'x-mlflow-experiment-id': '0' },
      onError: (error) => failures.push(error),
      timeoutMs: 60_000,
    });
    const watchers = [traceRequests(otlp.export, { content: true })];
    const gateway = gatewayWith({ providers: [scripted('up', answerOf('High', ' tide'))], watchers });
    const context = contextOf({ trace: beginTrace({}), startedMs: performance.now() });
    await drain((await gateway.stream(ask(), context)).events);
    await otlp.close(60_000);
    expect(failures).toEqual([]);

    const search = async () => {
      const response = await fetch(`${url}/api/3.0/mlflow/traces/search`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ locations: [{ type: 'MLFLOW_EXPERIMENT', mlflow_experiment: { experiment_id: '0' } }] }),
      });
      return ((await response.json()) as { traces?: object[] }).traces?.[0]; // MLflow's API
    };
    await expect.poll(search, { timeout: 30_000 }).toMatchObject({
      state: 'OK',
      trace_metadata: { 'mlflow.trace.tokenUsage': expect.stringContaining('"output_tokens": 2') },
      request_preview: expect.stringContaining('What is the tide?'),
      response_preview: expect.stringContaining('High tide'),
    });
  });
});
