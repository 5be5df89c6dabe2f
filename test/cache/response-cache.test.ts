import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalRequest } from '../../src/cache/key.ts';
import { memoryStore } from '../../src/cache/memory.ts';
import { createResponseCache, type ResponseCacheOptions } from '../../src/cache/response-cache.ts';
import { createSemanticIndex } from '../../src/cache/semantic.ts';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import { noCapabilities, type Provider } from '../../src/core/provider.ts';
import type { ChatRequest } from '../../src/core/request.ts';
import type { CacheRule } from '../../src/core/route.ts';
import { anonymous, type Caller, type Run } from '../../src/core/run.ts';
import { sleep } from '../../src/core/signals.ts';
import { createRouting, rulesOf } from '../../src/routing/attempt.ts';
import { decodeChatRequest } from '../../src/wire/openai/decode.ts';
import { drain, gatewayWith, steppedClock } from '../observability/harness.ts';
import { ask, contextOf } from '../request.ts';

/** A provider that counts its calls, answers word by word with its call's number, and can be told to wait or fail. */
function counting() {
  const state = { calls: 0, aborted: 0, waitMs: 0, failures: 0 };
  const provider: Provider = {
    name: 'up',
    capabilities: noCapabilities,
    async *stream(_request, { signal }): AsyncGenerator<CompletionEvent> {
      const call = ++state.calls;
      signal.addEventListener('abort', () => state.aborted++, { once: true });
      if (state.waitMs > 0) await sleep(state.waitMs, signal);
      if (state.failures > 0) {
        state.failures--;
        throw new GatewayError('upstream_failed', 'The upstream is down.');
      }
      yield { type: 'start', id: `up-${call}`, model: 'm' };
      for (const text of ['answer', ' ', String(call)]) {
        yield { type: 'text-delta', choice: 0, text };
        if (state.waitMs > 0) await sleep(state.waitMs, signal);
      }
      yield { type: 'finish', choice: 0, reason: 'stop' };
      yield { type: 'usage', usage: { promptTokens: 5, completionTokens: 3 } };
    },
  };
  return { state, provider };
}

function cached(rule: Partial<CacheRule> | null = {}, options: Partial<ResponseCacheOptions> = {}) {
  const clock = steppedClock();
  const { state, provider } = counting();
  const targets = [{ name: 'up/m', provider, model: 'm' }];
  const cache = createResponseCache({ store: memoryStore(), clock, ...options });
  const own = rule && { ttlMs: 60_000, scope: 'key' as const, ...rule };
  const bare = { name: 'demo', filters: [], targets, ...(own && { cache: own }) };
  // No retries: what is counted here are the cache's own calls.
  const route = { ...bare, rules: { ...rulesOf(bare), retry: { ...rulesOf(bare).retry, attempts: 0 } } };
  const gateway = gatewayWith({
    providers: [],
    deps: { cache, routing: createRouting([route, { ...route, name: 'other' }]) },
  });
  const send = (
    change: Partial<ChatRequest> = {},
    headers = {},
    caller: Caller = anonymous,
    signal = new AbortController().signal,
  ) => gateway.stream(ask(change), contextOf({ headers, caller, signal }));
  const text = async (run: Run) =>
    (await drain(run.events)).map((event) => (event.type === 'text-delta' ? event.text : '')).join('');
  const say = async (...args: Parameters<typeof send>) => {
    const run = await send(...args);
    return [run.cache, await text(run)];
  };
  return { send, say, text, state, clock };
}

const user = (text: string): Partial<ChatRequest> => ({
  messages: [{ role: 'user', content: [{ type: 'text', text }] }],
});

