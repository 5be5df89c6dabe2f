import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeDelivered } from '../../providers/delivered.ts';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { readable } from '../../src/core/request.ts';
import type { Target } from '../../src/core/route.ts';
import { type Filters, noFilters } from '../../src/filters/index.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { appWith, chat } from '../app.ts';
import {
  chatJson,
  chatStream,
  chunk,
  done,
  type FaultyUpstream,
  faults,
  faultyUpstream,
  finishChunk,
  type RecordedRequest,
  sse,
  usageChunk,
} from '../faulty-upstream.ts';
import { transport } from '../providers/support.ts';
import { scripted } from '../scripted.ts';
import { rules } from './harness.ts';

const whole = 'Hello world, how is the tide?';
let broken: FaultyUpstream;
let healthy: FaultyUpstream;
beforeAll(async () => {
  broken = await faultyUpstream();
  healthy = await faultyUpstream(continues);
});
afterAll(() => Promise.all([broken.close(), healthy.close()]));

/** An upstream that knows the answer, and goes on from a given beginning of it. */
function continues({ json }: RecordedRequest) {
  const last = json.messages.at(-1);
  const begun = last.role === 'assistant' ? String(last.content) : '';
  expect(whole.startsWith(begun)).toBe(true);
  if (!json.stream) return chatJson(whole.slice(begun.length));
  const usage = json.stream_options?.include_usage === true;
  return { body: [chatStream([whole.slice(begun.length)], { usage })] };
}

const targetOf = (name: string, upstream: FaultyUpstream, prefill = true): Target => ({
  name: `${name}/m`,
  model: 'm',
  provider: createProvider(
    name,
    providerConfigSchema().parse({ type: 'vllm', baseUrl: upstream.baseUrl, capabilities: { prefill } }),
    { transport },
  ),
});

const translating: Filters = {
  ...noFilters,
  apply: async (request) => ({ request: readable(request), output: (events) => events }),
};

function gatewayOver(targets: readonly Target[], filters: Filters, idleMs = 10_000) {
  const change = {
    retry: { attempts: 0, baseMs: 1, maxMs: 1, longestWaitMs: 1 },
    timeouts: { firstTokenMs: 10_000, idleMs, totalMs: 0 },
  };
  const routing = createRouting([{ name: 'test', filters: [], targets, rules: rules(targets, change) }], undefined, {
    decodeWire: decodeDelivered,
  });
  return appWith(scripted([]), { routing, filters });
}

interface Heard {
  readonly text: string;
  readonly ids: ReadonlySet<string>;
  readonly finishes: readonly string[];
  readonly done: number;
  readonly error: { message: string } | undefined;
  readonly usage: { total_tokens: number; tidegate_parts?: unknown[] } | undefined;
}

/** What a client of the stream understands; throws where an event is not JSON. */
function understand(body: string): Heard {
  const data = body
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice(6));
  const chunks = data.filter((text) => text !== '[DONE]').map((text) => JSON.parse(text));
  return {
    text: chunks.map(({ choices }) => choices?.[0]?.delta?.content ?? '').join(''),
    ids: new Set(chunks.filter(({ error }) => !error).map(({ id, created, model }) => `${id} ${created} ${model}`)),
    finishes: chunks.flatMap(({ choices }) => choices?.[0]?.finish_reason ?? []),
    done: data.filter((text) => text === '[DONE]').length,
    error: chunks.find(({ error }) => error)?.error,
    usage: chunks.find(({ usage }) => usage)?.usage,
  };
}

const cases = Object.entries(faults).flatMap(([fault, { answer, late }]) =>
  [true, false].map((fallback) => ({ fault, answer, late, fallback })),
);

