import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import type { Prediction } from '../../src/core/provider.ts';
import { createRouting, type RoutingEvent } from '../../src/routing/attempt.ts';
import { compileCondition } from '../../src/routing/conditions.ts';
import { createTargetStates } from '../../src/routing/state.ts';
import { ask, contextOf } from '../request.ts';
import { drink, finish, leaf, routeOf, routingOf, says, send, text, textsOf, upstream } from './harness.ts';

const failed = new GatewayError('upstream_failed', 'HTTP 500');
const engine = (name: string, ttftMs: () => number, scripts = [says(name)]) =>
  upstream(
    name,
    scripts,
    { local: true, prefill: true },
    { predict: (): Prediction => ({ ttftMs: ttftMs(), queueMs: ttftMs(), uncachedTokens: 0 }) },
  );

describe('hedging', () => {
  test('asks a second target after a delay, takes the first token and cancels the other', async () => {
    const slow = upstream('slow', [[{ waitMs: 2000 }, ...says('slow')]]);
    const quick = upstream('quick', [says('quick')]);
    const routing = routingOf([slow, quick], { hedge: { afterMs: 20 } });
    const run = await send(routing);
    expect(textsOf((await drink(run)).events)).toBe('quick');
    expect([slow.aborted(), quick.aborted()]).toEqual([1, 0]);
    expect(run.attempts.find(({ target }) => target === 'slow/m')?.error?.kind).toBe('cancelled');
    expect(run.decisions?.()).toContainEqual(expect.objectContaining({ name: 'hedge', action: 'quick/m' }));
    const { breaker, inFlight } = routing.states.of('slow/m');
    expect([breaker.state(performance.now()), inFlight]).toEqual(['closed', 0]);
  });

  test('does not ask the second when the first is in time, or when it fails: that is for retries and fallback', async () => {
    const second = upstream('b', [says('b')]);
    expect(
      textsOf(
        (await drink(await send(routingOf([upstream('a', [says('a')]), second], { hedge: { afterMs: 1000 } })))).events,
      ),
    ).toBe('a');
    expect(second.requests).toHaveLength(0);
    const failing = upstream('a', [[failed]]);
    expect(textsOf((await drink(await send(routingOf([failing, second], { hedge: { afterMs: 1000 } })))).events)).toBe(
      'b',
    );
    expect([failing.requests.length, second.requests.length]).toEqual([2, 1]);
  });

  test('an answer that is not streamed has won with its first token too, however long the rest takes', async () => {
    const slow = upstream('slow', [[text('one'), { waitMs: 700 }, text(' two'), finish()]]);
    const second = upstream('second', [says('b')]);
    const run = await send(routingOf([slow, second], { hedge: { afterMs: 400 } }), { stream: false });
    expect(textsOf((await drink(run)).events)).toBe('one two');
    expect(second.requests).toHaveLength(0);
  });

  test('progress of a prompt wins no race, and the first one may still win', async () => {
    const progress = { type: 'progress' as const, processedTokens: 1, totalTokens: 9 };
    const slow = upstream('slow', [[progress, { waitMs: 300 }, ...says('slow')]]);
    const slower = upstream('slower', [[{ waitMs: 5000 }, ...says('slower')]]);
    const { events } = await drink(await send(routingOf([slow, slower], { hedge: { afterMs: 20 } })));
    expect(textsOf(events)).toBe('slow');
    expect(slower.aborted()).toBe(1);
  });

  test('who takes over a broken answer and is slow is not hedged with the one that broke it', async () => {
    const slow = upstream('slow', [[{ waitMs: 300 }, text(' two'), finish()]], { prefill: true });
    const breaking = upstream(
      'breaking',
      [
        [text('one'), failed],
        [text(' never'), finish()],
      ],
      { prefill: true },
    );
    const { events } = await drink(await send(routingOf([slow, breaking], { hedge: { afterMs: 20 } })));
    expect(textsOf(events)).toBe('one two');
    expect([slow.requests.length, breaking.requests.length]).toEqual([2, 1]);
  });

  test('both failing throws what the first threw, and a client that leaves frees both', async () => {
    const two = [
      upstream('a', [[{ waitMs: 300 }, failed]]),
      upstream('b', [[{ waitMs: 300 }, new GatewayError('upstream_unreachable', 'no')]]),
    ];
    const once = { attempts: 0, baseMs: 1, maxMs: 1, longestWaitMs: 1 };
    await expect(send(routingOf(two, { hedge: { afterMs: 5 }, retry: once }))).rejects.toMatchObject({
      message: 'HTTP 500',
    });
    const client = new AbortController();
    const silent = [upstream('a', [['stall']]), upstream('b', [['stall']])];
    setTimeout(() => client.abort(), 300);
    await expect(
      send(routingOf(silent, { hedge: { afterMs: 5 } }), {}, contextOf({ signal: client.signal })),
    ).rejects.toMatchObject({ kind: 'cancelled' });
    expect(silent.map((target) => target.aborted())).toEqual([1, 1]);
  });

  test('counts against the retry budget', async () => {
    const states = createTargetStates({ retries: { share: 0, burst: 2 } });
    const second = upstream('b', [says('b')]);
    const routing = routingOf(
      [upstream('a', [[{ waitMs: 30 }, ...says('a')]]), second],
      { hedge: { afterMs: 1 } },
      { states },
    );
    for (let i = 0; i < 5; i++) await drink(await send(routing));
    expect(second.requests).toHaveLength(2);
  });
});

