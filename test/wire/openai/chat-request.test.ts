import { expect, test } from 'vitest';
import { GatewayError } from '../../../src/core/errors.ts';
import { decodeChatRequest } from '../../../src/wire/openai/decode.ts';
import { encodeChatRequest } from '../../../src/wire/openai/upstream-request.ts';

const user = { role: 'user', content: 'Hi' };
const lookup = { type: 'function', function: { name: 'lookup', parameters: { type: 'object' } } };
const chat = (fields: object = {}) => ({ model: 'm', messages: [user], ...fields });

function refusal(body: unknown): GatewayError {
  try {
    decodeChatRequest(body);
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

test.each<[string, unknown, string, string | null]>([
  ['no object', 5, 'invalid_type', null],
  ['no messages', { model: 'm' }, 'missing_required_parameter', 'messages'],
  ['no model', { messages: [user] }, 'missing_required_parameter', 'model'],
  ['empty messages', chat({ messages: [] }), 'empty_array', 'messages'],
  ['messages of another type', chat({ messages: 'Hi' }), 'invalid_type', 'messages'],
  ['a message without role', chat({ messages: [{ content: 'x' }] }), 'missing_required_parameter', 'messages[0].role'],
  ['an unknown role', chat({ messages: [{ role: 'boss', content: 'x' }] }), 'invalid_value', 'messages[0].role'],
  [
    'a user turn without content',
    chat({ messages: [{ role: 'user' }] }),
    'missing_required_parameter',
    'messages[0].content',
  ],
  [
    'content of another type',
    chat({ messages: [{ role: 'user', content: 5 }] }),
    'invalid_type',
    'messages[0].content',
  ],
  [
    'a part of another type',
    chat({ messages: [user, { role: 'user', content: [{ type: 'text', text: 5 }] }] }),
    'invalid_type',
    'messages[1].content[0].text',
  ],
  [
    'a picture from a file',
    chat({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'file:///etc/passwd' } }] }] }),
    'invalid_value',
    'messages[0].content[0].image_url.url',
  ],
  [
    'a tool answer without its call',
    chat({ messages: [{ role: 'tool', content: 'x' }] }),
    'missing_required_parameter',
    'messages[0].tool_call_id',
  ],
  ['n below 1', chat({ n: 0 }), 'integer_below_min_value', 'n'],
  ['n above 128', chat({ n: 129 }), 'integer_above_max_value', 'n'],
  ['a fraction for n', chat({ n: 1.5 }), 'invalid_type', 'n'],
  ['max_tokens 0', chat({ max_tokens: 0 }), 'integer_below_min_value', 'max_tokens'],
  ['a temperature too high', chat({ temperature: 2.5 }), 'decimal_above_max_value', 'temperature'],
  ['a whole number for a temperature too high', chat({ temperature: 3 }), 'decimal_above_max_value', 'temperature'],
  ['a penalty too low', chat({ presence_penalty: -3 }), 'decimal_below_min_value', 'presence_penalty'],
  ['a text for a number', chat({ temperature: 'hot' }), 'invalid_type', 'temperature'],
  ['an empty stop', chat({ stop: [''] }), 'string_below_min_length', 'stop[0]'],
  ['top_logprobs alone', chat({ top_logprobs: 2 }), 'invalid_value', 'top_logprobs'],
  ['a bias for no token id', chat({ logit_bias: { cat: 1 } }), 'invalid_value', 'logit_bias.cat'],
  [
    'a schema without name',
    chat({ response_format: { type: 'json_schema', json_schema: {} } }),
    'missing_required_parameter',
    'response_format.json_schema.name',
  ],
  ['an unknown format', chat({ response_format: { type: 'xml' } }), 'invalid_value', 'response_format.type'],
  ['a choice without tools', chat({ tool_choice: 'required' }), 'invalid_value', 'tool_choice'],
  [
    'a choice of a missing tool',
    chat({ tools: [lookup], tool_choice: { type: 'function', function: { name: 'other' } } }),
    'invalid_value',
    'tool_choice',
  ],
  ['an unknown choice', chat({ tools: [lookup], tool_choice: 'maybe' }), 'invalid_value', 'tool_choice'],
  [
    'a tool without function',
    chat({ tools: [{ type: 'function' }] }),
    'missing_required_parameter',
    'tools[0].function',
  ],
  [
    'seventeen metadata pairs',
    chat({ metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) }),
    'invalid_value',
    'metadata',
  ],
])('%s is refused with its code and parameter', (_, body, code, param) => {
  const error = refusal(body);
  expect({ kind: error.kind, status: error.status, code: error.code, param: error.param }).toEqual({
    kind: 'invalid_request',
    status: 400,
    code,
    param,
  });
});

test('nulls mean absent, in every optional field', () => {
  const plain = decodeChatRequest(chat());
  const names =
    'max_tokens max_completion_tokens temperature top_p n stop seed tools tool_choice stream stream_options';
  const more =
    'logprobs top_logprobs response_format logit_bias functions function_call metadata user prediction store';
  const nulls = Object.fromEntries(
    `${names} ${more} reasoning_effort unknown_field`.split(' ').map((key) => [key, null]),
  );
  const { wire: _, ...decoded } = decodeChatRequest(chat(nulls));
  const { wire: __, ...expected } = plain;
  expect(decoded).toEqual(expected);
});

