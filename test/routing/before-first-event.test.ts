import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { contextOf } from '../request.ts';
import { drink, routingOf, says, send, text, textsOf, upstream } from './harness.ts';

const failed = new GatewayError('upstream_failed', 'HTTP 500');
const limited = new GatewayError('upstream_rate_limited', 'HTTP 429', { retryAfterMs: 60_000 });
const gone = new GatewayError('upstream_unreachable', 'ECONNREFUSED');

test.each([
  { name: 'answers from the first target', a: [says('a')], b: [says('b')], said: 'a', asked: [1, 0] },
  {
    name: 'asks the same target again after a 5xx',
    a: [[failed], says('a')],
    b: [says('b')],
    said: 'a',
    asked: [2, 0],
  },
  { name: 'asks the next target when the retry fails too', a: [[gone]], b: [says('b')], said: 'b', asked: [2, 1] },
  {
    name: 'leaves a rate-limited target for the next at once',
    a: [[limited]],
    b: [says('b')],
    said: 'b',
    asked: [1, 1],
  },
  { name: 'leaves a target that ends without an answer', a: [[]], b: [says('b')], said: 'b', asked: [2, 1] },
  {
    name: 'leaves a target without a first token in time',
    a: [['stall' as const]],
    b: [says('b')],
    said: 'b',
    asked: [1, 1],
  },
  {
    name: 'treats a failure after progress alone like one before the first event',
    a: [[{ type: 'progress' as const, processedTokens: 1, totalTokens: 9 }, failed]],
    b: [says('b')],
    said: 'b',
    asked: [1, 1],
  },
  {
    name: 'lets a target with a longer context serve what is too long for the first',
    a: [[new GatewayError('context_length_exceeded', 'too long')]],
    b: [says('b')],
    said: 'b',
    asked: [1, 1],
  },
  ...[404, 413].map((status) => ({
    name: `asks the next target where the first refuses with ${status}: it may have the model, or take more`,
    a: [[new GatewayError('upstream_rejected', 'not here', { status })]],
    b: [says('b')],
    said: 'b',
    asked: [1, 1],
  })),
  {
    name: 'treats a foreign error of a provider as its failure',
    a: [[new TypeError('bug')]],
    b: [says('b')],
    said: 'b',
    asked: [1, 1],
  },
])('$name', async ({ a, b, said, asked }) => {
  const targets = [upstream('a', a), upstream('b', b)];
  const run = await send(routingOf(targets, { timeouts: { firstTokenMs: 250, idleMs: 5000, totalMs: 0 } }));
  const { events, error } = await drink(run);
  expect(error).toBeUndefined();
  expect(textsOf(events)).toBe(said);
  expect(targets.map(({ requests }) => requests.length)).toEqual(asked);
  expect(run.attempts).toHaveLength(asked.reduce((sum, count) => sum + count));
  expect(run.attempts.at(-1)).toMatchObject({ target: `${said}/m` });
  expect(run.attempts.at(-1)?.error).toBeUndefined();
});

test.each([
  { name: 'a refused request', error: new GatewayError('upstream_rejected', 'no such parameter', { status: 400 }) },
  {
    name: 'a wrong request',
    error: new GatewayError('invalid_request', 'temperature is wrong', { param: 'temperature' }),
  },
])('$name goes to the client at once, and does not count against the target', async ({ error }) => {
  const targets = [upstream('a', [[error]]), upstream('b', [says('b')])];
  const routing = routingOf(targets);
  for (let i = 0; i < 10; i++)
    await expect(send(routing)).rejects.toMatchObject({ kind: error.kind, message: error.message });
  expect(targets[1]?.requests).toHaveLength(0);
  expect(routing.states.of('a/m').breaker.state(performance.now())).toBe('closed');
});

