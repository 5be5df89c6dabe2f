import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createProvider, createProviders, providerConfigSchema } from '../../providers/registry.ts';
import { readable } from '../../src/core/request.ts';
import { decodeResponseRequest } from '../../src/wire/responses/decode.ts';
import {
  chatStream,
  chunk,
  done,
  errorJson,
  type FaultyUpstream,
  faults,
  faultyUpstream,
  finishChunk,
  json,
  oddities,
  openaiServer,
  sse,
  usageChunk,
} from '../faulty-upstream.ts';
import { chatRequest, hear, never, transport } from './support.ts';

let upstream: FaultyUpstream;
beforeAll(async () => {
  upstream = await faultyUpstream();
});
afterAll(() => upstream.close());

const key = 'sk-test-0123456789abcdef';
const provider = (more: object = {}) =>
  createProvider(
    'up',
    providerConfigSchema().parse({ type: 'openai-compatible', baseUrl: upstream.baseUrl, apiKey: key, ...more }),
    { transport },
  );
const hi = { model: 'm', stream: true, messages: [{ role: 'user' as const, content: 'hi' }] };
const last = () => upstream.requests.at(-1);
const ways = [
  { way: 'passing through', of: chatRequest },
  { way: 'translating', of: (body: object) => readable(chatRequest(body)) },
];

describe.each(ways)('$way', ({ of, way }) => {
  test('sends key, model and messages, and hands text, finish and usage on', async () => {
    upstream.answer(openaiServer(['Hel', 'lo']));
    const heard = await hear(provider(), of(hi));
    expect(last()?.path).toBe('/v1/chat/completions');
    expect(last()?.headers.authorization).toBe(`Bearer ${key}`);
    expect(last()?.json).toMatchObject({ model: 'm', stream: true, messages: hi.messages });
    expect([heard.text, heard.finish, heard.usage]).toEqual([
      'Hello',
      ['stop'],
      { promptTokens: 3, completionTokens: 2 },
    ]);
    expect(heard.error).toBeUndefined();
  });

  test.each(Object.entries(oddities))('reads a stream %s as a whole answer', async (_, answer) => {
    upstream.answer(answer);
    const heard = await hear(provider(), of(hi));
    expect([heard.error, heard.text, heard.finish]).toEqual([undefined, 'Hello', ['stop']]);
    if (way === 'passing through') expect(heard.wire.match(/\[DONE\]/g)).toHaveLength(1);
  });

  test.each(Object.entries(faults))('%s is an error', async (_, { answer, late }) => {
    upstream.answer(answer);
    const heard = await hear(provider(), of(hi));
    expect(heard.error).toBeDefined();
    expect(heard.error?.blame).toBe(heard.error?.kind === 'upstream_rejected' ? 'client' : 'upstream');
    expect(heard.text).toBe(late ? 'Hello' : '');
    expect(heard.finish).toEqual([]);
    expect(heard.wire).not.toContain('[DONE]');
    expect(heard.wire).not.toContain('boom');
  });

  test.each([
    { status: 400, more: { param: 'temperature', code: 'invalid_value' }, kind: 'upstream_rejected', says: 'no good' },
    { status: 400, more: { code: 'context_length_exceeded' }, kind: 'context_length_exceeded', says: 'no good' },
    { status: 401, more: {}, kind: 'upstream_unauthorized', says: 'credentials' },
    { status: 403, more: {}, kind: 'upstream_unauthorized', says: 'credentials' },
    { status: 404, more: {}, kind: 'upstream_rejected', says: 'no good' },
    { status: 408, more: {}, kind: 'timeout', says: '408' },
    { status: 429, more: {}, kind: 'upstream_rate_limited', says: 'no good' },
    { status: 500, more: {}, kind: 'upstream_failed', says: 'no good' },
    { status: 529, more: {}, kind: 'upstream_failed', says: 'no good' },
  ])('status $status $more.code is $kind', async ({ status, more, kind, says }) => {
    upstream.answer(errorJson(status, `no good: ${key}`, more, { 'retry-after': '7' }));
    const { error } = await hear(provider(), of(hi));
    expect([error?.kind, error?.retryAfterMs]).toEqual([kind, 7000]);
    expect(error?.message).toContain(says);
    expect(error?.message).not.toContain('sk-test');
    if (kind === 'upstream_rejected') expect(error?.status).toBe(status);
    if ('param' in more) expect(error?.param).toBe('temperature');
  });

  test('a whole answer is read as well', async () => {
    upstream.answer(openaiServer(['Hello']));
    const heard = await hear(provider(), of({ ...hi, stream: false }));
    expect([heard.text, heard.finish, heard.usage?.promptTokens]).toEqual(['Hello', ['stop'], 3]);
  });

  test('JSON where a stream was asked for is the answer all the same', async () => {
    upstream.answer(json({ id: 'x', choices: [{ index: 0, message: { content: 'Hello' }, finish_reason: 'stop' }] }));
    expect((await hear(provider(), of(hi))).text).toBe('Hello');
  });
});

