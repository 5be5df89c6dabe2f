import OpenAI, { toFile } from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { RunningGateway } from '../../src/node.ts';
import { hello, localGateway, localModel, model } from './local-gateway.ts';

const city = z.object({ city: z.string().max(20), people: z.number().int() });
const lookup = {
  type: 'function' as const,
  function: {
    name: 'lookup',
    description: 'Looks up a city.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', maxLength: 12 } },
      required: ['city'],
      additionalProperties: false,
    },
  },
};

describe.skipIf(localModel === null)('npm openai with the local model', () => {
  let gateway: RunningGateway;
  let client: OpenAI;
  beforeAll(async () => {
    gateway = await localGateway();
    client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });
  afterAll(() => gateway.close());
  const ask = { model, messages: hello, max_tokens: 12, temperature: 0 };

  test('create, whole and streamed, gives the same text', async () => {
    const whole = await client.chat.completions.create(ask);
    let text = '';
    let usage: OpenAI.CompletionUsage | null | undefined;
    const stream = await client.chat.completions.create({
      ...ask,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(usage?.total_tokens).toBe(whole.usage?.total_tokens);
    expect(whole._request_id).toMatch(/^req_/);
  });

  test('the stream helper, with several choices and log-probabilities', async () => {
    const stream = client.chat.completions.stream({
      ...ask,
      temperature: 1,
      seed: 1,
      n: 2,
      logprobs: true,
      top_logprobs: 2,
    });
    const { choices, usage } = await stream.finalChatCompletion();
    expect(choices).toHaveLength(2);
    for (const { message, logprobs, finish_reason } of choices) {
      expect(['stop', 'length']).toContain(finish_reason);
      const entries = logprobs?.content ?? [];
      expect(new TextDecoder().decode(Uint8Array.from(entries.flatMap((entry) => entry.bytes ?? [])))).toBe(
        message.content,
      );
      for (const entry of entries) {
        expect(entry.logprob).toBeLessThanOrEqual(0);
        expect(entry.top_logprobs).toHaveLength(2);
      }
    }
    expect(usage).toBeUndefined();
  });

  test('parse with a zod schema gives an object of it, whole and streamed', async () => {
    const request = { ...ask, max_tokens: 200, response_format: zodResponseFormat(city, 'city') };
    const whole = await client.chat.completions.parse(request);
    expect(whole.choices[0]?.message.parsed).toEqual(
      expect.objectContaining({ city: expect.any(String), people: expect.any(Number) }),
    );
    const streamed = await client.chat.completions.stream(request).finalChatCompletion();
    expect(streamed.choices[0]?.message.parsed).toEqual(whole.choices[0]?.message.parsed);
  });

  test('a required tool is called, with arguments of its schema', async () => {
    const completion = await client.chat.completions.create({
      ...ask,
      max_tokens: 200,
      tools: [lookup],
      tool_choice: 'required',
      parallel_tool_calls: false,
    });
    const [choice] = completion.choices;
    expect(choice?.finish_reason).toBe('tool_calls');
    const call = choice?.message.tool_calls?.[0];
    expect(call).toMatchObject({ id: expect.stringMatching(/^call_/), type: 'function', function: { name: 'lookup' } });
    if (call?.type === 'function') expect(JSON.parse(call.function.arguments)).toEqual({ city: expect.any(String) });
    const streamed = await client.chat.completions
      .stream({ ...ask, max_tokens: 200, tools: [lookup], tool_choice: 'required', parallel_tool_calls: false })
      .finalChatCompletion();
    expect(streamed.choices[0]?.message.tool_calls?.[0]).toMatchObject({
      type: 'function',
      function: { name: 'lookup' },
    });
  });

  test('runTools calls the function and goes on', async () => {
    const asked: string[] = [];
    const runner = client.chat.completions.runTools({
      ...ask,
      max_tokens: 200,
      tool_choice: { type: 'function', function: { name: 'lookup' } },
      tools: [
        {
          ...lookup,
          function: {
            ...lookup.function,
            parse: JSON.parse,
            function: (args: { city: string }) => {
              asked.push(args.city);
              return 'Found.';
            },
          },
        },
      ],
    });
    await runner.done();
    expect(asked).toHaveLength(1);
    expect(runner.messages.map((message) => message.role)).toEqual(['user', 'assistant', 'tool']);
  });

  test('responses: create, stream helper, parse, a second turn, input items, delete', async () => {
    const request = { model, input: 'Say hello.', max_output_tokens: 16, temperature: 0 };
    const first = await client.responses.create(request);
    expect(first.output_text.length).toBeGreaterThan(0);
    const streamed = await client.responses.stream(request).finalResponse();
    expect(streamed.output_text).toBe(first.output_text);
    const second = await client.responses.create({ ...request, previous_response_id: first.id, input: 'And again.' });
    expect(second.usage?.input_tokens).toBeGreaterThan(first.usage?.input_tokens ?? Infinity);
    expect((await client.responses.retrieve(second.id)).output).toEqual(second.output);
    expect((await client.responses.inputItems.list(second.id)).data).toHaveLength(1);
    expect((await client.responses.inputTokens.count({ model, input: 'Say hello.' })).input_tokens).toBe(
      first.usage?.input_tokens,
    );
    await client.responses.delete(second.id);
    await expect(client.responses.retrieve(second.id)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test('responses with a required tool', async () => {
    const response = await client.responses
      .stream({
        model,
        input: 'Look up Paris.',
        max_output_tokens: 200,
        tool_choice: 'required',
        tools: [{ type: 'function', name: 'lookup', parameters: lookup.function.parameters, strict: true }],
      })
      .finalResponse();
    const [item] = response.output;
    expect(item).toMatchObject({ type: 'function_call', name: 'lookup', status: 'completed' });
  });

  test('a background response is polled to its end', async () => {
    let response = await client.responses.create({
      model,
      input: 'Say hello.',
      background: true,
      max_output_tokens: 16,
    });
    expect(response.status).toBe('queued');
    while (response.status === 'queued' || response.status === 'in_progress') {
      await new Promise((resolve) => setTimeout(resolve, 50));
      response = await client.responses.retrieve(response.id);
    }
    expect(['completed', 'incomplete']).toContain(response.status);
    expect(response.output_text.length).toBeGreaterThan(0);
  });

  test('legacy completions with echo and log-probabilities', async () => {
    const completion = await client.completions.create({
      model,
      prompt: 'Once upon a',
      max_tokens: 4,
      temperature: 0,
      echo: true,
      logprobs: 2,
    });
    const [choice] = completion.choices;
    expect(choice?.text.startsWith('Once upon a')).toBe(true);
    const { tokens = [], token_logprobs = [], text_offset = [] } = choice?.logprobs ?? {};
    expect(tokens.join('')).toBe(choice?.text);
    expect([token_logprobs.length, text_offset.length]).toEqual([tokens.length, tokens.length]);
    expect(token_logprobs[0]).toBeNull();
  });

  test('a batch of two runs to its end', async () => {
    const lines = ['a', 'b'].map((custom_id) =>
      JSON.stringify({ custom_id, method: 'POST', url: '/v1/chat/completions', body: ask }),
    );
    const file = await client.files.create({
      file: await toFile(Buffer.from(lines.join('\n')), 'in.jsonl'),
      purpose: 'batch',
    });
    let batch = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    while (!['completed', 'failed'].includes(batch.status)) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      batch = await client.batches.retrieve(batch.id);
    }
    expect(batch.request_counts).toEqual({ total: 2, completed: 2, failed: 0 });
    const results = (await (await client.files.content(batch.output_file_id ?? '')).text())
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text));
    expect(results.map((result) => result.custom_id)).toEqual(['a', 'b']);
    expect(results[0].response.body.choices[0].message.content.length).toBeGreaterThan(0);
  });

  test.each([
    { name: 'an unknown model', change: { model: 'smolm2' }, error: OpenAI.NotFoundError, words: 'smollm2' },
    {
      name: 'a wrong type',
      change: { temperature: 'hot' as never },
      error: OpenAI.BadRequestError,
      words: 'temperature',
    },
    {
      name: 'a prompt over the context',
      change: { messages: [{ role: 'user' as const, content: 'word '.repeat(5000) }] },
      error: OpenAI.BadRequestError,
      words: 'context',
    },
  ])('$name is the SDK’s own exception', async ({ change, error, words }) => {
    const failure = await client.chat.completions.create({ ...ask, ...change }).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(error);
    expect((failure as Error).message).toContain(words);
    expect((failure as InstanceType<typeof OpenAI.APIError>).requestID).toMatch(/^req_/);
  });

  test('an abort ends the stream at once and frees the slot', async () => {
    const stream = await client.chat.completions.create({ ...ask, max_tokens: 1000, stream: true });
    for await (const _ of stream) break;
    const next = await client.chat.completions.create({ ...ask, max_tokens: 1 });
    expect(next.usage?.completion_tokens).toBe(1);
  });

  test('models are listed with what is known of them', async () => {
    const models = await client.models.list();
    expect(models.data.map((one) => one.id)).toEqual([model]);
    expect(await client.models.retrieve(model)).toMatchObject({
      id: model,
      object: 'model',
      state: 'ready',
      context_length: expect.any(Number),
      family: 'llama',
      size: expect.any(Number),
    });
  });
});
