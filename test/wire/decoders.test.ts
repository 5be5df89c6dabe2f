import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GatewayError } from '../../src/core/errors.ts';
import { isJsonObject, type JsonObject } from '../../src/core/json.ts';
import { decodeCountTokens, decodeMessagesRequest } from '../../src/wire/anthropic/decode.ts';
import { decodeOllamaChat, decodeOllamaGenerate } from '../../src/wire/ollama/decode.ts';
import { decodeCompletionRequests } from '../../src/wire/openai/completions.ts';
import { decodeEmbeddingRequest } from '../../src/wire/openai/embeddings.ts';
import { openaiChat } from '../../src/wire/openai/format.ts';
import { decodeModerationRequest } from '../../src/wire/openai/moderations.ts';
import { decodeRerankRequest } from '../../src/wire/openai/rerank.ts';
import { createChatChunkDecoder } from '../../src/wire/openai/upstream-answer.ts';
import { encodeChatRequest } from '../../src/wire/openai/upstream-request.ts';
import { decodeResponseRequest } from '../../src/wire/responses/decode.ts';

const source = { headers: {} };
const tool = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } };
const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };
const decoders: readonly { name: string; decode: (body: JsonObject) => unknown; valid: JsonObject }[] = [
  {
    name: 'chat',
    decode: (body) => encodeChatRequest(openaiChat.decode(body, source)),
    valid: {
      model: 'm',
      messages: [
        { role: 'system', content: 'x' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'x' },
            { type: 'image_url', image_url: { url: 'data:,' } },
          ],
        },
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: 'c', content: 'x' },
      ],
      tools: [tool],
      tool_choice: { type: 'function', function: { name: 'f' } },
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema: {} } },
      stop: ['x'],
      logit_bias: { '5': 1 },
      stream_options: { include_usage: true },
      metadata: { a: 'b' },
    },
  },
  {
    name: 'completions',
    decode: (body) => decodeCompletionRequests(body),
    valid: { model: 'm', prompt: ['x', 'y'], n: 2, best_of: 2, logprobs: 1 },
  },
  {
    name: 'responses',
    decode: (body) => decodeResponseRequest(body),
    valid: {
      model: 'm',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'x' }] },
        { type: 'reasoning', summary: [{ text: 'x' }] },
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: 'x' }] },
      ],
      tools: [
        { type: 'function', name: 'f', parameters: {} },
        { type: 'namespace', name: 'n', tools: [{ type: 'custom', name: 'g' }] },
      ],
      tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'f' }] },
      text: { format: { type: 'json_schema', name: 'a', schema: {} } },
      reasoning: { effort: 'low', summary: 'auto' },
    },
  },
  {
    name: 'messages',
    decode: (body) => [decodeMessagesRequest(body), decodeCountTokens(body)],
    valid: {
      model: 'm',
      max_tokens: 5,
      system: [{ type: 'text', text: 'x' }],
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'x' },
            { type: 'image', source: { type: 'url', url: 'https://e.org' } },
          ],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'x' },
            { type: 'tool_use', id: 'c', name: 'f', input: {} },
          ],
        },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c', content: [{ type: 'text', text: 'x' }] }] },
      ],
      tools: [{ name: 'f', input_schema: {} }],
      tool_choice: { type: 'tool', name: 'f' },
      thinking: { type: 'enabled', budget_tokens: 9 },
    },
  },
  {
    name: 'Ollama',
    decode: (body) => (body['messages'] === undefined ? decodeOllamaGenerate(body) : decodeOllamaChat(body)),
    valid: {
      model: 'm',
      messages: [
        { role: 'user', content: 'x', images: ['AA'] },
        { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: {} } }] },
        { role: 'tool', tool_name: 'f', content: 'x' },
      ],
      format: { type: 'object' },
      options: { temperature: 1, stop: ['x'], num_predict: 5 },
      think: true,
    },
  },
  { name: 'embeddings', decode: decodeEmbeddingRequest, valid: { model: 'm', input: ['x'], dimensions: 3 } },
  {
    name: 'rerank',
    decode: decodeRerankRequest,
    valid: { model: 'm', query: 'x', documents: ['x', { text: 'y' }], top_n: 1 },
  },
  { name: 'moderations', decode: decodeModerationRequest, valid: { input: [{ type: 'text', text: 'x' }] } },
  {
    name: 'an upstream’s chunk',
    decode: (body) => {
      const decoder = createChatChunkDecoder();
      return [...decoder.push(body), ...decoder.push(body)];
    },
    valid: {
      id: 'x',
      choices: [
        {
          index: 0,
          delta: { role: 'assistant', content: 'x', tool_calls: [{ ...call, index: 0 }] },
          logprobs: { content: [{ token: 'x', logprob: -1, bytes: [1], top_logprobs: [] }] },
          finish_reason: 'stop',
        },
      ],
      usage: { prompt_tokens: 1, completion_tokens: 1 },
    },
  },
];

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
const junk: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, 0, -1, 1.5, 1e308, '', 'x', [], {}, [[]], [null], { type: 'text' }, { '': null }),
  fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
);
const keys = ['__proto__', 'constructor', 'toString', 'type', 'content', 'input', 'messages', 'x'];

/** The value with one place, picked by `path`, replaced, removed, doubled or given a strange key. */
function mutate(value: Json, path: readonly number[], how: number, put: Json): Json {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const [step, ...rest] = path;
  if (step === undefined || entries.length === 0) return put;
  const [key, child] = entries[step % entries.length] ?? ['', null];
  const changed = rest.length > 0 ? mutate(child, rest, how, put) : how === 0 ? undefined : put;
  if (Array.isArray(value)) {
    const copy = [...value];
    if (changed === undefined) copy.splice(Number(key), 1);
    else copy[Number(key)] = changed;
    return how === 1 ? [...copy, ...copy] : copy;
  }
  const copy: { [key: string]: Json } = { ...(value as { [key: string]: Json }) };
  if (changed === undefined) delete copy[key];
  else copy[key] = changed;
  if (how === 2) Object.defineProperty(copy, keys[step % keys.length] ?? 'x', { value: put, enumerable: true });
  return copy;
}

test.each(decoders)(
  '$name: whatever is broken in a body, it is read or refused with words, and nothing else',
  ({ decode, valid }) => {
    expect(() => decode(valid)).not.toThrow();
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 7 }), fc.nat(3), junk, (path, how, put) => {
        const mutated = mutate(valid as Json, path, how, put);
        const body = isJsonObject(mutated) ? mutated : { x: mutated }; // http lets only objects through
        try {
          decode(body);
        } catch (error) {
          if (!(error instanceof GatewayError)) throw error;
          expect(error.kind).not.toBe('internal');
          expect(error.message.length).toBeGreaterThan(10);
          expect(error.message.length).toBeLessThan(2500);
        }
      }),
      { numRuns: 1500 },
    );
  },
);