test('tool calls without index and with whole arguments become one call each', async () => {
  upstream.answer({
    body: [
      sse(
        chunk({ tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }] }),
        chunk({ tool_calls: [{ id: 'b', type: 'function', function: { name: 'g', arguments: { y: 2 } } }] }),
        finishChunk('tool_calls'),
      ) + done,
    ],
  });
  const { events, finish } = await hear(provider(), readable(chatRequest(hi)));
  expect(events.filter(({ type }) => type.startsWith('tool-call'))).toEqual([
    { type: 'tool-call-start', choice: 0, index: 0, id: 'a', name: 'f', kind: 'function' },
    { type: 'tool-call-delta', choice: 0, index: 0, arguments: '{"x":1}' },
    { type: 'tool-call-start', choice: 0, index: 1, id: 'b', name: 'g', kind: 'function' },
    { type: 'tool-call-delta', choice: 0, index: 1, arguments: '{"y":2}' },
  ]);
  expect(finish).toEqual(['tool-calls']);
});

describe('passing through', () => {
  test('the body is the client’s own text, but for the model', async () => {
    upstream.answer(openaiServer(['a']));
    const text =
      '{ "seed": 12345678901234567890, "temperature": 1.0, "model": "public", "new_field": {"model": "x"}, "stream" : false,\n "messages": [{"role":"user","content":"say \\"model\\": \\"public\\""}] }';
    const request = chatRequest({ ...hi, stream: false });
    const wire = { dialect: 'openai-chat', body: JSON.parse(text), bytes: Buffer.from(text), headers: {} } as const;
    await hear(provider(), { ...request, model: 'theirs', wire });
    expect(last()?.text).toBe(text.replace('"model": "public", "new', '"model": "theirs", "new'));
    await hear(provider(), { ...request, model: 'public', wire });
    expect(last()?.text).toBe(text);
  });

  const long = 'The tide rises, the tide falls. '.repeat(200);
  const whole = (message: object) => ({
    id: 'x',
    choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 2 },
  });
  test.each([
    { name: 'prose', body: JSON.stringify(whole({ content: long })) },
    { name: 'quotes, and a backslash at its end', body: JSON.stringify(whole({ content: `"${long}" \\"\\` })) },
    {
      name: 'an answer about an answer',
      body: JSON.stringify(whole({ content: JSON.stringify(whole({ content: long })) })),
    },
    { name: 'lines and spaces between', body: JSON.stringify(whole({ content: long }), null, 2) },
    { name: 'thoughts', body: JSON.stringify(whole({ content: 'Hi', reasoning_content: long })) },
  ])('of a long answer ($name) the bytes go on, and finish and usage are read', async ({ body }) => {
    upstream.answer({ headers: { 'content-type': 'application/json' }, body: [body] });
    const heard = await hear(provider(), chatRequest({ ...hi, stream: false }));
    expect([heard.error, heard.finish, heard.usage]).toEqual([
      undefined,
      ['stop'],
      { promptTokens: 3, completionTokens: 2 },
    ]);
    expect(heard.wire).toBe(body);
  });

  test('a long answer keeps its text where something else in it is set right', async () => {
    const call = { id: 'a', type: 'function', function: { name: 'f', arguments: { x: 1 } } };
    upstream.answer(json(whole({ content: long, tool_calls: [call] })));
    const { wire, text } = await hear(provider(), chatRequest({ ...hi, stream: false }));
    expect(text).toBe(long);
    expect(wire).toContain('"arguments":"{\\"x\\":1}"');
  });

  test('a long answer that ends in the middle of its text is none', async () => {
    const body = JSON.stringify(whole({ content: long })).slice(0, 3000);
    upstream.answer({ headers: { 'content-type': 'application/json' }, body: [body] });
    expect((await hear(provider(), chatRequest({ ...hi, stream: false }))).error?.kind).toBe('upstream_failed');
  });

  test('a client that did not ask for usage sees none, and it is recorded all the same', async () => {
    upstream.answer(openaiServer(['a', 'b']));
    const heard = await hear(provider(), chatRequest(hi));
    expect(last()?.json.stream_options).toEqual({ include_usage: true });
    expect(heard.wire).toBe(chatStream(['a', 'b']));
    expect(heard.usage).toEqual({ promptTokens: 3, completionTokens: 2 });
  });

  test.each([null, {}, { include_usage: false }, { include_obfuscation: true }])(
    'stream_options %j keep nothing from the record',
    async (options) => {
      upstream.answer(openaiServer(['a', 'b']));
      const heard = await hear(provider(), chatRequest({ ...hi, stream_options: options }));
      expect(last()?.json).toEqual({ ...hi, stream_options: { ...options, include_usage: true } });
      expect(heard.wire).toBe(chatStream(['a', 'b']));
      expect(heard.usage).toEqual({ promptTokens: 3, completionTokens: 2 });
    },
  );

  test('a client that asked for usage gets the upstream’s bytes', async () => {
    upstream.answer(openaiServer(['a', 'b']));
    const heard = await hear(provider(), chatRequest({ ...hi, stream_options: { include_usage: true } }));
    expect(heard.wire).toBe(chatStream(['a', 'b'], { usage: true }));
  });

  test('a server that refuses stream_options is not sent any', async () => {
    upstream.answer(openaiServer(['a']));
    await hear(provider({ oddities: { noStreamOptions: true } }), chatRequest(hi));
    expect(last()?.text).toBe(JSON.stringify(hi));
  });

  const begun = { index: 0, id: 'a', type: 'function', function: { name: 'f', arguments: '' } };
  const goesOn = (text: unknown, more: object = {}) => ({ index: 0, function: { arguments: text }, ...more });
  const custom = { index: 0, id: 'a', type: 'custom', custom: { name: 'f', input: 'x' } };
  test.each<{ name: string; calls: readonly object[]; read?: readonly object[] }>([
    { name: 'as OpenAI sends them', calls: [begun, goesOn('{"x":'), goesOn(''), goesOn('1}')] },
    { name: 'of custom tools', calls: [custom, { index: 0, custom: { input: 'y' } }] },
    {
      name: 'without an index',
      calls: [
        { ...begun, index: undefined },
        { ...goesOn('{}'), index: undefined },
        { ...begun, index: undefined, id: 'b' },
      ],
      read: [begun, goesOn('{}'), { ...begun, index: 1, id: 'b' }],
    },
    {
      name: 'two under one index',
      calls: [begun, goesOn('{}'), { ...begun, id: 'b' }],
      read: [begun, goesOn('{}'), { ...begun, index: 1, id: 'b' }],
    },
    {
      name: 'with a gap in the indices',
      calls: [begun, { ...begun, index: 7, id: 'b' }, { ...goesOn('{}'), index: 7 }],
      read: [begun, { ...begun, index: 1, id: 'b' }, { ...goesOn('{}'), index: 1 }],
    },
    {
      name: 'whose arguments are an object',
      calls: [{ ...begun, function: { name: 'f', arguments: { x: 1 } } }],
      read: [{ ...begun, function: { name: 'f', arguments: '{"x":1}' } }],
    },
    {
      name: 'that repeat name, id and type',
      calls: [begun, { ...begun, function: { name: 'f', arguments: '{}' } }],
      read: [begun, goesOn('{}')],
    },
    {
      name: 'whose later deltas hold nulls',
      calls: [begun, goesOn('{}', { id: null, type: null, function: { name: null, arguments: '{}' } })],
      read: [begun, goesOn('{}')],
    },
    { name: 'without a type', calls: [{ ...begun, type: undefined }], read: [begun] },
  ])('calls $name can be read by every client', async ({ calls, read }) => {
    const events = (all: readonly object[]) => sse(...all.map((one) => chunk({ tool_calls: [one] }, { more: 1.0 })));
    for (const packets of [1, 99]) {
      const pieces = [...calls.map((one) => events([one])), sse(finishChunk('tool_calls')) + done];
      upstream.answer({ body: packets === 1 ? [pieces.join('')] : pieces });
      const heard = await hear(provider(), chatRequest({ ...hi, stream_options: { include_usage: true } }));
      expect(heard.wire).toBe(`${events(read ?? calls)}${sse(finishChunk('tool_calls'))}${done}`);
      expect([heard.error, heard.finish]).toEqual([undefined, ['tool-calls']]);
    }
  });

  test('a call without an id is given one, and a text in parts is one text', async () => {
    const parts = [
      { type: 'thinking', thinking: [{ type: 'text', text: 'hm' }] },
      { type: 'text', text: 'Hello' },
    ];
    const named = { type: 'function', function: { name: 'f', arguments: '{}' } };
    upstream.answer({
      body: [
        sse(
          chunk({ content: '' }),
          chunk({ content: parts }),
          chunk({ tool_calls: [{ index: 0, ...named }] }),
          finishChunk(),
        ) + done,
      ],
    });
    const { wire, text } = await hear(provider(), chatRequest(hi));
    expect(text).toBe('Hello');
    expect(wire).toContain('"reasoning_content":"hm"');
    expect(wire).toMatch(/"index":0,"id":"call_\w+","type":"function"/);

    const call = { ...named, function: { name: 'f', arguments: { x: 1 } } };
    const choice = {
      index: 0,
      message: { role: 'assistant', content: parts, tool_calls: [call] },
      finish_reason: 'stop',
    };
    upstream.answer(json({ id: 'x', more: 1, choices: [choice] }));
    const whole = JSON.parse((await hear(provider(), chatRequest({ ...hi, stream: false }))).wire);
    expect(whole).toMatchObject({ id: 'x', more: 1, choices: [{ finish_reason: 'stop' }] });
    expect(whole.choices[0].message).toEqual({
      role: 'assistant',
      content: 'Hello',
      reasoning_content: 'hm',
      tool_calls: [
        { id: expect.stringMatching(/^call_/), type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
      ],
    });
  });

  test('an error that is null is none, and not told', async () => {
    upstream.answer({ body: [sse(chunk({ content: 'a' }, { error: null }), finishChunk()) + done] });
    expect((await hear(provider(), chatRequest(hi))).wire).toBe(sse(chunk({ content: 'a' }), finishChunk()) + done);
  });

  test('all choices must finish', async () => {
    upstream.answer({
      body: [sse(chunk({ content: 'a' }), finishChunk('stop', 0), chunk({ content: 'b' }, {}, { index: 1 }))],
    });
    const heard = await hear(provider(), chatRequest({ ...hi, n: 2 }));
    expect(heard.error?.kind).toBe('upstream_failed');
  });

  test('usage in every chunk is told once', async () => {
    const counted = (n: number) => chunk({ content: 'a' }, { usage: { prompt_tokens: 3, completion_tokens: n } });
    upstream.answer({ body: [sse(counted(1), counted(2), finishChunk(), usageChunk(3, 2)) + done] });
    const { events } = await hear(provider(), chatRequest(hi));
    expect(events.filter(({ type }) => type === 'usage')).toHaveLength(1);
  });
});