describe.each([
  { way: 'passing through', filters: noFilters },
  { way: 'translating', filters: translating },
])('$way', ({ filters }) => {
  test.each(cases)('$fault, with a fallback: $fallback', async ({ answer, late, fallback }) => {
    broken.answer(answer);
    const targets = [targetOf('broken', broken, fallback), ...(fallback ? [targetOf('healthy', healthy)] : [])];
    const app = gatewayOver(targets, filters);
    const response = await chat(app, { stream: true, stream_options: { include_usage: true } });
    const body = await response.text();
    const [record] = app.records;

    if (answer === faults['a plain JSON error with status 200']?.answer) {
      // The upstream calls it the request's own mistake: no other target is asked.
      expect(response.status).toBe(400);
      expect(record).toMatchObject({ outcome: 'upstream_rejected', attempts: [{ target: 'broken/m' }] });
      return;
    }
    if (!fallback && !late) {
      expect(response.status).toBeGreaterThanOrEqual(500);
      expect(JSON.parse(body).error).toMatchObject({ type: 'server_error' });
      expect(record).toMatchObject({ attempts: [{ target: 'broken/m', error: { status: response.status } }] });
      return;
    }
    const heard = understand(body);
    expect(response.status).toBe(200);
    expect(heard.ids.size).toBe(1);
    if (!fallback) {
      expect(heard).toMatchObject({ error: { type: 'server_error' }, done: 0, finishes: [] });
      expect(whole.startsWith(heard.text)).toBe(true);
      expect(record).toMatchObject({
        outcome: expect.stringMatching(/upstream|timeout/),
        attempts: [{ target: 'broken/m' }],
      });
      return;
    }
    expect(heard).toMatchObject({ text: whole, error: undefined, done: 1, finishes: ['stop'] });
    expect(record).toMatchObject({ outcome: 'ok', attempts: [{ target: 'broken/m' }, { target: 'healthy/m' }] });
    expect(heard.usage?.total_tokens).toBe((record?.usage?.promptTokens ?? 0) + (record?.usage?.completionTokens ?? 0));
    if (!late) {
      expect(response.headers.get('x-tidegate-target')).toBe('healthy/m');
      expect(record?.usage).toMatchObject({ promptTokens: 3, completionTokens: 1 });
    } else {
      expect(response.headers.get('x-tidegate-target')).toBe('broken/m');
      expect(heard.usage?.tidegate_parts).toHaveLength(2);
      expect(record?.usage).toMatchObject({
        estimated: true,
        parts: [
          { target: 'broken/m', completionTokens: 2 },
          { target: 'healthy/m', promptTokens: 3, completionTokens: 1 },
        ],
      });
    }
  });

  test.each(['stall', 'reset', 'cut'] as const)('a %s after every piece of the answer', async (fault) => {
    const pieces = whole.match(/\s*\S+/g) ?? [];
    for (let k = 1; k <= pieces.length; k++) {
      const sent = sse(
        chunk({ role: 'assistant', content: '' }),
        ...pieces.slice(0, k).map((content) => chunk({ content })),
      );
      broken.answer({ body: [sent, fault] });
      const idleMs = fault === 'stall' ? 400 : undefined;
      const app = gatewayOver([targetOf('broken', broken), targetOf('healthy', healthy)], filters, idleMs);
      const heard = understand(await (await chat(app, { stream: true })).text());
      expect(heard).toMatchObject({ text: whole, error: undefined, done: 1, finishes: ['stop'] });
      expect(heard.ids.size).toBe(1);
    }
  });

  test('a stream that lacks only its end is whole, and bears the mark of it', async () => {
    broken.answer({ body: [sse(chunk({ role: 'assistant', content: whole }), finishChunk(), usageChunk()), 'reset'] });
    const heard = understand(
      await (await chat(gatewayOver([targetOf('broken', broken)], filters), { stream: true })).text(),
    );
    expect(heard).toMatchObject({ text: whole, error: undefined, done: 1, finishes: ['stop'] });
  });

  test('a whole body that breaks on its way is asked for again elsewhere', async () => {
    broken.answer({
      headers: { 'content-type': 'application/json' },
      body: ['{"id":"x","choices":[{"index":0,', 'reset'],
    });
    const app = gatewayOver([targetOf('broken', broken), targetOf('healthy', healthy)], filters);
    const response = await chat(app, {});
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: whole } }] });
    expect(app.records).toMatchObject([{ outcome: 'ok', attempts: [{ target: 'broken/m' }, { target: 'healthy/m' }] }]);
  });
});

test('the pieces of this file’s upstreams are healthy where nothing breaks', async () => {
  broken.answer({ body: [chatStream([whole])] });
  const app = gatewayOver([targetOf('broken', broken)], noFilters);
  const body = await (await chat(app, { stream: true })).text();
  expect(understand(body)).toMatchObject({ text: whole, done: 1, finishes: ['stop'] });
  expect(body.endsWith(done)).toBe(true);
});
