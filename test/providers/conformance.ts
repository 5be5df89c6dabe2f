import { EventStreamCodec } from '@smithy/eventstream-codec';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { anthropicMessages } from '../../src/wire/anthropic/format.ts';
import type { WireFormat } from '../../src/wire/format.ts';
import { ollamaChat } from '../../src/wire/ollama/format.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { openaiResponses } from '../../src/wire/responses/format.ts';
import { type Answer, type FaultyUpstream, faultyUpstream, split } from '../faulty-upstream.ts';
import { anthropic } from '../fixtures/providers/anthropic.ts';
import { bedrock } from '../fixtures/providers/bedrock.ts';
import { cohere } from '../fixtures/providers/cohere.ts';
import type { ProviderFixture, Scripted } from '../fixtures/providers/fixture.ts';
import { gemini } from '../fixtures/providers/gemini.ts';
import {
  azure,
  azureV1,
  deepseek,
  groq,
  llamaServer,
  mistral,
  ollama,
  openai,
  vllm,
  workersAi,
} from '../fixtures/providers/openai.ts';
import { vertex, vertexOpenAi } from '../fixtures/providers/vertex.ts';
import type { Asked } from './perform.ts';
import type { Heard } from './support.ts';

const fixtures = [
  openai,
  azure,
  azureV1,
  anthropic,
  gemini,
  vertex,
  vertexOpenAi,
  bedrock,
  cohere,
  vllm,
  llamaServer,
  ollama,
  mistral,
  deepseek,
  groq,
  workersAi,
];

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes).toString('utf8'),
  (text) => Buffer.from(text),
);

/** As it goes over the wire, cut into writes of a few bytes so that nothing depends on packets. */
function answerOf({ status = 200, headers, body }: Scripted, size = 13): Answer {
  if (typeof body === 'string') return { status, ...(headers ? { headers } : {}), body: split(body, size) };
  const messages = body.map(([type, payload]) =>
    codec.encode({
      headers: type.startsWith('!')
        ? {
            ':message-type': { type: 'string', value: 'exception' },
            ':exception-type': { type: 'string', value: type.slice(1) },
          }
        : { ':message-type': { type: 'string', value: 'event' }, ':event-type': { type: 'string', value: type } },
      body: Buffer.from(JSON.stringify(payload)),
    }),
  );
  return {
    status,
    headers: { 'content-type': 'application/vnd.amazon.eventstream' },
    body: split(Buffer.concat(messages), size),
  };
}

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const dialects: readonly { format: WireFormat; body: (tools: boolean) => Record<string, unknown> }[] = [
  {
    format: openaiChat,
    body: (tools) => ({
      messages: [{ role: 'user', content: 'hi' }],
      ...(tools ? { tools: [{ type: 'function', function: { name: 'weather', parameters } }] } : {}),
    }),
  },
  {
    format: openaiResponses,
    body: (tools) => ({
      input: 'hi',
      ...(tools ? { tools: [{ type: 'function', name: 'weather', parameters }] } : {}),
    }),
  },
  {
    format: anthropicMessages,
    body: (tools) => ({
      max_tokens: 99,
      messages: [{ role: 'user', content: 'hi' }],
      ...(tools ? { tools: [{ name: 'weather', input_schema: parameters }] } : {}),
    }),
  },
  {
    format: ollamaChat,
    body: (tools) => ({
      messages: [{ role: 'user', content: 'hi' }],
      ...(tools ? { tools: [{ type: 'function', function: { name: 'weather', parameters } }] } : {}),
    }),
  },
];

/** Every string of the stream's JSON, by the name of its field, joined. */
function fieldsOf(stream: string): Record<string, string> {
  const fields: Record<string, string> = {};
  const visit = (value: unknown, name: string): void => {
    if (typeof value === 'string') fields[name] = (fields[name] ?? '') + value;
    else if (typeof value === 'object' && value !== null)
      for (const [key, inner] of Object.entries(value)) visit(inner, key);
  };
  for (const line of stream.split('\n')) {
    const data = line.replace(/^data: /, '');
    if (data.startsWith('{')) visit(JSON.parse(data), '');
  }
  return fields;
}

