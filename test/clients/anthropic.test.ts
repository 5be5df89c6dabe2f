import Anthropic from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningGateway } from '../../src/node.ts';
import { hello, localGateway, localModel, model } from './local-gateway.ts';

const lookup = {
  name: 'lookup',
  description: 'Looks up a city.',
  input_schema: {
    type: 'object' as const,
    properties: { city: { type: 'string', maxLength: 12 } },
    required: ['city'],
    additionalProperties: false,
  },
};

describe.skipIf(localModel === null)('@anthropic-ai/sdk with the local model', () => {
  let gateway: RunningGateway;
  let client: Anthropic;
  beforeAll(async () => {
    gateway = await localGateway();
    client = new Anthropic({ baseURL: gateway.url, apiKey: 'none', maxRetries: 0 });
  });
  afterAll(() => gateway.close());
  const ask = { model, messages: hello, max_tokens: 16, temperature: 0 };

  test('create and the stream helper give the same message', async () => {
    const whole = await client.messages.create(ask);
    expect(whole).toMatchObject({ type: 'message', role: 'assistant', content: [{ type: 'text' }] });
    const streamed = await client.messages.stream(ask).finalMessage();
    expect(streamed.content).toEqual(whole.content);
    expect(streamed.stop_reason).toBe(whole.stop_reason);
    expect(streamed.usage.output_tokens).toBe(whole.usage.output_tokens);
  });

  test('count_tokens is what a message bills', async () => {
    const { input_tokens } = await client.messages.countTokens({ model, messages: hello });
    const { usage } = await client.messages.create({ ...ask, max_tokens: 1 });
    expect(input_tokens).toBe(usage.input_tokens + (usage.cache_read_input_tokens ?? 0));
  });

  test('a forced tool is called, and its result can be sent back', async () => {
    const forced = { ...ask, max_tokens: 200, tools: [lookup], tool_choice: { type: 'tool' as const, name: 'lookup' } };
    const message = await client.messages.stream(forced).finalMessage();
    expect(message.stop_reason).toBe('tool_use');
    const use = message.content.find((block) => block.type === 'tool_use');
    expect(use).toMatchObject({ name: 'lookup', input: { city: expect.any(String) } });
    const result = { type: 'tool_result' as const, tool_use_id: use?.id ?? '', content: 'A big city.' };
    const next = await client.messages.create({
      ...ask,
      tools: [lookup],
      tool_choice: { type: 'none' },
      messages: [...hello, { role: 'assistant', content: message.content }, { role: 'user', content: [result] }],
    });
    expect(next.content[0]?.type).toBe('text');
  });

  test('a prefilled answer is continued and a stop sequence is named', async () => {
    const message = await client.messages.create({
      ...ask,
      messages: [
        { role: 'user', content: 'Count.' },
        { role: 'assistant', content: '1, 2, 3,' },
      ],
      stop_sequences: ['5'],
      max_tokens: 60,
    });
    const text = message.content[0]?.type === 'text' ? message.content[0].text : '';
    expect(text.trimStart().startsWith('4')).toBe(true);
    expect([message.stop_reason, message.stop_sequence]).toEqual(['stop_sequence', '5']);
  });

  test('faults are the SDK’s own exceptions', async () => {
    await expect(client.messages.create({ ...ask, model: 'nope' })).rejects.toBeInstanceOf(Anthropic.NotFoundError);
    await expect(client.messages.create({ ...ask, max_tokens: 0 })).rejects.toBeInstanceOf(Anthropic.BadRequestError);
    await expect(client.messages.create({ ...ask, model: 'nope' })).rejects.toMatchObject({
      error: { type: 'error', error: { type: 'not_found_error' } },
      requestID: expect.stringMatching(/^req_/),
    });
  });

  test('models are listed', async () => {
    const { data } = await client.models.list();
    expect(data).toMatchObject([{ id: model, type: 'model', display_name: model }]);
  });
});