test('a response that is made over chat keeps the settings that both know, and no others', async () => {
  upstream.answer(openaiServer(['Hello']));
  const asked = {
    model: 'm',
    input: 'hi',
    text: { verbosity: 'low' },
    prompt_cache_retention: '24h',
    max_tool_calls: 3,
  };
  expect((await hear(provider(), readable(decodeResponseRequest(asked)))).text).toBe('Hello');
  expect(last()?.json).toMatchObject({ verbosity: 'low', prompt_cache_retention: '24h' });
  expect(last()?.json).not.toHaveProperty('max_tool_calls');
});

test.each([
  { name: 'the safety identifier', sent: { safety_identifier: 's1', user: 'u1' }, got: { safety_identifier: 's1' } },
  { name: 'the user', sent: { user: 'u1' }, got: { user: 'u1' } },
  { name: 'the tokens to think', sent: { reasoning: { max_tokens: 99 } }, got: { reasoning: { max_tokens: 99 } } },
  { name: 'no bias', sent: { logit_bias: {} }, got: {} },
])('$name is the same where a request is written anew', async ({ sent, got }) => {
  upstream.answer(openaiServer(['Hello']));
  await hear(provider(), readable(chatRequest({ ...hi, ...sent })));
  const { model: _, messages: __, stream: ___, stream_options: ____, ...rest } = last()?.json ?? {};
  expect(rest).toEqual(got);
});

