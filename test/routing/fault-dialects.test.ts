import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeDelivered } from '../../providers/delivered.ts';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import type { Target } from '../../src/core/route.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { createSseDecoder } from '../../src/wire/sse.ts';
import { appWith } from '../app.ts';
import {
  type Answer,
  chatStream,
  chunk,
  type FaultyUpstream,
  faults,
  faultyUpstream,
  named,
  oddities,
  type RecordedRequest,
  type Step,
  sse,
} from '../faulty-upstream.ts';
import { transport } from '../providers/support.ts';
import { scripted } from '../scripted.ts';
import { rules } from './harness.ts';

const whole = 'Hello world, how is the tide?';
const hello = 'Hello';
let broken: FaultyUpstream;
let healthy: FaultyUpstream;
beforeAll(async () => {
  broken = await faultyUpstream();
  healthy = await faultyUpstream(({ json }: RecordedRequest): Answer => {
    const last = json.messages.at(-1);
    const begun = last.role === 'assistant' ? String(last.content) : '';
    expect(whole.startsWith(begun)).toBe(true);
    return { body: [chatStream([whole.slice(begun.length)], { usage: true })] };
  });
});
afterAll(() => Promise.all([broken.close(), healthy.close()]));

const targetOf = (name: string, type: string, { baseUrl }: FaultyUpstream): Target => {
  const config = providerConfigSchema().parse({ type, baseUrl, apiKey: 'k' });
  return { name: `${name}/m`, model: 'm', provider: createProvider(name, config, { transport }) };
};

/** What a client of a dialect makes of a stream's body. */
interface Heard {
  readonly text: string;
  readonly error: boolean;
  /** How often it was told that the answer is complete. */
  readonly ends: number;
}

interface Client {
  readonly path: string;
  readonly body: object;
  readonly read: (body: string) => Heard;
  /** The body of a failure with an HTTP status. */
  readonly failure: object;
}

// biome-ignore lint/suspicious/noExplicitAny: events of four formats
type Data = any;
const eventsOf = (body: string): Data[] =>
  createSseDecoder()
    .push(Buffer.from(body))
    .flatMap(({ data }) => (data === '[DONE]' ? [] : [JSON.parse(data)]));
const messages = [{ role: 'user', content: 'hi' }];
const count = (list: readonly Data[], holds: (event: Data) => boolean) => list.filter(holds).length;

const clients: Readonly<Record<string, Client>> = {
  chat: {
    path: '/v1/chat/completions',
    body: { messages, stream_options: { include_usage: true } },
    read(body) {
      const events = eventsOf(body);
      return {
        text: events.map(({ choices }) => choices?.[0]?.delta?.content ?? '').join(''),
        error: events.some(({ error }) => error?.type === 'server_error'),
        ends: body.split('[DONE]').length - 1,
      };
    },
    failure: { error: { type: 'server_error' } },
  },
  Responses: {
    path: '/v1/responses',
    body: { input: 'hi', store: false },
    read(body) {
      const events = eventsOf(body);
      return {
        text: events.map(({ type, delta }) => (type === 'response.output_text.delta' ? delta : '')).join(''),
        error: count(events, ({ type }) => type === 'error') === 1 && events.at(-1)?.type === 'response.failed',
        ends: count(events, ({ type }) => type === 'response.completed'),
      };
    },
    failure: { error: { type: 'server_error' } },
  },
  Anthropic: {
    path: '/v1/messages',
    body: { messages, max_tokens: 100 },
    read(body) {
      const events = eventsOf(body);
      return {
        text: events.map(({ delta }) => delta?.text ?? '').join(''),
        error: events.at(-1)?.type === 'error',
        ends: count(events, ({ type }) => type === 'message_stop'),
      };
    },
    failure: { type: 'error', error: { type: expect.stringMatching(/^(api|timeout)_error$/) } },
  },
  Ollama: {
    path: '/api/chat',
    body: { messages },
    read(body) {
      const lines: Data[] = body.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
      return {
        text: lines.map(({ message }) => message?.content ?? '').join(''),
        error: typeof lines.at(-1)?.error === 'string',
        ends: count(lines, ({ done }) => done === true),
      };
    },
    failure: { error: expect.any(String) },
  },
};