/** Where the providers run: in this process, or inside the edge's own runtime. */
export interface Runtime {
  hear(asked: Asked, signal?: AbortSignal): Promise<Heard>;
  /** What a client of the dialect is sent. */
  sent(asked: Asked): Promise<string>;
  close(): Promise<void>;
  /** How soon an upstream hears that a client has left; 100 ms if absent. */
  readonly leaveMs?: number;
}

/** The complete table, for one runtime. */
export function describeProviders(start: () => Promise<Runtime>): void {
  let upstream: FaultyUpstream;
  let runtime: Runtime;
  beforeAll(async () => {
    [upstream, runtime] = await Promise.all([faultyUpstream(), start()]);
  });
  afterAll(async () => {
    await Promise.all([upstream?.close(), runtime?.close()]);
  });

  const entryOf = ({ entry, basePath }: ProviderFixture) => ({ ...entry, baseUrl: `${upstream.url}${basePath}` });
  const hearChat = (fixture: ProviderFixture, body: object, signal?: AbortSignal): Promise<Heard> =>
    runtime.hear({ entry: entryOf(fixture), dialect: 'openai-chat', text: JSON.stringify(body), bytes: false }, signal);
  const hi = { model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }] };

  describe.each(fixtures.map((fixture) => ({ ...fixture, fixture })))('$provider', ({ fixture, cases, hello }) => {
    test.each(cases)('$name', async ({ asked, sent, answer, events, error }) => {
      upstream.answer(answerOf(answer));
      const before = upstream.requests.length;
      const heard = await hearChat(fixture, { ...hi, ...asked });
      const request = upstream.requests[before];
      if (sent?.path !== undefined) expect(request?.path).toBe(sent.path);
      for (const [name, value] of Object.entries(sent?.headers ?? {})) expect(request?.headers[name]).toContain(value);
      if (sent?.json !== undefined) expect(request?.json).toEqual(sent.json);
      if (events) expect(heard.events).toEqual(events);
      expect(heard.error?.kind).toBe(error?.kind);
      if (error?.says) expect(heard.error?.message).toMatch(error.says);
      if (error?.param) expect(heard.error?.param).toBe(error.param);
      if (error?.retryAfterMs) expect(heard.error?.retryAfterMs).toBe(error.retryAfterMs);
      if (error?.kind === 'unsupported') expect(upstream.requests.length).toBe(before);
    });

    test('reads its answer byte by byte', async () => {
      upstream.answer(answerOf(hello, 1));
      const heard = await hearChat(fixture, hi);
      expect([heard.error, heard.text, heard.finish]).toEqual([undefined, 'Hello', ['stop']]);
    });

    test.each(['reset', 'cut', 'end'] as const)('%s in the middle of its answer is an error', async (step) => {
      const { body = [] } = answerOf(hello, 40);
      const half = body.slice(0, Math.ceil(body.length / 2));
      upstream.answer({ ...answerOf(hello), body: step === 'end' ? half : [...half, step] });
      const heard = await hearChat(fixture, hi);
      expect(heard.error?.kind).toBe('upstream_failed');
      expect(heard.finish).toEqual([]);
    });

    test('a client that leaves closes its socket at once', async () => {
      const { body = [] } = answerOf(hello, 40);
      upstream.answer({ ...answerOf(hello), body: [...body.slice(0, 2), 'stall'] });
      const before = upstream.requests.length;
      const controller = new AbortController();
      const hearing = hearChat(fixture, hi, controller.signal);
      await upstream.received(before + 1);
      await new Promise((resolve) => setTimeout(resolve, 10));
      const start = performance.now();
      controller.abort();
      expect(((await upstream.requests[before]?.closed) ?? Number.POSITIVE_INFINITY) - start).toBeLessThan(
        runtime.leaveMs ?? 100,
      );
      expect((await hearing).error?.kind).toBe('cancelled');
    });
  });

  // ── Every provider behind every client dialect ──────────────────────────────────────────────────────────────────────

  async function streamed(
    fixture: ProviderFixture,
    { format, body }: (typeof dialects)[number],
    tools: boolean,
  ): Promise<string> {
    const { hello, call } = fixture.own?.[format.dialect] ?? fixture;
    upstream.answer(answerOf(tools ? call : hello));
    const text = JSON.stringify({ model: 'm', stream: true, ...body(tools) });
    return runtime.sent({ entry: entryOf(fixture), dialect: format.dialect, text, bytes: true });
  }

  const pairs = fixtures.flatMap((fixture) =>
    dialects.map((dialect) => ({ fixture, dialect, name: `${dialect.format.dialect} → ${fixture.provider}` })),
  );
  test.each(pairs)('$name: text', async ({ fixture, dialect }) => {
    const fields = fieldsOf(await streamed(fixture, dialect, false));
    const text = [fields['content'], fields['text'], fields['delta']].filter(Boolean).join(' ');
    expect(text).toContain('Hello');
  });

  test.each(pairs)('$name: a tool call', async ({ fixture, dialect }) => {
    const stream = await streamed(fixture, dialect, true);
    const fields = fieldsOf(stream);
    expect(fields['name']).toContain('weather');
    const args = fields['arguments'] ?? fields['partial_json'] ?? fields['city'];
    expect(args).toContain('Oslo');
  });

  test('a turn signed by Anthropic goes back signed, although chat clients cannot carry it', async () => {
    const signed = [
      { type: 'message_start', message: { id: 'msg_1', usage: { input_tokens: 1 } } },
      { type: 'content_block_start', index: 0, content_block: { type: 'thinking' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'Hm.' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'sig==' } },
      { type: 'content_block_stop', index: 0 },
      {
        type: 'content_block_start',
        index: 1,
        content_block: { type: 'tool_use', id: 'toolu_9', name: 'weather', input: {} },
      },
      { type: 'content_block_stop', index: 1 },
      { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 1 } },
      { type: 'message_stop' },
    ];
    upstream.answer(
      answerOf({ body: signed.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('') }),
    );
    await hearChat(anthropic, { model: 'm', messages: [{ role: 'user', content: 'hi' }] });
    const call = { id: 'toolu_9', type: 'function', function: { name: 'weather', arguments: '{}' } };
    const messages = [
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'toolu_9', content: 'snow' },
    ];
    await hearChat(anthropic, { model: 'm', messages });
    expect(upstream.requests.at(-1)?.json.messages[1].content[0]).toEqual({
      type: 'thinking',
      thinking: 'Hm.',
      signature: 'sig==',
    });
  });

  test('Responses pass through to OpenAI, and usage is read on the way', async () => {
    const own = openai.own?.['openai-responses'];
    upstream.answer(answerOf(own?.hello ?? openai.hello));
    const text = '{"model":"public","stream":true,"input":"hi"}';
    const heard = await runtime.hear({
      entry: entryOf(openai),
      dialect: 'openai-responses',
      text,
      model: 'gpt-x',
      bytes: true,
    });
    expect(upstream.requests.at(-1)?.path).toBe('/v1/responses');
    expect(upstream.requests.at(-1)?.text).toBe(text.replace('public', 'gpt-x'));
    expect(
      Buffer.concat(heard.events.flatMap((event) => (event.type === 'wire' ? [event.bytes] : []))).toString(),
    ).toBe(own?.hello.body);
    expect([heard.finish, heard.usage?.promptTokens, heard.usage?.cachedTokens]).toEqual([['stop'], 9, 4]);
  });

  test('Anthropic’s own clients pass through to Anthropic, and usage is read on the way', async () => {
    upstream.answer(answerOf(anthropic.hello));
    const text =
      '{"model":"public","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}],"new_field":1.0}';
    const heard = await runtime.hear({
      entry: entryOf(anthropic),
      dialect: 'anthropic-messages',
      text,
      headers: { 'anthropic-beta': 'x' },
      model: 'claude-x',
      bytes: true,
    });
    expect(upstream.requests.at(-1)?.text).toBe(text.replace('public', 'claude-x'));
    expect(upstream.requests.at(-1)?.headers['anthropic-beta']).toBe('x');
    expect(heard.wire).toBe(anthropic.hello.body);
    expect([heard.finish, heard.usage]).toEqual([['stop'], { promptTokens: 12, completionTokens: 9 }]);
  });
}