describe('the response cache', () => {
  test('gives an equal request the same answer, as the same stream of pieces, with its usage', async () => {
    const { send, state } = cached();
    const first = await drain((await send()).events);
    const run = await send({ stream: false, user: 'somebody', metadata: { a: 'b' }, priority: 'batch' });
    expect(run).toMatchObject({ cache: 'hit', target: 'up/m', attempts: [] });
    const second = await drain(run.events);
    expect(second).toEqual([{ type: 'start', model: 'm' }, ...first.slice(1)]); // one upstream id must not serve two answers
    expect(state.calls).toBe(1);
  });

  test.each<[string, Partial<ChatRequest>]>([
    ['another text', user('Something else?')],
    ['another seed', { sampling: { seed: 1 } }],
    ['another temperature', { sampling: { temperature: 0.5 } }],
    ['another bound', { maxTokens: 9 }],
    ['another stop', { stop: ['x'] }],
    ['log-probabilities', { logprobs: { top: 2 } }],
    ['two choices', { choices: 2 }],
    ['a schema', { responseFormat: { type: 'json-object' } }],
    ['an unknown field', { extensions: { min_p: 0.1 } }],
    ['another model', { model: 'other' }],
  ])('keeps %s apart', async (_name, change) => {
    const { say } = cached();
    await say();
    expect((await say(change))[0]).toBe('miss');
  });

  test.each<[string, Record<string, string>, string, string]>([
    ['no-store neither looks nor keeps', { 'x-tidegate-cache': 'no-store' }, 'bypass', 'hit'],
    ['no-cache looks not, but keeps', { 'cache-control': 'no-cache' }, 'miss', 'hit'],
    ['max-age=0 wants nothing stored', { 'cache-control': 'max-age=0' }, 'miss', 'hit'],
    ['a ttl of its own', { 'x-tidegate-cache': 'ttl=1s' }, 'hit', 'hit'],
    ['words it does not know change nothing', { 'cache-control': 'immutable, x=y' }, 'hit', 'hit'],
  ])('%s', async (_name, headers, now, after) => {
    const { say, clock } = cached();
    await say();
    clock.advance(5);
    expect((await say({}, headers))[0]).toBe(now);
    expect((await say())[0]).toBe(after);
  });

  test('only-if-cached never calls the upstream', async () => {
    const { say, state } = cached();
    await expect(say({}, { 'cache-control': 'only-if-cached' })).rejects.toMatchObject({ status: 504 });
    expect(state.calls).toBe(0);
  });

  test('an answer is fetched again after its ttl, and a request may shorten it', async () => {
    const { say, clock } = cached();
    await say({}, { 'x-tidegate-cache': 'ttl=10s' });
    clock.advance(9_999);
    expect(await say()).toEqual(['hit', 'answer 1']);
    clock.advance(2);
    expect(await say()).toEqual(['miss', 'answer 2']);
  });

  test('stale-while-revalidate answers at once and fetches anew', async () => {
    const { say, clock, state } = cached({ staleWhileRevalidateMs: 5_000 });
    await say();
    clock.advance(61_000);
    expect(await say()).toEqual(['stale', 'answer 1']);
    await expect.poll(() => state.calls).toBe(2);
    await expect.poll(say).toEqual(['hit', 'answer 2']);
  });

  test('stale-if-error answers when every target fails, not for ever, and not for the caller’s own faults', async () => {
    const { say, clock, state } = cached({ staleIfErrorMs: 5_000 });
    await say();
    clock.advance(61_000);
    state.failures = 2;
    expect(await say()).toEqual(['stale', 'answer 1']);
    clock.advance(5_000);
    await expect(say()).rejects.toMatchObject({ kind: 'upstream_failed' });
  });

  test('a broken or filtered answer is not kept', async () => {
    const { say, state } = cached();
    state.failures = 1;
    await expect(say()).rejects.toThrow();
    expect((await say())[0]).toBe('miss');
  });

  test('an answer too long to keep is given whole, and nothing of it is kept', async () => {
    const { say } = cached({}, { maxAnswerBytes: 300 }); // its last pieces alone would end well
    const first = await say();
    expect(first).toEqual(['miss', 'answer 1']);
    expect(await say()).toEqual(['miss', 'answer 2']);
  });

  test('a route without a rule keeps nothing', async () => {
    const gateway = cached(null);
    expect(await gateway.say()).toEqual(['bypass', 'answer 1']);
  });

  test('memory stays within its bytes, the least recently used answers leaving', async () => {
    const store = memoryStore({ maxBytes: 20_000 });
    const { say } = cached({}, { store });
    for (let i = 0; i < 100; i++) await say(user(`question ${i}`));
    expect(store.status?.().bytes).toBeLessThanOrEqual(20_000);
    expect((await say(user('question 99')))[0]).toBe('hit');
    expect((await say(user('question 0')))[0]).toBe('miss');
  });

  test('a store that is down costs hits, not answers', async () => {
    const down = async () => Promise.reject(new Error('ECONNREFUSED'));
    const { say } = cached({}, { store: { get: down, set: down, lock: down } });
    expect(await say()).toEqual(['miss', 'answer 1']);
    expect(await say()).toEqual(['miss', 'answer 2']);
  });
});

