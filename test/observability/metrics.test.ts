import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { EngineStatus, Status } from '../../src/core/status.ts';
import { prometheusMeter } from '../../src/observability/metrics.node.ts';
import { createMetrics, operationOf } from '../../src/observability/metrics.ts';
import { ask, contextOf } from '../request.ts';
import { answerOf, drain, gatewayWith, scripted, steppedClock } from './harness.ts';
import { promtool } from './promtool.ts';

const engine: EngineStatus = {
  model: 'smollm2',
  state: 'ready',
  slots: [
    { id: 0, state: 'decode', usedTokens: 30, contextTokens: 100, prefixTokens: 8 },
    { id: 1, state: 'idle', usedTokens: 0, contextTokens: 100, prefixTokens: 0 },
  ],
  waiting: 3,
  running: 1,
  batchWidth: 1,
  kv: [
    { tier: 'slots', used: 30, capacity: 200, unit: 'tokens' },
    { tier: 'memory', used: 1, capacity: 4, unit: 'bytes' },
  ],
  prefillTokensPerSecond: 400,
  decodeTokensPerSecond: 60,
  counters: {
    promptTokens: 20,
    prefixHitTokens: 8,
    prefillTokens: 12,
    decodeTokens: 18,
    draftedTokens: 6,
    acceptedTokens: 4,
    restarts: 1,
    preemptions: 0,
  },
};
const status: Status = {
  engines: () => [engine],
  targets: () => [{ target: 'up/m', breaker: 'open', inFlight: 2, healthy: false }],
  budgets: () => [{ owner: 'key_1', usedUsd: 3, limitUsd: 4 }],
  responseCache: () => ({ entries: 2, bytes: 100, maxBytes: 1000 }),
};

function measured() {
  const meter = prometheusMeter({ process: false });
  const metrics = createMetrics(meter, { knowsModel: (model) => model === 'demo', status, version: '1.2.3' });
  return { meter, metrics, sinks: [metrics.record] };
}

test('a request is counted and timed under OpenTelemetry’s names', async () => {
  const { meter, sinks } = measured();
  const clock = steppedClock();
  const steps = [{ waitMs: 50 }, ...answerOf('a').slice(0, 1), { waitMs: 60 }, ...answerOf('b', 'c')];
  const gateway = gatewayWith({ providers: [scripted('up', steps, clock)], sinks, clock, priceOf: () => 0.25 });
  await drain((await gateway.stream(ask(), contextOf())).events);
  const text = await meter.expose();
  const labels =
    'gen_ai_operation_name="chat",gen_ai_provider_name="up",gen_ai_request_model="demo",gen_ai_response_model="m"';
  for (const line of [
    `gen_ai_server_time_to_first_token_seconds_sum{${labels}} 0.05`,
    `gen_ai_server_time_per_output_token_seconds_sum{${labels}} 0.06`,
    `gen_ai_server_request_duration_seconds_sum{${labels},error_type=""} 0.11`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="input"} 7`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="output"} 2`,
    'tidegate_requests_total{endpoint="/v1/chat/completions",model="demo",outcome="ok"} 1',
    'tidegate_attempts_total{target="up/m",outcome="ok"} 1',
    'tidegate_overhead_seconds_sum{endpoint="/v1/chat/completions"} 0',
    'tidegate_response_cache_total{model="demo",status="bypass"} 1',
    'tidegate_spend_usd_total{model="demo",target="up/m",team=""} 0.25',
    'tidegate_finish_reasons_total{model="demo",reason="stop"} 1',
  ]) {
    expect(text).toContain(`${line}\n`);
  }
});

test('failed attempts are counted by target and kind, before an answer and without one', async () => {
  const { meter, sinks } = measured();
  const bad = scripted('bad', [new GatewayError('upstream_failed', 'down')]);
  const good = scripted('good', answerOf('a'));
  await drain((await gatewayWith({ providers: [bad, good], sinks }).stream(ask(), contextOf())).events);
  const text = await meter.expose();
  expect(text).toContain('tidegate_attempts_total{target="bad/m",outcome="upstream_failed"} 1\n');
  expect(text).toContain('tidegate_attempts_total{target="good/m",outcome="ok"} 1\n');
});

test('names that only clients made up never become labels', async () => {
  const { meter, sinks } = measured();
  const gateway = gatewayWith({ providers: [scripted('up', answerOf('a'))], sinks });
  for (let i = 0; i < 50; i++) await gateway.stream(ask({ model: `made-up-${i}` }), contextOf()).catch(() => {});
  const text = await meter.expose();
  expect(text).not.toContain('made-up');
  expect(text).toContain('model="_other",outcome="model_not_found"} 50\n');
});

test('label sets are bounded however many targets, teams and endpoints there are', () => {
  const { meter, metrics } = measured();
  for (let i = 0; i < 3000; i++) metrics.http({ route: `/r${i}`, method: 'GET', status: 200 });
  return meter.expose().then((text) => {
    expect(text.split('\n').filter((line) => line.startsWith('tidegate_http_requests_total{'))).toHaveLength(501);
    expect(text).toContain('tidegate_http_requests_total{route="_other",method="_other",code="_other"} 2500\n');
  });
});

test('engine, breakers, budgets and response cache are read when scraped, twice alike', async () => {
  const { meter } = measured();
  await meter.expose();
  const text = await meter.expose();
  for (const line of [
    'tidegate_engine_slots{model="smollm2",state="decode"} 1',
    'tidegate_engine_requests_waiting{model="smollm2"} 3',
    'tidegate_engine_kv_used_ratio{model="smollm2",tier="memory"} 0.25',
    'tidegate_engine_prefix_hit_tokens_total{model="smollm2"} 8',
    'tidegate_engine_draft_accepted_tokens_total{model="smollm2"} 4',
    'tidegate_engine_restarts_total{model="smollm2"} 1',
    'tidegate_target_breaker_state{target="up/m"} 2',
    'tidegate_budget_used_ratio{owner="key_1"} 0.75',
    'tidegate_response_cache_entries 2',
    'tidegate_build_info{version="1.2.3"} 1',
  ]) {
    expect(text).toContain(`${line}\n`);
  }
  expect(text).not.toMatch(/energy_joules_total\{/);
});

test.skipIf(!promtool)('promtool finds nothing to correct', async () => {
  const { meter, metrics, sinks } = measured();
  const gateway = gatewayWith({ providers: [scripted('up', answerOf('a', 'b'))], sinks, priceOf: () => 1 });
  await drain((await gateway.stream(ask(), contextOf())).events);
  metrics.http({ route: '/v1/models', method: 'GET', status: 200 });
  metrics.feedback({ model: 'demo', target: 'up/m', score: 1 });
  const {
    status: code,
    stdout,
    stderr,
  } = spawnSync(promtool ?? '', ['check', 'metrics'], { input: await meter.expose() });
  expect({ code, out: `${stdout}${stderr}` }).toEqual({ code: 0, out: '' });
});

test.each([
  ['/v1/chat/completions', 'chat'],
  ['/chat/completions', 'chat'],
  ['/v1/messages', 'chat'],
  ['/api/chat', 'chat'],
  ['/v1/completions', 'text_completion'],
  ['/completion', 'text_completion'],
  ['/infill', 'text_completion'],
  ['/api/generate', 'text_completion'],
  ['/api/embed', 'embeddings'],
])('what is done at %s is %s by the names of OpenTelemetry', (endpoint, operation) => {
  expect(operationOf(endpoint)).toBe(operation);
});
