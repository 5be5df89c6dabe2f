import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { RunningGateway } from '../../src/node.ts';
import { localGateway, localModel, model } from './local-gateway.ts';

const lookup = tool(async ({ city }) => `${city} is big.`, {
  name: 'lookup',
  description: 'Looks up a city.',
  schema: z.object({ city: z.string().max(12) }),
});

describe.skipIf(localModel === null)('LangChain JS with the local model', () => {
  let gateway: RunningGateway;
  let chat: ChatOpenAI;
  const make = (fields: object = {}) =>
    new ChatOpenAI({
      model,
      apiKey: 'none',
      temperature: 0,
      maxTokens: 16,
      maxRetries: 0,
      configuration: { baseURL: `${gateway.url}/v1` },
      ...fields,
    });
  beforeAll(async () => {
    gateway = await localGateway();
    chat = make();
  });
  afterAll(() => gateway.close());

  test('invoke and stream agree, with usage and finish reason', async () => {
    const whole = await chat.invoke('Say hello.');
    expect(whole.usage_metadata).toMatchObject({ total_tokens: expect.any(Number) });
    let text = '';
    let finish: unknown;
    for await (const chunk of await chat.stream('Say hello.')) {
      text += chunk.text;
      finish = chunk.response_metadata['finish_reason'] ?? finish;
    }
    expect(text).toBe(whole.text);
    expect(finish).toBe(whole.response_metadata['finish_reason']);
  });

  test('two turns of one role and late system messages are no fault', async () => {
    const answer = await chat.invoke([
      new HumanMessage('Hi.'),
      new HumanMessage('Say hello.'),
      new SystemMessage('Be brief.'),
      new AIMessage('Hello.'),
      new HumanMessage('Again.'),
    ]);
    expect(answer.text.length).toBeGreaterThan(0);
  });

  test('a bound tool is called and its answer goes back', async () => {
    const bound = make({ maxTokens: 200 }).bindTools([lookup], { tool_choice: 'lookup' });
    const asked = new HumanMessage('Look up Paris.');
    const called = await bound.invoke([asked]);
    const [call] = called.tool_calls ?? [];
    expect(call).toMatchObject({ name: 'lookup', args: { city: expect.any(String) } });
    const answer = await chat.invoke([
      asked,
      called,
      new ToolMessage({ content: 'Big.', tool_call_id: call?.id ?? '' }),
    ]);
    expect(answer.text.length).toBeGreaterThan(0);
  });

  test('structured output by JSON schema', async () => {
    const schema = z.object({ city: z.string().max(20), people: z.number().int() });
    const structured = make({ maxTokens: 200 }).withStructuredOutput(schema, { method: 'jsonSchema', name: 'city' });
    expect(schema.parse(await structured.invoke('Describe Paris.'))).toBeTruthy();
  });

  test('an answer over the responses API', async () => {
    const answer = await make({ useResponsesApi: true, maxTokens: 32 }).invoke('Say hello.');
    expect(answer.text.length).toBeGreaterThan(0);
  });
});