describe('an objective for the first token', () => {
  test.each([
    { name: 'in time: the first choice', localMs: 100, target: 'local/m', predicted: '100' },
    { name: 'too late: spills to the next', localMs: 5000, target: 'cloud/m', predicted: undefined },
  ])('$name', async ({ localMs, target, predicted }) => {
    const routing = routingOf([engine('local', () => localMs), upstream('cloud', [says('cloud')])], {
      objective: { ttftMs: 1000, shed: false },
    });
    const run = await send(routing);
    await drink(run);
    expect(run.target).toBe(target);
    expect(run.headers['x-tidegate-predicted-ttft-ms']).toBe(predicted);
  });

  test('degrades to the overflow only while the others would be late, and comes back', async () => {
    let ms = 5000;
    const light = upstream('light', [says('light')]);
    const routing = routingOf([engine('big', () => ms)], {
      objective: { ttftMs: 1000, shed: false },
      overflow: [leaf(light)],
    });
    expect((await send(routing)).target).toBe('light/m');
    ms = 10;
    expect((await send(routing)).target).toBe('big/m');
  });

  test.each([
    { priority: 'batch' as const, ms: 1100, served: false },
    { priority: 'normal' as const, ms: 1100, served: true },
    { priority: 'normal' as const, ms: 1600, served: false },
    { priority: 'interactive' as const, ms: 1600, served: true },
    { priority: 'interactive' as const, ms: 2100, served: false },
  ])('sheds the least urgent first: $priority at $ms ms is served: $served', async ({ priority, ms, served }) => {
    const routing = routingOf([engine('local', () => ms)], { objective: { ttftMs: 1000, shed: true } });
    const answer = send(routing, { priority });
    if (served) expect((await answer).target).toBe('local/m');
    else await expect(answer).rejects.toMatchObject({ kind: 'overloaded', status: 429, retryAfterMs: ms - 1000 });
  });
});

describe('place', () => {
  const cloud = () => upstream('cloud', [says('cloud')]);
  const home = (scripts = [says('home')]) => upstream('home', scripts, { local: true, prefill: true });
  const personal = { when: compileCondition('"personal-data" in request.labels'), local: true };

  test('personal data stays on this machine, whatever fails there: no fallback, hedge, takeover or shadow leaves it', async () => {
    const elsewhere = cloud();
    const local = home([[failed], [failed], [text('half'), failed, failed]]);
    const routing = routingOf([elsewhere, local], {
      place: [personal],
      hedge: { afterMs: 1 },
      shadow: { target: { kind: 'leaf', target: elsewhere, weight: 1 }, share: 1, whenIdle: false },
    });
    await expect(send(routing, { labels: ['personal-data'] })).rejects.toMatchObject({ message: 'HTTP 500' });
    await drink(await send(routing, { labels: ['personal-data'] }));
    expect(elsewhere.requests).toHaveLength(0);
    expect((await send(routing)).target).toBe('cloud/m');
  });

  test('a request that may go nowhere is refused, and told so', async () => {
    const routing = routingOf([cloud()], { place: [{ local: true }] });
    await expect(send(routing)).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringContaining('not in an allowed place'),
    });
  });

  test.each([
    { name: 'regions', rule: { local: false, regions: ['eu'] }, target: 'eu/m' },
    { name: 'providers', rule: { local: false, providers: ['us'] }, target: 'us/m' },
  ])('$name narrow it too', async ({ rule, target }) => {
    const [us, eu] = [upstream('us', [says('us')]), upstream('eu', [says('eu')])];
    const route = routeOf([us, eu], {
      place: [rule],
      tree: {
        kind: 'group',
        name: '',
        weight: 1,
        strategy: { name: 'ordered', rank: (children) => children },
        children: [leaf(us, { region: 'us' }), leaf(eu, { region: 'eu' })],
      },
    });
    const routing = createRouting([route]);
    expect((await send(routing)).target).toBe(target);
  });
});