test.each([
  { name: 'the next target gives all of it', b: [says('whole')], said: 'whole', asked: [2, 1] },
  { name: 'the only target is asked again', b: undefined, said: 'again', asked: [2] },
  { name: 'who can, goes on from there', b: [says(' goes on')], able: true, said: 'half goes on', asked: [1, 1] },
])('an answer that is not streamed and breaks in its middle: $name', async ({ b, said, asked, able = false }) => {
  const half = [text('half'), failed];
  const a = upstream('a', [half, b ? half : says('again')]);
  const targets = b ? [a, upstream('b', b, { prefill: able })] : [a];
  const { events, error } = await drink(await send(routingOf(targets), { stream: false }));
  expect(error).toBeUndefined();
  expect(textsOf(events)).toBe(said);
  expect(targets.map(({ requests }) => requests.length)).toEqual(asked);
});

test('throws what the last target threw, with every attempt, when all fail', async () => {
  const routing = routingOf([upstream('a', [[gone]]), upstream('b', [[failed]])]);
  const error = await send(routing).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ kind: 'upstream_failed', message: 'HTTP 500' });
  expect((error as GatewayError).attempts.map(({ target }) => target)).toEqual(['a/m', 'a/m', 'b/m', 'b/m']);
});

test('honours a short retry-after of the only target, and passes a long one on', async () => {
  const soon = new GatewayError('upstream_rate_limited', 'HTTP 429', { retryAfterMs: 20 });
  const startedMs = performance.now();
  const { events } = await drink(await send(routingOf([upstream('a', [[soon], says('a')])])));
  expect(textsOf(events)).toBe('a');
  expect(performance.now() - startedMs).toBeGreaterThanOrEqual(19);
  const routing = routingOf([upstream('a', [[limited], says('a')])]);
  await expect(send(routing)).rejects.toMatchObject({ kind: 'upstream_rate_limited', retryAfterMs: 60_000 });
  const meanwhile = await send(routing).catch((thrown: unknown) => thrown);
  expect(meanwhile).toMatchObject({ kind: 'upstream_rate_limited', status: 429, attempts: [] });
  expect((meanwhile as GatewayError).retryAfterMs).toBeGreaterThan(50_000);
});

test('a circuit opens after five failures in a row, and what it says of retry-after is true', async () => {
  const a = upstream('a', [[failed]]);
  const routing = routingOf([a], { retry: { attempts: 0, baseMs: 1, maxMs: 1, longestWaitMs: 0 } });
  for (let i = 0; i < 5; i++) await expect(send(routing)).rejects.toMatchObject({ kind: 'upstream_failed' });
  const error = await send(routing).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ kind: 'unavailable' });
  expect((error as GatewayError).retryAfterMs).toBeGreaterThan(4000);
  expect((error as GatewayError).retryAfterMs).toBeLessThanOrEqual(5000);
  expect(a.requests).toHaveLength(5);
});

test('the retry budget bounds what a total outage costs: 1,000 requests, at most 1.2 calls each', async () => {
  const limits = { consecutive: Infinity, failureShare: 2, minCalls: 20, windowMs: 10_000, openMs: 5000 }; // never opens
  const { createTargetStates } = await import('../../src/routing/state.ts');
  const a = upstream('a', [[failed]]);
  const routing = routingOf([a], {}, { states: createTargetStates({ breaker: limits }) });
  for (let i = 0; i < 1000; i++) await send(routing).catch(() => {});
  expect(a.requests.length).toBeGreaterThanOrEqual(1000);
  expect(a.requests.length / 1000).toBeLessThanOrEqual(1.2);
});

test('the fallbacks’ budget bounds what a target that fails without end sends to the next one', async () => {
  const limits = { consecutive: Infinity, failureShare: 2, minCalls: 20, windowMs: 10_000, openMs: 5000 }; // never opens
  const { createTargetStates } = await import('../../src/routing/state.ts');
  const b = upstream('b', [says('b')]);
  const states = createTargetStates({ breaker: limits, fallbacks: { share: 0.1, burst: 10 } });
  const routing = routingOf([upstream('a', [[failed]]), b], {}, { states });
  for (let i = 0; i < 200; i++) await send(routing).catch(() => {});
  expect(b.requests.length).toBeGreaterThanOrEqual(20);
  expect(b.requests.length).toBeLessThanOrEqual(10 + 200 * 0.1);
});

