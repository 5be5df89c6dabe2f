import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeChatRequest } from '../../src/wire/openai/decode.ts';
import { isPlainChat } from '../../src/wire/openai/plain.ts';
import { chatRequestSchema } from '../../src/wire/openai/schema.ts';

const odd = fc.oneof(
  fc.constantFrom(null, '', 'x', true, 0, 1, -1, 1.5, 2.0001, 1e16, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY),
  fc.constantFrom<unknown>([], {}, { include_usage: true }, { include_usage: 1 }, ['x'], { role: 'user' }),
  fc.double(),
  fc.integer(),
);
const field = fc.constantFrom(
  ...['stream', 'max_tokens', 'max_completion_tokens', 'temperature', 'top_p', 'top_k', 'frequency_penalty', 'n'],
  ...['presence_penalty', 'seed', 'user', 'stream_options', 'stop', 'tools', 'metadata', 'x_unknown', '__proto__'],
);
const message = fc.oneof(
  { weight: 4, arbitrary: fc.record({ role: fc.constantFrom('user', 'system', 'assistant'), content: fc.string() }) },
  fc.record(
    {
      role: fc.constantFrom('user', 'tool', 'developer', 'function', 'robot'),
      content: fc.oneof(fc.string(), odd),
      name: odd,
    },
    { requiredKeys: [] },
  ),
  odd,
);
const body = fc
  .record({
    model: fc.oneof({ weight: 5, arbitrary: fc.constant('m') }, odd),
    messages: fc.oneof({ weight: 5, arbitrary: fc.array(message, { maxLength: 3 }) }, odd),
    more: fc.array(fc.tuple(field, fc.oneof(odd, fc.double({ min: -2, max: 2, noNaN: true }))), { maxLength: 3 }),
  })
  .map(({ more, ...chat }) => ({ ...chat, ...Object.fromEntries(more) }) as Record<string, unknown>);

test('what is taken for a plain chat, the schema takes as it is', () => {
  let plain = 0;
  fc.assert(
    fc.property(body, (chat) => {
      if (!isPlainChat(chat)) return;
      plain++;
      expect(chatRequestSchema().parse(chat)).toEqual(chat);
    }),
    { numRuns: 5000, seed: 11 },
  );
  expect(plain).toBeGreaterThan(200);
});

describe('a plain chat is decoded as the schema would have it', () => {
  const plain = {
    model: 'm',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: '' },
      { role: 'user', content: 'Again' },
    ],
    stream: true,
    stream_options: { include_usage: true },
    temperature: 0.5,
    top_p: 1,
    max_tokens: 5,
    seed: 7,
    user: 'u',
  };
  test('field by field it is what the schema makes of it', () => {
    expect(isPlainChat(plain)).toBe(true);
    const other = { ...plain, stop: null }; // the same, in a form that the schema reads
    expect(isPlainChat(other)).toBe(false);
    const { wire, ...decoded } = decodeChatRequest(plain);
    const { wire: otherWire, ...expected } = decodeChatRequest(other);
    expect(decoded).toStrictEqual(expected);
    expect([wire?.body, otherWire?.body]).toEqual([plain, other]);
  });
});