describe('single flight', () => {
  test('fifty equal misses are one call, and all get the whole answer', async () => {
    const { say, state } = cached();
    state.waitMs = 30;
    const answers = await Promise.all(Array.from({ length: 50 }, () => say()));
    expect(state.calls).toBe(1);
    expect(new Set(answers.map(([, text]) => text))).toEqual(new Set(['answer 1']));
    expect(answers.filter(([cache]) => cache === 'miss')).toHaveLength(1);
    expect(answers.filter(([cache]) => cache === 'coalesced')).toHaveLength(49);
  });

  test('who comes in the middle gets the answer from its beginning', async () => {
    const { send, say, text, state } = cached();
    state.waitMs = 10;
    const first = await send();
    const iterator = first.events[Symbol.asyncIterator]();
    await iterator.next();
    await iterator.next();
    await iterator.next();
    expect(await say()).toEqual(['coalesced', 'answer 1']);
    await iterator.return?.();
    expect(await text(await send())).toBe('answer 1');
  });

  test.each([
    ['before the first event', 0],
    ['in mid-stream', 2],
  ])('a first caller who hangs up %s takes nothing from the others', async (_name, events) => {
    const { send, say, state } = cached();
    state.waitMs = 150;
    const leader = new AbortController();
    const leading = send({}, {}, anonymous, leader.signal);
    await expect.poll(() => state.calls, { interval: 1 }).toBe(1);
    const followers = Array.from({ length: 5 }, () => say());
    if (events > 0) {
      const iterator = (await leading).events[Symbol.asyncIterator]();
      for (let i = 0; i < events; i++) await iterator.next();
    } else {
      await sleep(40, new AbortController().signal);
    }
    leader.abort();
    await leading.catch(() => {});
    for (const answer of await Promise.all(followers)) expect(answer).toEqual(['coalesced', 'answer 1']);
    expect(state.calls).toBe(1);
  });

  test('when the last reader has left, the upstream is freed at once and the next request begins anew', async () => {
    const { send, say, state } = cached();
    state.waitMs = 20;
    const gone = [new AbortController(), new AbortController()];
    const runs = await Promise.all(gone.map(({ signal }) => send({}, {}, anonymous, signal)));
    expect(runs.map(({ cache }) => cache).sort()).toEqual(['coalesced', 'miss']);
    for (const controller of gone) controller.abort();
    expect(state.aborted).toBe(1);
    expect(await say()).toEqual(['miss', 'answer 2']);
  });

  test('a failed first call gives its followers one more, not one each', async () => {
    const { say, state } = cached();
    state.waitMs = 5;
    state.failures = 1;
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => say()));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(19);
    expect(state.calls).toBe(2);
    state.failures = 99;
    await Promise.allSettled(Array.from({ length: 20 }, () => say(user('another'))));
    expect(state.calls).toBe(4);
  });

  test('a reader that does not read holds up nobody', async () => {
    const { send, say } = cached();
    await send(); // its stream is never pulled
    expect(await say()).toEqual(['coalesced', 'answer 1']);
  });
});

describe('nearness in meaning', () => {
  // A tiny embedding: which of these words a text holds.
  const words = ['capital', 'france', 'paris', 'spain', 'weather'];
  const embed = async (text: string) => words.map((word) => (text.toLowerCase().includes(word) ? 1 : 0));
  const near = () => cached({ semanticThreshold: 0.95 }, { embed });

  test('another wording gets the stored answer', async () => {
    const { say, state } = near();
    await say(user('What is the capital of France?'));
    expect(await say(user('france: its capital?'))).toEqual(['hit', 'answer 1']);
    expect((await say(user('The capital of Spain?')))[0]).toBe('miss');
    expect(state.calls).toBe(2);
  });

  test.each<[string, Partial<ChatRequest>, Caller]>([
    ['another caller', {}, { ...anonymous, id: 'other' }],
    ['other sampling', { sampling: { temperature: 1 } }, anonymous],
    ['another model', { model: 'other' }, anonymous],
  ])('never across %s', async (_name, change, caller) => {
    const { say } = near();
    await say(user('What is the capital of France?'));
    expect((await say({ ...user('france: its capital?'), ...change }, {}, caller))[0]).toBe('miss');
  });
});

const body = {
  model: 'demo',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: [{ type: 'text', text: 'What is the tide?' }] },
  ],
  temperature: 0.2,
  seed: 7,
  stop: ['x'],
  logit_bias: { 5: 1, 3: -1 },
  response_format: { type: 'json_object' },
  unknown: { b: [{ d: 1, c: 2 }], a: null },
};
const keyOfBody = (changed: object) => canonicalRequest(decodeChatRequest({ ...body, ...changed }, { headers: {} }));

test('a request has one key in whatever order its fields came, at every depth', () => {
  const shuffled = (value: unknown): fc.Arbitrary<unknown> => {
    if (Array.isArray(value)) return value.length === 0 ? fc.constant([]) : fc.tuple(...value.map(shuffled));
    if (typeof value !== 'object' || value === null) return fc.constant(value);
    const fields = Object.entries(value).map(([name, field]) => shuffled(field).map((one) => [name, one] as const));
    return fc
      .tuple(fc.tuple(...fields), fc.shuffledSubarray([...fields.keys()], { minLength: fields.length }))
      .map(([pairs, order]) => Object.fromEntries(order.map((i) => pairs[i] ?? ['', undefined])));
  };
  const key = keyOfBody({});
  fc.assert(
    fc.property(shuffled(body), (other) => {
      expect(canonicalRequest(decodeChatRequest(other as typeof body, { headers: {} }))).toBe(key);
    }),
    { numRuns: 200 },
  );
});