test.each([
  {
    name: 'an address',
    part: { type: 'input_file', file_url: 'https://a.example/b.pdf', file_data: null },
    got: { file_data: 'https://a.example/b.pdf' },
  },
  { name: 'an id', part: { type: 'input_image', file_id: 'file-1', detail: 'low' }, got: { file_id: 'file-1' } },
])('a file given by $name is in a response that is made over chat', async ({ part, got }) => {
  upstream.answer(openaiServer(['Hello']));
  const input = [{ role: 'user', content: [part] }];
  await hear(provider(), readable(decodeResponseRequest({ model: 'm', input })));
  expect(last()?.json.messages).toEqual([{ role: 'user', content: [{ type: 'file', file: got }] }]);
});

test('what a target is not able to do is refused by name', async () => {
  const { error } = await hear(provider({ type: 'groq', baseUrl: upstream.baseUrl }), chatRequest({ ...hi, n: 2 }));
  expect([error?.kind, error?.status, error?.param]).toEqual(['unsupported', 400, 'n']);
});

test('a client that leaves closes the upstream’s socket', async () => {
  upstream.answer({ body: [sse(chunk({ content: 'a' })), 'stall'] });
  const before = upstream.requests.length;
  const controller = new AbortController();
  const hearing = hear(provider(), chatRequest(hi), controller.signal);
  await upstream.received(before + 1);
  await new Promise((resolve) => setTimeout(resolve, 30));
  const start = performance.now();
  controller.abort();
  expect(((await upstream.requests[before]?.closed) ?? Number.POSITIVE_INFINITY) - start).toBeLessThan(100);
  expect((await hearing).error?.kind).toBe('cancelled');
});