describe('a shadow', () => {
  const shadowed = (shadow: ReturnType<typeof upstream>, more = {}) => {
    const events: RoutingEvent[] = [];
    const routing = routingOf(
      [upstream('a', [says('the tide', ' comes in')])],
      { shadow: { target: { kind: 'leaf', target: shadow, weight: 1 }, share: 1, whenIdle: true }, ...more },
      { onEvent: (event) => events.push(event) },
    );
    return { routing, events };
  };

  test('gets a copy at the lowest priority; the two are compared, the client gets the first', async () => {
    const shadow = upstream('b', [says('the tide goes in')]);
    const { routing, events } = shadowed(shadow);
    expect(textsOf((await drink(await send(routing))).events)).toBe('the tide comes in');
    await expect.poll(() => events, { timeout: 10_000 }).toHaveLength(1);
    expect(events[0]).toMatchObject({
      type: 'shadow',
      same: false,
      similarity: 1 / 3,
      given: { target: 'a/m', finish: 'stop' },
      shadow: { target: 'b/m', characters: 16 },
    });
    expect(shadow.requests[0]?.priority).toBe('batch');
    expect(JSON.stringify(events)).not.toContain('tide');
  });

  test('never delays, and its failure is only a line in the report', async () => {
    const { routing, events } = shadowed(upstream('b', [[{ waitMs: 300 }, failed]]));
    await drink(await send(routing));
    expect(events).toHaveLength(0); // the answer is over, the copy is not
    await expect.poll(() => events, { timeout: 10_000 }).toHaveLength(1);
    expect(events[0]).toMatchObject({ shadow: { error: 'upstream_failed' }, same: false });
  });

  test('is left alone while it is busy', async () => {
    const shadow = upstream('b', [['stall']]);
    const { routing } = shadowed(shadow);
    await drink(await send(routing));
    await drink(await send(routing));
    expect(shadow.requests).toHaveLength(1);
  });
});

describe('a classifier', () => {
  const when = (source: string) => ({ when: compileCondition(source) });
  const routed = (classifier: ReturnType<typeof upstream>, timeoutMs = 1000) => {
    const [code, chat] = [upstream('code', [says('code')]), upstream('chat', [says('chat')])];
    const labels = { code: 'questions about programming', chat: 'all else' };
    return createRouting([
      routeOf([code, chat], {
        tree: {
          kind: 'group',
          name: '',
          weight: 1,
          strategy: { name: 'ordered', rank: (children) => children },
          children: [leaf(code, when('label == "code"')), leaf(chat)],
        },
        classifier: { target: classifier, labels, timeoutMs },
      }),
    ]);
  };

  test('decides by its label, within a grammar where it knows them', async () => {
    const small = upstream('small', [says('code'), says('chat')], { grammar: true, local: true });
    const routing = routed(small);
    expect((await send(routing)).target).toBe('code/m');
    expect((await send(routing)).target).toBe('chat/m');
    expect(small.requests[0]?.responseFormat).toEqual({ type: 'grammar', grammar: 'root ::= "code" | "chat"' });
  });

  test.each([
    { name: 'fails', script: [failed] },
    { name: 'is late', script: ['stall' as const] },
    { name: 'says something else', script: says('dunno') },
  ])('that $name leaves the request on its usual way', async ({ script }) => {
    expect((await send(routed(upstream('small', [script]), 30))).target).toBe('chat/m');
  });
});

test('a target that fails its health checks twice is left out, and comes back with the first success', async () => {
  let healthy = true;
  const ping = async () => {
    if (!healthy) throw new GatewayError('upstream_unreachable', 'ECONNREFUSED');
  };
  const events: RoutingEvent[] = [];
  const targets = [upstream('a', [says('a')], {}, { ping }), upstream('b', [says('b')])];
  const routing = routingOf(
    targets,
    { health: { intervalMs: 5, timeoutMs: 5000 } },
    { onEvent: (event) => events.push(event) },
  );
  const stop = routing.startHealthChecks();
  expect((await send(routing)).target).toBe('a/m');
  healthy = false;
  await expect.poll(() => events.length, { timeout: 10_000 }).toBe(1);
  expect((await send(routing)).target).toBe('b/m');
  healthy = true;
  await expect.poll(() => events.length, { timeout: 10_000 }).toBe(2);
  expect((await send(routing)).target).toBe('a/m');
  stop();
  expect(events).toMatchObject([
    { type: 'health', target: 'a/m', healthy: false, detail: 'ECONNREFUSED' },
    { healthy: true },
  ]);
});

