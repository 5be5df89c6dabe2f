import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, type LanguageModel, Output, stepCountIs, streamText, tool } from 'ai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { RunningGateway } from '../../src/node.ts';
import { localGateway, localModel, model } from './local-gateway.ts';

describe.skipIf(localModel === null)('Vercel AI SDK with the local model', () => {
  let gateway: RunningGateway;
  const models = new Map<string, LanguageModel>();
  beforeAll(async () => {
    gateway = await localGateway();
    const baseURL = `${gateway.url}/v1`;
    const openai = createOpenAI({ baseURL, apiKey: 'none' });
    const compatible = createOpenAICompatible({
      name: 'tidegate',
      baseURL,
      includeUsage: true,
      supportsStructuredOutputs: true,
    });
    models.set('openai-compatible', compatible.chatModel(model));
    models.set('openai chat', openai.chat(model));
    models.set('openai responses', openai.responses(model));
    models.set('anthropic', createAnthropic({ baseURL, apiKey: 'none' })(model));
  });
  afterAll(() => gateway.close());
  const named = (name: string): LanguageModel => {
    const found = models.get(name);
    if (!found) throw new Error(name);
    return found;
  };
  const ask = { prompt: 'Say hello.', maxOutputTokens: 16, temperature: 0, maxRetries: 0 };
  const names = ['openai-compatible', 'openai chat', 'openai responses', 'anthropic'];

  test.each(names)('%s: text, whole and streamed, with usage and finish reason', async (name) => {
    const whole = await generateText({ model: named(name), ...ask });
    expect(whole.text.length).toBeGreaterThan(0);
    expect(whole.usage.outputTokens).toBeGreaterThan(0);
    const errors: unknown[] = [];
    const stream = streamText({ model: named(name), ...ask, onError: ({ error }) => void errors.push(error) });
    expect(await stream.text).toBe(whole.text);
    expect(await stream.finishReason).toBe(whole.finishReason);
    expect((await stream.usage).outputTokens).toBe(whole.usage.outputTokens);
    expect(errors).toEqual([]);
  });

  test.each(names)('%s: a required tool is called and its result goes back', async (name) => {
    const asked: string[] = [];
    const lookup = tool({
      description: 'Looks up a city.',
      inputSchema: z.object({ city: z.string().max(12) }),
      execute: async ({ city }) => {
        asked.push(city);
        return 'A big city.';
      },
    });
    const errors: unknown[] = [];
    const stream = streamText({
      model: named(name),
      ...ask,
      maxOutputTokens: 200,
      tools: { lookup },
      toolChoice: { type: 'tool', toolName: 'lookup' },
      stopWhen: stepCountIs(2),
      onError: ({ error }) => void errors.push(error),
    });
    expect((await stream.toolCalls).map((call) => call.toolName)).toContain('lookup');
    expect(await stream.finishReason).toBe('tool-calls');
    expect((await stream.steps).length).toBe(2); // the first one's call and result were read back
    expect(asked.length).toBeGreaterThan(1);
    expect(errors).toEqual([]);
  });

  test.each(names.slice(0, 3))('%s: an object of a schema', async (name) => {
    const schema = z.object({ city: z.string().max(20), people: z.number().int() });
    const { output } = await generateText({
      model: named(name),
      ...ask,
      maxOutputTokens: 200,
      output: Output.object({ schema }),
    });
    expect(schema.parse(output)).toEqual(output);
  });

  test.each(names)('%s: an unknown model is an API error with our words', async (name) => {
    const baseURL = `${gateway.url}/v1`;
    const openai = createOpenAI({ baseURL, apiKey: 'none' });
    const unknown = {
      'openai-compatible': createOpenAICompatible({ name: 'tidegate', baseURL }).chatModel('nope'),
      'openai chat': openai.chat('nope'),
      'openai responses': openai.responses('nope'),
      anthropic: createAnthropic({ baseURL, apiKey: 'none' })('nope'),
    }[name];
    if (!unknown) throw new Error(name);
    await expect(generateText({ model: unknown, ...ask })).rejects.toMatchObject({
      statusCode: 404,
      message: expect.stringContaining('nope'),
    });
  });
});
