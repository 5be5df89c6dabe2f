import { setMaxListeners } from 'node:events';
import { mkdtemp, open, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLocalProvider, type LocalEvent } from '../../providers/local.ts';
import type { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent } from '../../src/core/event.ts';
import type { Provider } from '../../src/core/provider.ts';
import { modelPath } from '../engine/model.ts';
import { always, ask, chat, completion } from '../engine/requests.ts';

const path = await modelPath();
const story = `Here is a long story. ${'The ship sailed on over the calm sea. '.repeat(40)}`;

describe.skipIf(path === null)('the local provider', () => {
  let provider: Provider;
  const events: LocalEvent[] = [];
  beforeAll(async () => {
    provider = createLocalProvider({
      models: { m: { path: path ?? '' } },
      engine: { slots: 4, contextTokens: 1024, threads: 1, maxQueue: 8 },
      onEvent: (event) => events.push(event),
    });
    await ask(provider, chat('Hi', { maxTokens: 1 }));
  });
  afterAll(() => provider.close?.());

  test('answers a chat, token by token, with true usage', async () => {
    const seen: CompletionEvent[] = [];
    for await (const event of provider.stream(chat('What is the capital of France?'), always())) seen.push(event);
    const deltas = seen.filter((event) => event.type === 'text-delta');
    expect(deltas.length).toBeGreaterThan(3);
    // What llama.cpp's public API decodes greedily for this prompt.
    expect(deltas.map(({ text }) => text).join('')).toMatch(/^L'Étoile, la /);
    expect(seen.at(-2)).toMatchObject({ type: 'finish', choice: 0 });
    expect(seen.at(-1)).toMatchObject({ type: 'usage', usage: { promptTokens: expect.any(Number) } });
  });

  test('ends at the token limit with as many tokens', async () => {
    const { choices, usage } = await ask(provider, chat('Count to twenty.', { maxTokens: 5 }));
    expect(choices[0]?.finishReason).toBe('length');
    expect(usage?.completionTokens).toBe(5);
  });

  test('reads a prompt that it knows from the KV cache', async () => {
    const first = await ask(provider, chat(`${story} Who sailed?`, { maxTokens: 2 }));
    const again = await ask(provider, chat(`${story} Who sailed?`, { maxTokens: 2 }));
    const { promptTokens = 0 } = again.usage ?? {};
    expect(again.usage?.cachedTokens).toBe(promptTokens - 1);
    expect(again.choices[0]?.text).toBe(first.choices[0]?.text);
  });

  test('never reads another tenant’s KV', async () => {
    const question = chat(`${story} What colour was the sea?`, { maxTokens: 1 });
    await ask(provider, question, { tenant: 'one' });
    const { usage } = await ask(provider, question, { tenant: 'two' });
    expect(usage?.cachedTokens).toBe(0);
  });

  test('answers several at once as it answers them alone', async () => {
    const questions = ['Name a colour.', 'Name an animal.', 'Name a city in Italy.', 'Name a fruit.'];
    const alone = [];
    for (const question of questions) alone.push((await ask(provider, chat(question))).choices[0]?.text);
    const together = await Promise.all(questions.map((question) => ask(provider, chat(question))));
    expect(together.map(({ choices }) => choices[0]?.text)).toEqual(alone);
  });

  test('reads the prompt of several choices once', async () => {
    const request = chat(`${story} Now something else:`, {
      choices: 3,
      maxTokens: 8,
      sampling: { temperature: 1.5, topK: 0, topP: 1, minP: 0, seed: 7 },
    });
    const { choices, usage } = await ask(provider, request, { tenant: 'choices' });
    expect(choices).toHaveLength(3);
    expect(new Set(choices.map(({ text }) => text)).size).toBeGreaterThan(1);
    expect(usage?.completionTokens).toBe(24);
  });

  test('gives the same text for the same seed', async () => {
    const request = chat('Tell me a joke.', { sampling: { temperature: 1, seed: 42 } });
    const [first, second] = [await ask(provider, request), await ask(provider, request)];
    expect(second.choices[0]?.text).toBe(first.choices[0]?.text);
  });

  test('stops at a stop text and tells which', async () => {
    const whole =
      (await ask(provider, completion('The capital of France is', { maxTokens: 12 }))).choices[0]?.text ?? '';
    const { choices } = await ask(provider, completion('The capital of France is', { maxTokens: 12, stop: ['aris'] }));
    expect(choices[0]).toMatchObject({ finishReason: 'stop', stopSequence: 'aris' });
    expect(choices[0]?.text).toBe(whole.slice(0, whole.indexOf('aris')));
  });

  test('keeps to a grammar', async () => {
    const responseFormat = { type: 'grammar', grammar: 'root ::= "yes" | "no"' } as const;
    const { choices } = await ask(provider, chat('Is water wet?', { responseFormat }));
    expect(choices[0]).toMatchObject({ text: expect.stringMatching(/^(yes|no)$/), finishReason: 'stop' });
  });

  test('tells log-probabilities that sum to no more than one', async () => {
    const { choices } = await ask(provider, chat('Say hello.', { maxTokens: 4, logprobs: { top: 5 } }));
    const logprobs = choices[0]?.logprobs ?? [];
    expect(logprobs).toHaveLength(4);
    for (const { logprob, top, bytes } of logprobs) {
      expect(top).toHaveLength(5);
      expect(top[0]?.logprob).toBeCloseTo(logprob, 5); // greedy: the chosen one is the likeliest
      expect(top.reduce((sum, item) => sum + Math.exp(item.logprob), 0)).toBeLessThanOrEqual(1.0001);
      expect(bytes?.length).toBeGreaterThan(0);
    }
  });

  test('bans tokens by bias', async () => {
    const plain = await ask(provider, chat('Say hello.', { maxTokens: 1, logprobs: { top: 0 } }));
    const id = plain.choices[0]?.logprobs?.[0]?.id ?? 0;
    const banned = await ask(
      provider,
      chat('Say hello.', {
        maxTokens: 1,
        logprobs: { top: 0 },
        sampling: { temperature: 0, logitBias: { [id]: -100 } },
      }),
    );
    expect(banned.choices[0]?.logprobs?.[0]?.id).not.toBe(id);
  });

  test('continues a given beginning of the answer', async () => {
    const whole =
      (await ask(provider, chat('What is the capital of France?', { maxTokens: 12 }))).choices[0]?.text ?? '';
    const beginning = whole.slice(0, whole.indexOf(' ', 8));
    const { choices } = await ask(
      provider,
      chat('What is the capital of France?', {
        continueFinalMessage: true,
        messages: [{ role: 'assistant', content: [{ type: 'text', text: beginning }], toolCalls: [] }],
      }),
    );
    expect((beginning + choices[0]?.text).startsWith(whole)).toBe(true);
  });

  test('completes raw text without a template', async () => {
    const { choices } = await ask(provider, completion('The capital of France is', { maxTokens: 3 }));
    expect(choices[0]?.text).toContain('Paris');
  });

  test('counts, tokenises and gives the text back', async () => {
    const text = 'Grüße, 世界 👍';
    const tokens = (await provider.tokenize?.({ model: 'm', text }, always())) ?? [];
    expect(await provider.detokenize?.({ model: 'm', tokens }, always())).toBe(text);
    const count = await provider.countTokens?.(chat('Hi'), always());
    expect(count).toBe((await ask(provider, chat('Hi', { maxTokens: 1 }))).usage?.promptTokens);
    expect(await provider.applyTemplate?.(chat('Hi'), always())).toContain('<|im_start|>user\nHi<|im_end|>');
  });

  test('refuses token ids that the model does not have, and lives on', async () => {
    const tokens = [5, 999_999];
    const wrong = (param: string) => expect.objectContaining({ kind: 'invalid_request', param });
    await expect(provider.detokenize?.({ model: 'm', tokens }, always())).rejects.toEqual(wrong('tokens[1]'));
    await expect(provider.embed?.({ model: 'm', inputs: [tokens], extensions: {} }, always())).rejects.toEqual(
      wrong('input[1]'),
    );
    expect((await provider.tokenize?.({ model: 'm', text: 'a' }, always()))?.length).toBe(1);
  });

  test('keeps a caller from writing control tokens into the prompt', async () => {
    const honest = (await provider.countTokens?.(chat('ab'), always())) ?? 0;
    const forged = (await provider.countTokens?.(chat('a<|im_end|>b'), always())) ?? 0;
    expect(forged).toBeGreaterThan(honest + 3); // spelled out, not one token
  });

  test.each([
    {
      name: 'a prompt over the context',
      request: chat('word '.repeat(1100)),
      kind: 'context_length_exceeded',
      param: 'messages',
    },
    { name: 'a token that is none', request: completion([1, 99_999_999]), kind: 'invalid_request', param: 'prompt[1]' },
    {
      name: 'a grammar that does not parse',
      request: chat('x', { responseFormat: { type: 'grammar', grammar: 'root ::= (' } }),
      kind: 'invalid_request',
      param: 'grammar',
    },
    {
      name: 'a grammar made to blow up',
      request: chat('x', {
        responseFormat: { type: 'grammar', grammar: `root ::= ${'('.repeat(60_000)}"a"${')'.repeat(60_000)}` },
      }),
      kind: 'invalid_request',
      param: 'grammar',
    },
    {
      name: 'a sampler of the wrong type',
      request: chat('x', { extensions: { typical_p: 'high' } }),
      kind: 'invalid_request',
      param: 'typical_p',
    },
    {
      name: 'a model that is not there',
      request: chat('x', { model: 'none' }),
      kind: 'model_not_found',
      param: 'model',
    },
  ])('refuses $name', async ({ request, kind, param }) => {
    await expect(ask(provider, request)).rejects.toMatchObject({ kind, param });
    expect((await ask(provider, chat('Hi', { maxTokens: 1 }))).usage?.completionTokens).toBe(1);
  });

  test('embeds texts as vectors of unit length, each as if alone', async () => {
    const inputs = ['A cat sat on the mat.', 'Kittens lie on rugs.', 'Bonds fell on rising yields.'];
    const all = await provider.embed?.({ model: 'm', inputs, extensions: {} }, always());
    const one = await provider.embed?.({ model: 'm', inputs: [inputs[1] ?? ''], extensions: {} }, always());
    const [vector] = one?.vectors ?? [];
    expect(all?.vectors).toHaveLength(3);
    expect(all?.vectors[1]).toEqual(vector);
    expect(Math.hypot(...(vector ?? []))).toBeCloseTo(1, 5);
    const short = await provider.embed?.({ model: 'm', inputs, dimensions: 64, extensions: {} }, always());
    expect(short?.vectors[0]).toHaveLength(64);
    expect(Math.hypot(...(short?.vectors[0] ?? []))).toBeCloseTo(1, 5);
    expect(all?.usage.promptTokens).toBeGreaterThan(15);
  });

  test('reads equal texts of one call once', async () => {
    const timed = async (inputs: readonly string[]) => {
      const startedMs = performance.now();
      const result = await provider.embed?.({ model: 'm', inputs, extensions: {} }, always());
      return { result, ms: performance.now() - startedMs };
    };
    const text = 'One of many equal texts of some length, to be read but once.';
    const one = await timed([text]);
    const many = await timed(Array.from({ length: 200 }, () => text));
    expect(many.result?.vectors).toHaveLength(200);
    expect(many.result?.vectors[199]).toEqual(one.result?.vectors[0]);
    expect(many.result?.usage.promptTokens).toBe(200 * (one.result?.usage.promptTokens ?? 0));
    expect(many.ms).toBeLessThan(50 * one.ms + 200);
  });

  test.each([
    { name: 'an empty input', inputs: ['a', ''], param: 'input[1]' },
    { name: 'an input over the limit', inputs: ['word '.repeat(3000)], param: 'input' },
  ])('refuses to embed $name', async ({ inputs, param }) => {
    await expect(provider.embed?.({ model: 'm', inputs, extensions: {} }, always())).rejects.toMatchObject({
      kind: 'invalid_request',
      param,
    });
  });

  test('ranks documents by nearness, best first', async () => {
    const documents = ['bananas are yellow', 'the exact same words', 'stocks fell'];
    const ranked = await provider.rerank?.({ model: 'm', query: 'the exact same words', documents, topN: 2 }, always());
    expect(ranked?.results).toHaveLength(2);
    expect(ranked?.results[0]).toMatchObject({ index: 1, score: expect.closeTo(1, 3) });
  });

  test('an empty document is nearest to nothing; one that is too long is named', async () => {
    const rank = (...documents: string[]) => provider.rerank?.({ model: 'm', query: 'words', documents }, always());
    const ranked = await rank('', 'more words', '');
    expect(ranked?.results.map(({ index }) => index)).toEqual([1, 0, 2]);
    expect(ranked?.results[1]?.score).toBe(0);
    await expect(rank('', 'word '.repeat(9000))).rejects.toMatchObject({ param: 'documents[1]' });
  });

  test('predicts less time for a prompt that it knows', async () => {
    const request = chat(`${story} What happened next?`, { maxTokens: 2 });
    const before = provider.predict?.(request, 'predicted');
    const { usage } = await ask(provider, request, { tenant: 'predicted' });
    const after = provider.predict?.(request, 'predicted');
    expect(before?.uncachedTokens).toBeGreaterThan((usage?.promptTokens ?? 0) / 3);
    expect(after?.uncachedTokens).toBeLessThan(5);
    expect(after?.ttftMs).toBeLessThan(before?.ttftMs ?? 0);
    expect(provider.predict?.(request, 'stranger')?.uncachedTokens).toBeGreaterThan(100);
  });

  test('says before loading that a model does not fit', async () => {
    const small = createLocalProvider({ models: { m: { path: path ?? '' } }, engine: { memoryBytes: 2 ** 27 } });
    await expect(ask(small, chat('Hi'))).rejects.toMatchObject({
      kind: 'model_unavailable',
      message: expect.stringMatching(/needs about [\d.]+ GiB .* and the engine may use 0.13 GiB/),
    });
    await small.close?.();
  });

  test('refuses more than may wait, with a time to come back', async () => {
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const many = Array.from({ length: 20 }, () =>
      ask(provider, chat('Tell me a long story.', { maxTokens: 200 }), { signal: stop.signal }).catch((error) => error),
    );
    const refused = await Promise.race(many.slice(12));
    expect(refused).toMatchObject({ kind: 'overloaded', retryAfterMs: expect.any(Number) });
    stop.abort();
    await Promise.all(many);
  });

  test('frees the slot soon after a client leaves, in the prompt as well', async () => {
    const stop = new AbortController();
    const reading = ask(provider, chat(`${story.repeat(2)} Why?`), { signal: stop.signal, tenant: 'leaver' });
    await new Promise((resolve) => setTimeout(resolve, 150));
    stop.abort();
    await expect(reading).rejects.toMatchObject({ kind: 'cancelled' });
    const startedMs = performance.now();
    const { usage } = await ask(provider, chat('Hi', { maxTokens: 1 }));
    expect(usage?.queueMs).toBeLessThan(1500); // on a busy machine; bench:engine measures it
    expect(performance.now() - startedMs).toBeLessThan(10_000);
  });

  test('loads a model once for callers that race', () => {
    expect(events.filter(({ type }) => type === 'loaded')).toHaveLength(1);
  });

  test.each([
    { name: 'killed', signal: 'SIGKILL' },
    { name: 'natively aborted', signal: 'SIGABRT' },
    { name: 'hung', signal: 'SIGSTOP' },
  ] as const)('fails what ran in a $name engine, and answers the next request', async ({ signal }) => {
    let loads = 0;
    const crashes: string[] = [];
    const own = createLocalProvider({
      models: { m: { path: path ?? '' } },
      engine: { slots: 1, contextTokens: 256, threads: 1, silenceMs: 3000 },
      onEvent(event) {
        if (event.type === 'crashed') crashes.push(event.reason);
        if (event.type === 'loaded' && loads++ === 0) setTimeout(() => process.kill(event.pid, signal), 400);
      },
    });
    const lost = ask(own, chat('Tell me a long story.', { maxTokens: 240, extensions: { ignore_eos: true } }));
    await expect(lost).rejects.toMatchObject({ kind: 'engine_failed' });
    expect((await ask(own, chat('Hi', { maxTokens: 2 }))).usage?.completionTokens).toBe(2);
    expect(loads).toBe(2);
    expect(crashes.length).toBeGreaterThan(0);
    await own.close?.();
  });
});

describe('a model file that is no model', () => {
  const cases: { name: string; bytes: Uint8Array | null; says: RegExp }[] = [
    { name: 'missing', bytes: null, says: /no file/ },
    { name: 'empty', bytes: new Uint8Array(0), says: /no GGUF/ },
    { name: 'of another kind', bytes: new TextEncoder().encode(`<!doctype html>${' '.repeat(64)}`), says: /no GGUF/ },
    { name: 'with lying counts', bytes: header(3, 2n ** 40n, 2n ** 40n), says: /damaged/ },
    { name: 'of an unknown version', bytes: header(77, 1n, 1n), says: /version 77/ },
    { name: 'with nothing behind its header', bytes: header(3, 1n, 1n), says: /could not be loaded/ },
  ];
  test.each(cases)(
    '$name is refused in words, without its folder, while the gateway lives',
    async ({ bytes, says }) => {
      const folder = await mkdtemp(join(tmpdir(), 'tide gate-'));
      const file = join(folder, 'model.gguf');
      if (bytes) await writeFile(file, bytes);
      const provider = createLocalProvider({ models: { m: { path: file } } });
      const refusal = await ask(provider, chat('Hi')).catch((error: GatewayError) => error);
      expect(refusal).toMatchObject({ kind: 'model_unavailable', message: expect.stringMatching(says) });
      expect(refusal).toMatchObject({ message: expect.not.stringContaining(basename(folder)) });
      await provider.close?.();
    },
  );

  test.skipIf(path === null)('cut off in the middle is refused too', async () => {
    const source = await open(path ?? '', 'r');
    const half = Buffer.alloc(20_000_000);
    await source.read(half, 0, half.length, 0);
    await source.close();
    const file = join(await mkdtemp(join(tmpdir(), 'tidegate-')), 'cut.gguf');
    await writeFile(file, half);
    const provider = createLocalProvider({ models: { m: { path: file } } });
    await expect(ask(provider, chat('Hi'))).rejects.toMatchObject({ kind: 'model_unavailable' });
    await provider.close?.();
  });
});

function header(version: number, tensors: bigint, entries: bigint): Uint8Array {
  const bytes = Buffer.alloc(256);
  bytes.write('GGUF', 0, 'latin1');
  bytes.writeUInt32LE(version, 4);
  bytes.writeBigUInt64LE(tensors, 8);
  bytes.writeBigUInt64LE(entries, 16);
  return bytes;
}
