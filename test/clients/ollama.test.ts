import { Ollama } from 'ollama';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningGateway } from '../../src/node.ts';
import { hello, localGateway, localModel, model } from './local-gateway.ts';

describe.skipIf(localModel === null)('npm ollama with the local model', () => {
  let gateway: RunningGateway;
  let client: Ollama;
  beforeAll(async () => {
    gateway = await localGateway();
    client = new Ollama({ host: gateway.url });
  });
  afterAll(() => gateway.close());
  const options = { temperature: 0, num_predict: 12 };

  test('chat streams what it answers whole', async () => {
    const whole = await client.chat({ model, messages: hello, options });
    expect(whole).toMatchObject({ done: true, message: { role: 'assistant' }, eval_count: expect.any(Number) });
    let text = '';
    for await (const part of await client.chat({ model: `${model}:latest`, messages: hello, options, stream: true })) {
      text += part.message.content;
    }
    expect(text).toBe(whole.message.content);
  });

  test('generate, also raw, and a schema as format', async () => {
    const raw = await client.generate({ model, prompt: 'Once upon a', raw: true, options });
    expect(raw.response?.length).toBeGreaterThan(0);
    const schema = {
      type: 'object',
      properties: { n: { type: 'integer' } },
      required: ['n'],
      additionalProperties: false,
    };
    const { message } = await client.chat({
      model,
      messages: hello,
      format: schema,
      options: { ...options, num_predict: 100 },
    });
    expect(JSON.parse(message.content)).toEqual({ n: expect.any(Number) });
  });

  test('list, show, ps and version', async () => {
    expect((await client.list()).models.map((one) => one.name)).toEqual([`${model}:latest`]);
    expect((await client.show({ model })).capabilities).toContain('completion');
    expect(await client.ps()).toHaveProperty('models');
    expect((await client.version()).version).toMatch(/^\d/);
  });

  test('an unknown model is refused with words', async () => {
    await expect(client.chat({ model: 'nope', messages: hello })).rejects.toThrow("The model 'nope' does not exist");
  });
});