/** Only who waits for a silence to end has a short limit: a slow machine must not look silent. */
const limitMs = (fault: string) => (/silence|comments|pings/.test(fault) ? 400 : 20_000);

async function ask({ path, body }: Client, targets: readonly Target[], silentMs = 20_000) {
  const change = {
    retry: { attempts: 0, baseMs: 1, maxMs: 1, longestWaitMs: 1 },
    timeouts: { firstTokenMs: silentMs, idleMs: silentMs, totalMs: 0 },
  };
  const model = { name: 'test', filters: [], targets, rules: rules(targets, change) };
  const app = appWith(scripted([]), { routing: createRouting([model], undefined, { decodeWire: decodeDelivered }) });
  const response = await app.request(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'test', stream: true, ...body }),
  });
  const text = await response.text();
  return { response, text, record: app.records[0] };
}

const begun = sse(chunk({ role: 'assistant', content: '' }), chunk({ content: 'Hel' }), chunk({ content: 'lo' }));
const more: typeof faults = {
  'silence before the head': { late: false, answer: { beforeHead: ['stall'] } },
  'silence before the first event': { late: false, answer: { body: ['stall'] } },
  'comments and nothing else': { late: false, answer: { body: [{ repeat: ': ping\n\n', everyMs: 50 }] } },
  'silence after some events': { late: true, answer: { body: [begun, 'stall'] } },
  'comments after some events': { late: true, answer: { body: [begun, { repeat: ': ping\n\n', everyMs: 50 }] } },
  'a reset inside an event': { late: true, answer: { body: [`${begun}data: {"choices":[{"ind`, 'reset'] } },
  'a second head': { late: true, answer: { body: [begun, 'HTTP/1.1 200 OK\r\n\r\n', 'cut'] } },
};

describe.each(Object.keys(clients))('a client of %s', (name) => {
  const client = clients[name] as Client; // its own keys
  const cases = Object.entries({ ...faults, ...more })
    .filter(([fault]) => fault !== 'a plain JSON error with status 200') // the request's own mistake: see faults.test.ts
    .flatMap(([fault, one]) => [true, false].map((fallback) => ({ fault, ...one, fallback })));

  test.each(cases)('hears of $fault, with a fallback: $fallback', async ({ fault, answer, late, fallback }) => {
    broken.answer(answer);
    const targets = [targetOf('broken', 'tgi', broken), ...(fallback ? [targetOf('healthy', 'sglang', healthy)] : [])];
    const { response, text, record } = await ask(client, targets, limitMs(fault));
    const attempts = record?.attempts.map(({ target, error }) => [target, error !== undefined]);
    if (fallback) {
      expect(client.read(text)).toEqual({ text: whole, error: false, ends: 1 });
      expect(attempts).toEqual([
        ['broken/m', !late],
        ['healthy/m', false],
      ]);
      expect(record).toMatchObject({ outcome: 'ok' });
      if (late) {
        const parts = [
          { target: 'broken/m', completionTokens: 2 },
          { target: 'healthy/m', promptTokens: 3, completionTokens: 1 },
        ];
        expect(record?.usage).toMatchObject({ estimated: true, completionTokens: 3, parts });
        expect(text).toContain('tidegate_parts');
      } else expect(record?.usage).toMatchObject({ promptTokens: 3, completionTokens: 1 });
    } else if (late) {
      const heard = client.read(text);
      expect(heard).toEqual({ text: hello, error: true, ends: 0 });
      expect(attempts).toEqual([['broken/m', false]]);
      expect(record?.outcome).toMatch(/upstream|timeout/);
    } else {
      expect(response.status).toBeGreaterThanOrEqual(500);
      expect(JSON.parse(text)).toMatchObject(client.failure);
      expect(attempts).toEqual([['broken/m', true]]);
    }
  });

  test.each(Object.entries(oddities))('reads an answer %s', async (_, answer) => {
    broken.answer(answer);
    const { text, record } = await ask(client, [targetOf('broken', 'tgi', broken)]);
    expect(client.read(text)).toEqual({ text: hello, error: false, ends: 1 });
    expect(record).toMatchObject({ outcome: 'ok', attempts: [{ target: 'broken/m' }] });
  });
});