describe('reload and drain', () => {
  test('new routes serve new requests; a running answer ends on the old ones; the swap resolves when it has', async () => {
    const old = upstream('old', [[text('a'), { waitMs: 40 }, text('b'), finish()]]);
    const routing = routingOf([old]);
    const running = await send(routing);
    let settled = false;
    const swapped = routing.replace([routeOf([upstream('new', [says('new')])])]).then(() => {
      settled = true;
    });
    expect((await send(routing)).target).toBe('new/m');
    expect(settled).toBe(false);
    expect(textsOf((await drink(running)).events)).toBe('ab');
    await swapped;
  });

  test('a request that was let in under the old routes is served by them', async () => {
    const routing = routingOf([upstream('old', [says('old')])]);
    const route = routing.find('demo');
    void routing.replace([{ ...routeOf([upstream('new', [says('new')])]), name: 'other' }]);
    expect((await routing.attempt(route, ask(), contextOf())).target).toBe('old/m');
    expect(() => routing.find('demo')).toThrow(/does not exist/);
  });

  test('a drain refuses new work at once, lets running answers end, and breaks the rest with an error', async () => {
    const routing = routingOf([
      upstream('a', [
        [text('a'), { waitMs: 30 }, text('b'), finish()],
        [text('x'), 'stall'],
      ]),
    ]);
    const [ends, hangs] = [await send(routing), await send(routing)];
    const [done, broken] = [drink(ends), drink(hangs)];
    const drained = routing.drain(1000);
    await expect(send(routing)).rejects.toMatchObject({ kind: 'unavailable', status: 503 });
    expect(await drained).toBe(1);
    expect(textsOf((await done).events)).toBe('ab');
    expect((await broken).error).toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('shutting down'),
    });
  });

  test('a drain of an idle gateway is over at once', async () => {
    const startedMs = performance.now();
    expect(await routingOf([upstream('a', [says('a')])]).drain(10_000)).toBe(0);
    expect(performance.now() - startedMs).toBeLessThan(5000);
  });
});

test('explains whom it would ask and why, without sending anything', async () => {
  const [a, b, c] = [upstream('a', [[failed]]), upstream('b', [says('b')]), upstream('c', [says('c')])];
  const routing = routingOf([a, b], { fallback: [leaf(c)], place: [{ local: false, providers: ['a', 'c'] }] });
  for (let i = 0; i < 5; i++) await drink(await send(routing));
  const before = [a, b, c].map(({ requests }) => requests.length);
  const { plan } = routing.explain('demo', ask(), contextOf());
  expect(plan.targets.map(({ leaf: { target }, reason }) => [target.name, reason])).toEqual([['c/m', 'fallback']]);
  expect(plan.excluded).toEqual([
    { target: 'b/m', reason: 'not in an allowed place' },
    { target: 'a/m', reason: 'circuit open', retryAtMs: expect.any(Number) },
  ]);
  expect([a, b, c].map(({ requests }) => requests.length)).toEqual(before);
});

test('what only some targets can do goes to those', async () => {
  const plain = upstream('plain', [says('plain')]);
  const able = upstream('able', [says('able')], { tools: true });
  const routing = routingOf([plain, able]);
  expect((await send(routing)).target).toBe('plain/m');
  expect((await send(routing, { tools: [{ kind: 'function', name: 'f' }] })).target).toBe('able/m');
});

test('calls that answer as a whole fall back too, and skip who can not', async () => {
  const result = { vectors: [[1]], usage: { promptTokens: 1, completionTokens: 0 } };
  const broken = upstream(
    'broken',
    [],
    {},
    {
      embed: async () => {
        throw failed;
      },
    },
  );
  const none = upstream('none', []);
  const works = upstream('works', [], {}, { embed: async () => result });
  const routing = routingOf([broken, none, works]);
  const embed = () =>
    routing.call(routing.find('demo'), contextOf(), ({ provider, model }, options) =>
      provider.embed?.({ model, inputs: ['x'], extensions: {} }, options),
    );
  expect(await embed()).toEqual({ target: 'works/m', value: result });
  const unable = routingOf([none]);
  await expect(
    unable.call(unable.find('demo'), contextOf(), ({ provider, model }, options) =>
      provider.embed?.({ model, inputs: ['x'], extensions: {} }, options),
    ),
  ).rejects.toMatchObject({ kind: 'unsupported' });
});