describe('keys and addresses of callers', () => {
  const outcome = async (config: object, headers: Record<string, string>) => {
    upstream.answer(openaiServer(['a']));
    try {
      for await (const event of provider(config).stream(chatRequest(hi), { signal: never, headers })) void event;
    } catch (error) {
      return error instanceof Error && 'kind' in error ? error.kind : error;
    }
    return last()?.headers.authorization;
  };
  const own = { 'x-tidegate-upstream-key': 'mine' };
  const elsewhere = (url: string) => ({ ...own, 'x-tidegate-upstream-url': url });
  test.each([
    { name: 'are refused by default', config: {}, headers: own, gives: 'forbidden' },
    { name: 'are used where allowed', config: { callerKeys: true }, headers: own, gives: 'Bearer mine' },
    {
      name: 'never mix: the gateway’s own authorization stays here',
      config: {},
      headers: { authorization: 'Bearer gateway' },
      gives: `Bearer ${key}`,
    },
    {
      name: 'an address needs a key of its own',
      config: { callerHosts: ['a.example'] },
      headers: { 'x-tidegate-upstream-url': 'https://a.example/v1' },
      gives: 'forbidden',
    },
    {
      name: 'an address must be allowed by name',
      config: { callerHosts: ['a.example'] },
      headers: elsewhere('https://b.example/v1'),
      gives: 'forbidden',
    },
    {
      name: 'an address never leads to this machine, allowed or not',
      config: { callerHosts: ['127.0.0.1:9'] },
      headers: elsewhere('http://127.0.0.1:9/v1'),
      gives: 'forbidden',
    },
  ])('$name', async ({ config, headers, gives }) => {
    expect(await outcome(config, headers)).toBe(gives);
  });
});

test('an address of a hundred thousand slashes costs no time', async () => {
  const url = `https://a.example/${'/'.repeat(100_000)}v1`;
  const headers = { 'x-tidegate-upstream-key': 'mine', 'x-tidegate-upstream-url': url };
  const asked = provider({ callerHosts: ['a.example'] }).stream(chatRequest(hi), {
    signal: AbortSignal.abort(),
    headers,
  });
  const startedMs = performance.now();
  await expect(asked[Symbol.asyncIterator]().next()).rejects.toThrow();
  expect(performance.now() - startedMs).toBeLessThan(3000); // it was ten seconds and more
});

test('replicas are providers of their own', () => {
  const config = providerConfigSchema().parse({
    type: 'vllm',
    replicas: ['http://a.example/v1', 'http://b.example/v1'],
  });
  expect(createProviders('cluster', config, { transport }).map(({ name }) => name)).toEqual(['cluster#1', 'cluster#2']);
});

test.each([
  { entry: { type: 'nonsense' } },
  { entry: { type: 'openai', baseUrl: 'ftp://x' } },
  { entry: { type: 'openai', baseUrl: 'https://user:secret@x.example/v1' } },
  { entry: { type: 'openai', aplKey: 'typo' } },
  { entry: { type: 'vllm', baseUrl: 'http://a.example', replicas: ['http://b.example'] } },
])('the configuration $entry is refused', ({ entry }) => {
  expect(providerConfigSchema().safeParse(entry).success).toBe(false);
});

test('lists the upstream’s models', async () => {
  upstream.answer(json({ object: 'list', data: [{ id: 'a', max_model_len: 4096 }, { id: 'b' }] }));
  expect(await provider().models?.({ signal: never })).toEqual([{ id: 'a', contextTokens: 4096 }, { id: 'b' }]);
});
