import { expect, test } from 'vitest';
import type { CompletionEvent } from '../../src/core/event.ts';
import { createMessageEncoder } from '../../src/wire/anthropic/encode.ts';
import { createChatEncoder } from '../../src/wire/openai/encode.ts';

// biome-ignore lint/suspicious/noExplicitAny: chunks are read as any client reads them
type Any = any;
const sent = (text: string): Any[] =>
  [...text.matchAll(/^data: (\{.*)$/gm)].map(([, json = '']) => JSON.parse(json) as Any);
const messages = (events: readonly CompletionEvent[]): Any[] => {
  const encoder = createMessageEncoder({ id: 'msg_1', model: 'm', requestId: 'r' });
  return sent(events.map((event) => encoder.push(event)).join('') + encoder.end());
};
const chunks = (events: readonly CompletionEvent[], more: object = {}): Any[] => {
  const encoder = createChatEncoder({ id: 'chatcmpl-1', created: 1, model: 'm', ...more });
  return sent(events.map((event) => encoder.push(event)).join('') + encoder.end());
};
const said = (text: string, choice = 0): CompletionEvent => ({ type: 'text-delta', choice, text });
const call = (index: number): CompletionEvent => ({
  ...{ type: 'tool-call-start', choice: 0, index, id: `c${index}`, name: `n${index}`, kind: 'function' },
});
const args = (index: number, text: string): CompletionEvent => ({
  ...{ type: 'tool-call-delta', choice: 0, index, arguments: text },
});

test.each<{ name: string; events: CompletionEvent[]; reason: string; sequence: string | null }>([
  {
    name: 'a matched stop sequence',
    events: [said('a'), { type: 'finish', choice: 0, reason: 'stop', stopSequence: 'END' }],
    ...{ reason: 'stop_sequence', sequence: 'END' },
  },
  {
    name: 'a matched stop sequence after a call: the client has to answer the call',
    events: [call(0), args(0, '{}'), { type: 'finish', choice: 0, reason: 'stop', stopSequence: 'END' }],
    ...{ reason: 'tool_use', sequence: null },
  },
  { name: 'no finish at all', events: [said('a')], reason: 'end_turn', sequence: null },
])('a message ends by its kind: $name', ({ events, reason, sequence }) => {
  const told = messages(events);
  expect(told.at(-2)?.delta).toMatchObject({ stop_reason: reason, stop_sequence: sequence });
  const count = (type: string) => told.filter((one) => one.type === type).length;
  expect(count('content_block_stop')).toBe(count('content_block_start'));
});

test.each<{ what: string; event: CompletionEvent; type: string }>([
  { what: 'text', event: said('then'), type: 'text' },
  { what: 'a thought', event: { type: 'reasoning-delta', choice: 0, text: 'then' }, type: 'thinking' },
])('a call that had to wait for another one is told before $what that follows', ({ event, type }) => {
  const told = messages([call(0), args(0, '{"a":'), call(1), args(1, '{}'), event]);
  const starts = told.filter((one) => one.type === 'content_block_start').map((one) => one.content_block);
  expect(starts.map((block) => block.id ?? block.type)).toEqual(['c0', 'c1', type]);
});

test('of several choices a message has the first alone', () => {
  const text = messages([said('a'), said('b', 1), said('c')]).map((one) => one.delta?.text ?? '');
  expect(text.join('')).toBe('ac');
});

test('counts of cached tokens beyond those of the prompt make no negative count', () => {
  const usage = { promptTokens: 5, completionTokens: 1, cachedTokens: 9 };
  expect(messages([said('a'), { type: 'usage', usage }]).at(-2)?.usage).toMatchObject({ input_tokens: 0 });
});

test('a chat choice finishes once, whatever an upstream repeats', () => {
  const end: CompletionEvent = { type: 'finish', choice: 0, reason: 'stop' };
  const reasons = chunks([said('a'), end, end]).map((one) => one.choices[0]?.finish_reason);
  expect(reasons.filter((reason) => reason === 'stop')).toHaveLength(1);
});

test('a fingerprint that comes after the first chunk changes none of the following', () => {
  const told = chunks([said('a'), { type: 'start', fingerprint: 'late' }, said('b'), said('c', 1)]);
  expect(told.map((one) => one.system_fingerprint)).toEqual(told.map(() => undefined));
});

test.each([
  { name: 'in words of its own', words: [{ type: 'refusal-delta', choice: 0, text: 'No.' }], reason: 'stop' },
  { name: 'without a word', words: [], reason: 'content_filter' },
] as const)('a refusal $name ends a chat with $reason', ({ words, reason }) => {
  const told = chunks([...words, { type: 'finish', choice: 0, reason: 'refusal' }]);
  expect(told.at(-1)?.choices[0]?.finish_reason).toBe(reason);
});

test('a wild choice of an upstream opens no others', () => {
  expect(chunks([said('a', 1_000_000)])).toHaveLength(2);
});
