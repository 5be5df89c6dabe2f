import { expect, test } from 'vitest';
import { GatewayError } from '../../../src/core/errors.ts';
import { observeCompletion } from '../../../src/wire/openai/observe-answer.ts';
import { decodeChatCompletion } from '../../../src/wire/openai/upstream-answer.ts';

const message = { role: 'assistant', content: 'Hi', refusal: null };
const choice = { index: 0, message, finish_reason: 'stop', logprobs: null };
const usage = {
  prompt_tokens: 5,
  completion_tokens: 2,
  prompt_tokens_details: { cached_tokens: 3 },
  completion_tokens_details: { reasoning_tokens: 1, accepted_prediction_tokens: 0 },
};
const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };
const answer = { id: 'a', created: 7, model: 'm', system_fingerprint: 'fp', choices: [choice], usage };

test.each<[string, unknown]>([
  ['a plain answer', answer],
  ['no usage', { ...answer, usage: null }],
  ['usage of Groq', { ...answer, usage: undefined, x_groq: { usage } }],
  ['two choices', { ...answer, choices: [choice, { ...choice, index: 1, finish_reason: 'length' }] }],
  ['choices out of order', { ...answer, choices: [{ ...choice, index: 1, finish_reason: 'length' }, choice] }],
  ['one index twice', { ...answer, choices: [choice, { ...choice, finish_reason: 'length' }] }],
  ['no index', { ...answer, choices: [{ ...choice, index: undefined }] }],
  [
    'a tool call that ended with stop',
    { ...answer, choices: [{ ...choice, message: { ...message, tool_calls: [call] } }] },
  ],
  ['an empty list of calls', { ...answer, choices: [{ ...choice, message: { ...message, tool_calls: [] } }] }],
  ['tool_calls without any', { ...answer, choices: [{ ...choice, finish_reason: 'tool_calls' }] }],
  ['an old function call', { ...answer, choices: [{ ...choice, message: { function_call: call.function } }] }],
  [
    'a text completion',
    { id: 'a', choices: [{ index: 0, text: 'Hi', finish_reason: 'length', logprobs: { tokens: ['Hi'] } }] },
  ],
  ['a delta where a message was due', { ...answer, choices: [{ index: 0, delta: message, finish_reason: 'stop' }] }],
  ['a filter', { ...answer, choices: [{ ...choice, finish_reason: 'content_filter' }] }],
  ['no finish reason', { ...answer, choices: [{ ...choice, finish_reason: null }] }],
  ['an error as the finish reason', { ...answer, choices: [{ ...choice, finish_reason: 'error' }] }],
  ['one choice unfinished', { ...answer, choices: [choice, { ...choice, index: 1, finish_reason: null }] }],
  ['no choices', { ...answer, choices: [] }],
  ['choices that are none', { ...answer, choices: [null, 'x'] }],
  ['an error', { error: { message: 'no', code: 429 } }],
  ['an error of vLLM', { object: 'error', message: 'no', code: 400 }],
  ['a list', [answer]],
  ['null', null],
])('%s is recorded as the decoder of all of it tells', (_, body) => {
  const observed = outcome(() => observeCompletion(body));
  const told = outcome(() =>
    decodeChatCompletion(body).filter(({ type }) => ['start', 'finish', 'usage'].includes(type)),
  );
  expect(observed).toEqual(told);
});

function outcome(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    if (error instanceof GatewayError) return { kind: error.kind, message: error.message, status: error.status };
    throw error;
  }
}