test.each<[string, boolean, object]>([
  ['what only concerns delivery', true, { stream: true, stream_options: { include_usage: true }, user: 'u' }],
  ['a field that is null', true, { top_p: null, n: null }],
  ['the end user by its newer name', true, { safety_identifier: 's', prompt_cache_key: 'p', metadata: { a: 'b' } }],
  [
    'a text instead of one text part',
    true,
    { messages: [body.messages[0], { role: 'user', content: 'What is the tide?' }] },
  ],
  ['another seed', false, { seed: 8 }],
  ['another penalty', false, { presence_penalty: 0.1 }],
  ['another bias', false, { logit_bias: { 5: 1, 3: -2 } }],
  ['an é made of two characters', false, { messages: [{ role: 'user', content: 'e\u0301' }] }],
  ['turns in another order', false, { messages: body.messages.toReversed() }],
])('%s: the same key is %s', (_name, same, change) => {
  expect(keyOfBody(change) === keyOfBody({})).toBe(same);
});

test('the order of a schema’s properties is part of the key: models write in that order', () => {
  const format = (properties: object) => ({
    response_format: { type: 'json_schema', json_schema: { name: 's', schema: { type: 'object', properties } } },
  });
  const [a, b] = [{ type: 'string' }, { type: 'number' }];
  expect(keyOfBody(format({ a, b }))).not.toBe(keyOfBody(format({ b, a })));
});

test('an account that a request brings for its upstream keeps its answers to itself', async () => {
  for (const semantic of [{}, { semanticThreshold: 0.1 }]) {
    const { say } = cached({ scope: 'global', ...semantic }, { embed: async () => [1] });
    const own = (key: string, url = 'https://a.example') => ({
      'x-tidegate-upstream-key': key,
      'x-tidegate-upstream-url': url,
    });
    expect((await say())[0]).toBe('miss');
    expect((await say({}, own('one')))[0]).toBe('miss');
    expect((await say({}, own('one')))[0]).toBe('hit');
    expect((await say({}, own('two')))[0]).toBe('miss');
    expect((await say({}, own('one', 'https://b.example')))[0]).toBe('miss');
    expect((await say())[0]).toBe('hit');
  }
});

test('no answer ever crosses its scope, whatever callers, teams and rules meet', async () => {
  const caller = fc.record({
    id: fc.constantFrom('a', 'b', 'team:x', 'key:a'),
    team: fc.constantFrom(undefined, 'x', 'a', 'key:a'),
    tenant: fc.constantFrom('a', 'edge:1', 'edge:2'), // callers of one id that a gateway at the edge tells apart
  });
  const rule = fc.constantFrom('key', 'team', 'global');
  await fc.assert(
    fc.asyncProperty(caller, caller, rule, fc.boolean(), async (one, two, scope, meaning) => {
      const semantic = meaning ? { semanticThreshold: 0.1 } : {};
      const { say } = cached(
        { scope: scope as CacheRule['scope'], ...semantic },
        meaning ? { embed: async () => [1] } : {},
      );
      const who = ({ id, team, tenant }: typeof one): Caller => ({
        ...anonymous,
        id,
        tenant,
        ...(team !== undefined && { team }),
      });
      const same = one.id === two.id && one.tenant === two.tenant;
      await say({}, {}, who(one));
      const [status] = await say(meaning ? user('another wording') : {}, {}, who(two));
      const mayShare =
        scope === 'global' ||
        (same && one.team === two.team) ||
        (scope === 'key' && same) ||
        (scope === 'team' && one.team !== undefined && one.team === two.team);
      expect(status).toBe(mayShare ? 'hit' : 'miss');
    }),
    { numRuns: 300 },
  );
});

test('what is remembered by meaning is bounded in bytes: whole conversations that nobody asks for leave', async () => {
  const index = createSemanticIndex({ embed: async () => [1, 0], maxBytes: 50_000 });
  const question = (n: number) => ({ text: 'hello', rest: `${n} ${'x'.repeat(9_000)}` });
  const found = async (n: number) => (await index.find(question(n), 0.9, new AbortController().signal)).key;
  for (let n = 0; n < 3; n++) {
    const { vector } = await index.find(question(n), 0.9, new AbortController().signal);
    index.remember(question(n), vector, `key${n}`);
    expect(await found(0)).toBe('key0');
  }
  expect([await found(1), await found(2)]).toEqual([undefined, 'key2']);
});