// ── The same where the upstream's own events pass through ───────────────────────────────────────────────────────────

const block = (type: string, fields: object) => named(type, { type, index: 0, ...fields });
const passing: Readonly<Record<string, { readonly type: string; readonly begun: string; readonly failure: string }>> = {
  Anthropic: {
    type: 'anthropic',
    begun:
      named('message_start', {
        type: 'message_start',
        message: { id: 'msg_up', content: [], usage: { input_tokens: 3 } },
      }) +
      block('content_block_start', { content_block: { type: 'text', text: '' } }) +
      block('content_block_delta', { delta: { type: 'text_delta', text: 'Hel' } }) +
      block('content_block_delta', { delta: { type: 'text_delta', text: 'lo' } }),
    failure: named('error', { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }),
  },
  Responses: {
    type: 'openai',
    begun: [
      { type: 'response.created', response: { id: 'resp_up', created_at: 1, model: 'up', output: [] } },
      { type: 'response.output_item.added', output_index: 0, item: { id: 'msg_up', type: 'message', content: [] } },
      {
        type: 'response.content_part.added',
        item_id: 'msg_up',
        output_index: 0,
        content_index: 0,
        part: { type: 'output_text', text: '' },
      },
      { type: 'response.output_text.delta', item_id: 'msg_up', output_index: 0, content_index: 0, delta: 'Hel' },
      { type: 'response.output_text.delta', item_id: 'msg_up', output_index: 0, content_index: 0, delta: 'lo' },
    ]
      .map((event, sequence_number) => named(event.type, { ...event, sequence_number }))
      .join(''),
    failure: named('response.failed', {
      type: 'response.failed',
      response: { status: 'failed', error: { code: 'server_error', message: 'boom' } },
    }),
  },
};
const ends: Readonly<Record<string, (failure: string) => readonly Step[]>> = {
  'a reset': () => ['reset'],
  'a cut': () => ['cut'],
  'a clean end': () => [],
  silence: () => ['stall'],
  'pings and nothing else': () => [{ repeat: ': ping\n\n', everyMs: 50 }],
  'an error event': (failure) => [failure],
  'an event cut in two': () => ['event: x\ndata: {"type":"con', 'reset'],
  'a cut inside a character': () => [Buffer.from('data: {"type":"é').subarray(0, -1), 'cut'],
  'garbage instead of JSON': () => ['data: {"type":\n\n'],
  'an endless line': () => ['data: ', { repeat: 'x'.repeat(65536), times: 512 }],
};

describe.each(Object.keys(passing))('%s passing through, ended by', (name) => {
  const client = clients[name] as Client; // both have both
  const { type, begun: first, failure } = passing[name] as (typeof passing)[string];
  const cases = Object.entries(ends).flatMap(([end, steps]) =>
    [true, false].map((fallback) => ({ end, steps, fallback })),
  );
  test.each(cases)('$end, with a fallback: $fallback', async ({ end, steps, fallback }) => {
    broken.answer({ body: [first, ...steps(failure)] });
    const lone = targetOf('broken', type, broken);
    // Nobody to go on: the broken one itself must not be asked to.
    const unable = {
      ...lone,
      provider: { ...lone.provider, capabilities: { ...lone.provider.capabilities, prefill: false } },
    };
    const { text, record } = await ask(
      client,
      [unable, ...(fallback ? [targetOf('healthy', 'sglang', healthy)] : [])],
      limitMs(end),
    );
    expect(client.read(text)).toEqual(
      fallback ? { text: whole, error: false, ends: 1 } : { text: hello, error: true, ends: 0 },
    );
    expect(record?.attempts.map(({ target }) => target)).toEqual(['broken/m', ...(fallback ? ['healthy/m'] : [])]);
    if (fallback)
      expect(record?.usage?.parts).toMatchObject([
        { target: 'broken/m', completionTokens: 2 },
        { target: 'healthy/m' },
      ]);
  });
});
