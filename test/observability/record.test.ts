import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { RequestRecord } from '../../src/core/record.ts';
import { noFilters } from '../../src/filters/index.ts';
import { ask, contextOf } from '../request.ts';
import { answerOf, drain, gatewayWith, type Step, scripted, steppedClock } from './harness.ts';

function recorded(steps: readonly Step[], options: { priceOf?: () => number } = {}) {
  const records: RequestRecord[] = [];
  const clock = steppedClock();
  const sinks = [(record: RequestRecord) => void records.push(record)];
  return {
    records,
    clock,
    gateway: gatewayWith({ providers: [scripted('up', steps, clock)], sinks, clock, ...options }),
  };
}

test('a whole answer is recorded once, with its times, its tokens and its price', async () => {
  const { records, gateway } = recorded(
    [
      { waitMs: 40 },
      { type: 'start' },
      { waitMs: 60 },
      ...answerOf('a').slice(0, 1),
      { waitMs: 30 },
      ...answerOf('b', 'c'),
    ],
    { priceOf: () => 0.5 },
  );
  await drain((await gateway.stream(ask({ metadata: { team: 'a' } }), contextOf())).events);
  expect(records).toEqual([
    expect.objectContaining({
      requestId: 'req-1',
      model: 'demo',
      target: 'up/m',
      outcome: 'ok',
      status: 200,
      ttftMs: 100,
      tpotMs: 30,
      durationMs: 130,
      overheadMs: 0,
      costUsd: 0.5,
      usage: { promptTokens: 7, completionTokens: 2 },
      finishReasons: ['stop'],
      metadata: { team: 'a' },
      attempts: [expect.objectContaining({ target: 'up/m', durationMs: 100 })],
    }),
  ]);
  expect(records[0]?.stages.map(({ name }) => name)).toEqual(['decode', 'admission', 'input-filters']);
});

test.each([
  {
    name: 'a failure before the first event',
    steps: [new GatewayError('upstream_rejected', 'no')],
    outcome: { outcome: 'upstream_rejected', status: 400, errorMessage: 'no' },
  },
  {
    name: 'a failure in the middle',
    steps: [...answerOf('a').slice(0, 1), new GatewayError('upstream_failed', 'gone')],
    outcome: { outcome: 'upstream_failed', status: 502, errorMessage: 'gone', target: 'up/m' },
  },
  {
    name: 'an error that is not ours',
    steps: [new Error('secret detail')],
    outcome: { outcome: 'internal', status: 500, errorMessage: 'The gateway failed to handle this request.' },
  },
])('$name is recorded once, as it happened', async ({ steps, outcome }) => {
  const { records, gateway } = recorded(steps);
  const answer = gateway.stream(ask(), contextOf()).then(({ events }) => drain(events));
  await expect(answer).rejects.toThrow();
  expect(records).toEqual([expect.objectContaining(outcome)]);
});

test('names that a client makes up are cut: records are kept, logged and shown', async () => {
  const { records, gateway } = recorded(answerOf('a'));
  const long = 'x'.repeat(1_000_000);
  await expect(gateway.stream(ask({ model: long }), contextOf())).rejects.toThrow('does not exist');
  await drain((await gateway.stream(ask({ user: long }), contextOf())).events);
  expect(JSON.stringify(records).length).toBeLessThan(5000);
});

test.each([{ pulls: 0 }, { pulls: 1 }])(
  'a client that leaves after $pulls events is recorded as cancelled',
  async ({ pulls }) => {
    const { records, gateway } = recorded(answerOf('a', 'b'));
    const run = await gateway.stream(ask(), contextOf());
    const iterator = run.events[Symbol.asyncIterator]();
    for (let pull = 0; pull < pulls; pull++) await iterator.next();
    await iterator.return?.();
    await iterator.return?.();
    expect(records).toEqual([expect.objectContaining({ outcome: 'cancelled', status: 499 })]);
  },
);

test('what the filters decide on the way, up to the end of the stream, is in the record', async () => {
  const records: RequestRecord[] = [];
  const decided: string[] = [];
  const gateway = gatewayWith({
    providers: [scripted('up', answerOf('a', 'b'))],
    sinks: [(record) => void records.push(record)],
    deps: {
      filters: {
        async apply(request, route, context) {
          const { output: pass } = await noFilters.apply(request, route, context);
          return {
            request,
            output: pass,
            decisions: () => decided.map((name) => ({ stage: 'filters', name, action: 'mask' })),
          };
        },
      },
    },
  });
  const run = await gateway.stream(ask(), contextOf());
  decided.push('pii');
  await drain(run.events);
  expect(records[0]?.decisions).toEqual([{ stage: 'filters', name: 'pii', action: 'mask' }]);
});