test.each([
  { name: 'null', message: { content: null } },
  { name: 'empty', message: { content: '' } },
  { name: 'missing', message: {} },
  {
    name: 'replayed as the SDK dumps it',
    message: { content: null, refusal: null, annotations: [], audio: null, function_call: null },
  },
])('assistant content may be $name beside tool calls', ({ message }) => {
  const call = { id: 'call_1', type: 'function', function: { name: 'lookup', arguments: '{"a":1}' } };
  const request = decodeChatRequest(
    chat({
      messages: [
        user,
        { role: 'assistant', ...message, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'call_1', content: 'x' },
      ],
    }),
  );
  expect(request.messages.slice(1)).toEqual([
    {
      role: 'assistant',
      content: [],
      toolCalls: [{ id: 'call_1', kind: 'function', name: 'lookup', arguments: '{"a":1}' }],
    },
    { role: 'tool', toolCallId: 'call_1', content: [{ type: 'text', text: 'x' }] },
  ]);
});

test('what real clients add is understood or kept, never refused', () => {
  const request = decodeChatRequest(
    chat({
      stop: ['a', 'b', 'c', 'd', 'e', 'f'],
      top_k: 40,
      min_p: 0.05,
      repetition_penalty: 1.1,
      seed: 2 ** 60,
      keep_alive: '5m',
      chat_template_kwargs: { enable_thinking: false },
      messages: [user, { role: 'system', content: 'late' }, { ...user, cache_control: { type: 'ephemeral' } }],
    }),
    { headers: { 'x-tidegate-priority': 'batch' } },
  );
  expect(request.stop).toHaveLength(6);
  expect(request.sampling).toEqual({ topK: 40, minP: 0.05, repeatPenalty: 1.1, seed: 2 ** 60 });
  expect(request.extensions).toEqual({ keep_alive: '5m', chat_template_kwargs: { enable_thinking: false } });
  expect(request.priority).toBe('batch');
});

test('prototype keys do nothing', () => {
  const body = JSON.parse(
    '{"model":"m","messages":[{"role":"user","content":"x"}],"__proto__":{"admin":true},"constructor":{"prototype":{"x":1}}}',
  );
  const request = decodeChatRequest(body);
  expect(Reflect.get(request.extensions, 'admin')).toBeUndefined();
  expect(Reflect.get({}, 'x')).toBeUndefined();
});

test('the deprecated functions are tools, their calls pair with their answers', () => {
  const body = chat({
    functions: [{ name: 'lookup', parameters: {} }],
    function_call: { name: 'lookup' },
    messages: [
      user,
      { role: 'assistant', content: null, function_call: { name: 'lookup', arguments: '{}' } },
      { role: 'function', name: 'lookup', content: 'found' },
    ],
  });
  const request = decodeChatRequest(body);
  expect(request.toolChoice).toEqual({ type: 'named', name: 'lookup' });
  expect(request.messages[1]).toMatchObject({ toolCalls: [{ id: 'call_legacy_0', name: 'lookup' }] });
  expect(request.messages[2]).toMatchObject({ role: 'tool', toolCallId: 'call_legacy_0' });
  expect(request.answer).toMatchObject({ legacyFunctions: true });
});

test('a request written for an upstream and read again is the same request', () => {
  const body = chat({
    messages: [
      { role: 'developer', content: 'Be brief.', name: 'dev' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Look' },
          { type: 'image_url', image_url: { url: 'https://example.org/a.png', detail: 'low' } },
        ],
      },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'lookup', arguments: '{"q":1}' } }],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'seen' },
    ],
    tools: [lookup, { type: 'custom', custom: { name: 'note', description: 'Writes' } }],
    tool_choice: {
      type: 'allowed_tools',
      allowed_tools: { mode: 'required', tools: [{ type: 'custom', custom: { name: 'note' } }] },
    },
    parallel_tool_calls: false,
    response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema: { type: 'object' } } },
    temperature: 0.5,
    top_p: 0.9,
    seed: 7,
    n: 2,
    stop: ['END'],
    max_completion_tokens: 99,
    frequency_penalty: 0.1,
    presence_penalty: -0.1,
    logit_bias: { 42: -100 },
    logprobs: true,
    top_logprobs: 3,
    reasoning_effort: 'low',
    prompt_cache_key: 'k',
    user: 'u',
    service_tier: 'flex',
    vendor_field: { any: ['thing'] },
  });
  const request = decodeChatRequest(body);
  const { wire: _, stream: __, answer: ___, ...expected } = request;
  const { wire: ____, stream, answer: _____, ...again } = decodeChatRequest(encodeChatRequest(request));
  expect(again).toEqual(expected);
  expect(stream).toBe(true);
});

test('a body of many faults is refused about as fast as a body of one', () => {
  const faulty = (count: number) =>
    chat({ messages: Array.from({ length: count }, () => ({ role: 'user', content: [0] })) });
  const [few, many] = [faulty(1), faulty(1_000_000)];
  refusal(few); // warm
  const before = performance.now();
  expect(refusal(many).param).toBe('messages[0].content[0]');
  expect(performance.now() - before).toBeLessThan(5000); // 49 s when each fault was described
});
