import { expect, test } from 'vitest';
import type { RequestRecord } from '../../src/core/record.ts';
import type { Status } from '../../src/core/status.ts';
import { type AlertMessage, type AlertsOptions, createAlerts } from '../../src/observability/alerts.ts';
import { steppedClock } from './harness.ts';

const record = (outcome: string, ttftMs = 100): RequestRecord => ({
  requestId: 'r',
  endpoint: '/v1/chat/completions',
  callerId: 'anonymous',
  model: 'demo',
  attempts: [],
  cache: 'bypass',
  stream: true,
  startedAt: 0,
  startedMs: 0,
  durationMs: 1,
  finishReasons: [],
  outcome,
  status: 200,
  decisions: [],
  stages: [],
  ttftMs,
});

function watched(options: Partial<AlertsOptions> = {}) {
  const sent: AlertMessage[] = [];
  const clock = steppedClock();
  const alerts = createAlerts({ clock, send: async (message) => void sent.push(message), ...options });
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += 10_000) {
      clock.advance(10_000);
      await alerts.check().catch(() => {});
    }
  };
  const summaries = () =>
    sent.flatMap(({ status, alerts: list }) => list.map(({ annotations }) => `${status}: ${annotations.summary}`));
  return { alerts, sent, clock, pass, summaries };
}

test('failing requests are told once, after a minute, and their end as well', async () => {
  const { alerts, sent, pass, summaries } = watched();
  for (let i = 0; i < 90; i++) alerts.sink(record('ok'));
  for (let i = 0; i < 10; i++) alerts.sink(record('upstream_failed'));
  await pass(50_000);
  expect(sent).toEqual([]);
  await pass(100_000);
  expect(summaries()).toEqual(['firing: 10 % of the requests fail']);
  await pass(300_000);
  expect(summaries()).toEqual(['firing: 10 % of the requests fail', 'resolved: 10 % of the requests fail']);
  expect(sent[0]).toMatchObject({
    version: '4',
    status: 'firing',
    alerts: [
      { labels: { alertname: 'TidegateErrors', severity: 'critical' }, startsAt: expect.stringMatching(/^2023-/) },
    ],
  });
});

test.each([
  { name: 'what clients get wrong or leave', outcomes: ['invalid_request', 'cancelled', 'rate_limited'], times: 100 },
  { name: 'a handful of failures', outcomes: ['upstream_failed'], times: 3 },
])('$name wakes nobody', async ({ outcomes, times }) => {
  const { alerts, sent, pass } = watched();
  for (let i = 0; i < times; i++) for (const outcome of outcomes) alerts.sink(record(outcome));
  await pass(200_000);
  expect(sent).toEqual([]);
});

test('slow first tokens, a queue, an open breaker, a budget and restarts are told', async () => {
  let restarts = 0;
  const status = {
    engines: () => [{ model: 'smollm2', waiting: 20, counters: { restarts: restarts++ } }],
    targets: () => [{ target: 'up/m', breaker: 'open', inFlight: 0, healthy: false }],
    budgets: () => [{ owner: 'key_1', usedUsd: 19, limitUsd: 20 }],
  } as unknown as Status; // only what alerts read
  const { alerts, pass, summaries } = watched({ status });
  for (let i = 0; i < 20; i++) alerts.sink(record('ok', 30_000));
  await pass(120_000);
  expect(summaries()).toEqual([
    expect.stringMatching(/^firing: first tokens take \d{5} ms/),
    'firing: 20 requests wait for a slot of smollm2',
    'firing: up/m fails so often that it is not called any more',
    'firing: key_1 has spent 95 % of its budget',
    'firing: an engine keeps ending and starting again',
  ]);
});

test('a webhook that is down is tried again until it takes the message', async () => {
  let calls = 0;
  const { alerts, pass } = watched({
    send: async () => {
      if (++calls < 3) throw new Error('down');
    },
  });
  for (let i = 0; i < 20; i++) alerts.sink(record('internal'));
  await pass(120_000);
  expect(calls).toBe(3);
});

test('a limit of zero switches an alert off', async () => {
  const { alerts, sent, pass } = watched({ limits: { errorShare: 0 } });
  for (let i = 0; i < 20; i++) alerts.sink(record('internal'));
  await pass(120_000);
  expect(sent).toEqual([]);
});