test('a target that lacks the model costs nothing of the fallbacks’ budget, and stays in service', async () => {
  const a = upstream('a', [[new GatewayError('upstream_rejected', 'no such model', { status: 404 })]]);
  const routing = routingOf([a, upstream('b', [says('b')])]);
  for (let i = 0; i < 150; i++) expect(textsOf((await drink(await send(routing))).events)).toBe('b');
  expect(routing.states.of('a/m').breaker.state(performance.now())).toBe('closed');
  const alone = send(routingOf([a]));
  await expect(alone).rejects.toMatchObject({ kind: 'upstream_rejected', status: 404, message: 'no such model' });
});

test('a client that leaves while the target is silent frees it at once, without a count against it', async () => {
  const client = new AbortController();
  const a = upstream('a', [['stall']]);
  const routing = routingOf([a, upstream('b', [says('b')])]);
  setTimeout(() => client.abort(), 10);
  await expect(send(routing, {}, contextOf({ signal: client.signal }))).rejects.toMatchObject({ kind: 'cancelled' });
  expect(a.aborted()).toBe(1);
  const state = routing.states.of('a/m');
  expect([state.inFlight, state.inFlightTokens, state.breaker.state(performance.now())]).toEqual([0, 0, 'closed']);
});

test('a client that leaves before anybody reads the answer frees the target too', async () => {
  const client = new AbortController();
  const a = upstream('a', [[text('x'), 'stall']]);
  const routing = routingOf([a]);
  await send(routing, {}, contextOf({ signal: client.signal }));
  expect(routing.states.of('a/m').inFlight).toBe(1);
  client.abort();
  expect(routing.states.of('a/m').inFlight).toBe(0);
  expect(a.aborted()).toBe(1);
});

test('a client that leaves in the very moment of the first event frees the target, whichever turn that is', async () => {
  for (let turns = 0; turns < 30; turns++) {
    const client = new AbortController();
    const leave = async () => {
      for (let turn = 0; turn < turns; turn++) await undefined;
      client.abort();
    };
    const a = upstream(
      'a',
      [],
      {},
      {
        async *stream() {
          void leave();
          yield text('x');
          yield text('y');
        },
      },
    );
    const routing = routingOf([a]);
    await send(routing, {}, contextOf({ signal: client.signal })).catch(() => {});
    await expect.poll(() => routing.states.of('a/m').inFlight).toBe(0);
  }
});

test('the total deadline ends everything, fallbacks included', async () => {
  const targets = [upstream('a', [['stall']]), upstream('b', [says('b')])];
  const routing = routingOf(targets, { timeouts: { firstTokenMs: 0, idleMs: 0, totalMs: 30 } });
  const error = await send(routing).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ kind: 'timeout', message: expect.stringContaining('30 ms') });
  expect((error as GatewayError).attempts.map(({ target }) => target)).toEqual(['a/m']);
  expect(targets[1]?.requests).toHaveLength(0);
});

test('a target that ignores its signal holds nobody up', async () => {
  const deaf = upstream(
    'deaf',
    [],
    {},
    {
      async *stream() {
        await new Promise(() => {});
      },
    },
  );
  const routing = routingOf([deaf, upstream('b', [says('b')])], {
    timeouts: { firstTokenMs: 250, idleMs: 0, totalMs: 0 },
  });
  expect(textsOf((await drink(await send(routing))).events)).toBe('b');
});

test('progress with the prompt puts the first token’s deadline off; silence after it does not', async () => {
  const progress = { type: 'progress' as const, processedTokens: 1, totalTokens: 9 };
  const slowly = Array.from({ length: 6 }, () => [progress, { waitMs: 150 }]).flat();
  const timeouts = { firstTokenMs: 500, idleMs: 0, totalMs: 0 };
  const reads = upstream('a', [[...slowly, ...says('a')]]);
  expect(textsOf((await drink(await send(routingOf([reads, upstream('b', [says('b')])], { timeouts })))).events)).toBe(
    'a',
  );
  const hangs = upstream('a', [[progress, 'stall']]);
  expect(textsOf((await drink(await send(routingOf([hangs, upstream('b', [says('b')])], { timeouts })))).events)).toBe(
    'b',
  );
});
