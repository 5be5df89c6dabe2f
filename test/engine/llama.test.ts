import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { getLlama, type LlamaModel as PublicModel, type Token } from 'node-llama-cpp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LlamaModel, loadLlamaModel } from '../../src/engine/llama.ts';
import type { LlamaContext } from '../../src/engine/llama-context.ts';
import { scratchFolder } from '../../src/engine/scratch.ts';
import { modelPath } from './model.ts';

// The batch is driven below node-llama-cpp's public classes: every private call is held here, with the public API or the
// arithmetic itself as the oracle.
const path = await modelPath();
const prompt = 'The quick brown fox jumps over the lazy dog. The five boxing';

test('a machine without the binary that is asked for is told which one, and what to do', async () => {
  const gpu = process.platform === 'darwin' ? 'cuda' : 'vulkan'; // 'npm run gpu' alone brings it
  await expect(loadLlamaModel({ modelPath: 'none.gguf', gpu })).rejects.toThrow(
    new RegExp(`${gpu} binary is not installed; .*engine\\.gpu: auto`),
  );
});

describe.skipIf(path === null)('the binding', () => {
  let model: LlamaModel;
  let oracle: PublicModel;
  let context: LlamaContext;
  const state = join(scratchFolder().folder, `tidegate-contract-${process.pid}`);

  beforeAll(async () => {
    model = await loadLlamaModel({ modelPath: path ?? '', threads: 1, slots: 4, contextTokens: 256 });
    context = await model.createContext({ sequences: 4, contextTokens: 256, batchTokens: 64 });
    const llama = await getLlama({ gpu: false, build: 'never' });
    oracle = await llama.loadModel({ modelPath: path ?? '' });
  });
  afterAll(async () => {
    await context?.close();
    await oracle?.dispose();
    await rm(state, { force: true });
  });

  const read = async (sequence: number, tokens: Uint32Array, position = 0): Promise<number> => {
    context.begin(tokens.length);
    const [place = -1] = context.add(sequence, position, tokens, Uint32Array.of(tokens.length - 1));
    await context.decode();
    return place;
  };
  const greedy = async (sequence: number, first: number, position: number, count: number): Promise<number[]> => {
    const sampler = model.createSampler({ temperature: 0 });
    const tokens = [first];
    for (let i = 0; i < count - 1; i++) {
      const place = await read(sequence, Uint32Array.of(tokens.at(-1) ?? 0), position + i);
      tokens.push(await context.sample(place, sampler));
    }
    sampler.dispose();
    return tokens;
  };
  /** Decodes `count` tokens after `tokens`, greedily. */
  const complete = async (sequence: number, tokens: Uint32Array, count: number): Promise<number[]> => {
    context.truncate(sequence, 0);
    const sampler = model.createSampler({ temperature: 0 });
    const first = await context.sample(await read(sequence, tokens), sampler);
    sampler.dispose();
    return greedy(sequence, first, tokens.length, count);
  };

  test('tokenises as the public API does', () => {
    for (const text of [prompt, 'Grüße 世界 👍🏽', '<|im_start|>user\n', '  two  spaces\n\n\ttab']) {
      expect([...model.tokenize(text, true)]).toEqual(oracle.tokenize(text, true));
      expect([...model.tokenize(text, false)]).toEqual(oracle.tokenize(text, false));
    }
  });

  test('a token’s bytes put together are the text, also where a character is split', () => {
    for (const text of ['Grüße 世界 👍🏽 naïve', prompt, '한국어 ελληνικά \u{1F9D1}\u200D\u{1F680}']) {
      const bytes = [...model.tokenize(text, false)].flatMap((token) => [...model.tokenBytes(token, false)]);
      expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(text);
    }
  });

  test('gives every token of the vocabulary the public API’s text', () => {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    let compared = 0;
    for (let token = 0; token < model.info.vocabularySize; token += 7) {
      const bytes = model.tokenBytes(token, true);
      try {
        expect(decoder.decode(bytes)).toBe(oracle.detokenize([token as Token], true));
        compared++;
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // part of a character
      }
    }
    expect(compared).toBeGreaterThan(6000);
  });

  test('control tokens are shown only when asked for', () => {
    const token = model.tokenize('<|im_end|>', true)[0] ?? 0;
    expect(model.isEndOfGeneration(token)).toBe(true);
    expect(model.tokenBytes(token, false)).toHaveLength(0);
    expect(new TextDecoder().decode(model.tokenBytes(token, true))).toBe('<|im_end|>');
    expect(model.controlTexts).toContain('<|im_end|>');
    expect(model.endTokens).toContain(token);
  });

  test('decodes what the public sequence decodes', async () => {
    const publicContext = await oracle.createContext({ contextSize: 256, flashAttention: true, threads: 1 });
    const sequence = publicContext.getSequence();
    const expected: number[] = [];
    for await (const token of sequence.evaluate(oracle.tokenize(prompt, true), { temperature: 0 })) {
      expected.push(token);
      if (expected.length === 12) break;
    }
    await publicContext.dispose();
    expect(await complete(0, model.tokenize(prompt, true), 12)).toEqual(expected);
  });

  test('decodes several sequences in one batch as it does each alone', async () => {
    const prompts = ['One two three', 'Red green blue', 'Monday Tuesday Wednesday'].map((text) =>
      model.tokenize(text, true),
    );
    const alone = [];
    for (const tokens of prompts) alone.push((await complete(0, tokens, 1))[0]);
    const sampler = model.createSampler({ temperature: 0 });
    for (let i = 0; i < 3; i++) context.truncate(i, 0);
    context.begin(prompts.reduce((sum, tokens) => sum + tokens.length, 0));
    const places = prompts.map((tokens, i) => context.add(i, 0, tokens, Uint32Array.of(tokens.length - 1))[0] ?? -1);
    await context.decode();
    const together = [];
    for (const place of places) together.push(await context.sample(place, sampler));
    sampler.dispose();
    expect(together).toEqual(alone);
  });

  test('goes on from a truncated sequence as from a fresh one', async () => {
    const tokens = model.tokenize(prompt, true);
    const expected = await complete(1, tokens, 6);
    expect(context.truncate(1, 5)).toBe(true);
    const sampler = model.createSampler({ temperature: 0 });
    const first = await context.sample(await read(1, tokens.slice(5), 5), sampler);
    sampler.dispose();
    expect(await greedy(1, first, tokens.length, 6)).toEqual(expected);
  });

  test('moves a sequence’s state to another through a file', async () => {
    const tokens = model.tokenize(prompt, true);
    const expected = await complete(2, tokens, 6);
    context.truncate(2, tokens.length);
    expect(await context.save(2, state, tokens)).toBeGreaterThan(tokens.length * 1000);
    context.truncate(3, 0);
    expect([...(await context.load(3, state))]).toEqual([...tokens]);
    context.truncate(3, tokens.length - 1);
    const sampler = model.createSampler({ temperature: 0 });
    const first = await context.sample(await read(3, tokens.slice(-1), tokens.length - 1), sampler);
    sampler.dispose();
    expect(await greedy(3, first, tokens.length, 6)).toEqual(expected);
  });

  test('forgets a middle part and moves the rest down', async () => {
    const tokens = model.tokenize(prompt, true);
    context.truncate(0, 0);
    await read(0, tokens);
    expect(context.shift(0, 2, 6)).toBe(true);
    const place = await read(0, Uint32Array.of(tokens[0] ?? 0), tokens.length - 4);
    expect(place).toBeGreaterThanOrEqual(0);
  });

  test('refuses more tokens than a batch holds, and goes on', async () => {
    expect(() => context.begin(65)).toThrow();
    context.begin(2);
    expect(() => context.add(0, 0, Uint32Array.of(1, 2, 3), new Uint32Array(0))).toThrow();
    expect(await complete(0, model.tokenize('Hello', true), 2)).toHaveLength(2);
  });

  test('samplers do what they say', async () => {
    context.truncate(0, 0);
    const place = await read(0, model.tokenize('My name is', true));
    const list = await context.probabilities(place, model.createSampler({ temperature: 1, topK: 5, seed: 1 }));
    expect(list).toHaveLength(5);
    expect(list.reduce((sum, [, probability]) => sum + probability, 0)).toBeCloseTo(1, 4);
    const [best = [0, 0]] = list;
    const sample = (options: Parameters<typeof model.createSampler>[0]) => {
      const sampler = model.createSampler(options);
      return context.sample(place, sampler).finally(() => sampler.dispose());
    };
    expect(await sample({ temperature: 0 })).toBe(best[0]);
    expect(await sample({ temperature: 1, topK: 1, seed: 9 })).toBe(best[0]);
    expect(await sample({ temperature: 1, topP: 0.0001, seed: 9 })).toBe(best[0]);
    expect(await sample({ temperature: 0, logitBias: { [best[0]]: -100 } })).not.toBe(best[0]);
    expect(await sample({ temperature: 0, logitBias: { 42: 100 } })).toBe(42);
    expect(
      await sample({
        temperature: 0,
        presencePenalty: 2,
        frequencyPenalty: 2,
        history: Uint32Array.of(best[0], best[0], best[0], best[0], best[0], best[0]),
      }),
    ).not.toBe(best[0]);
    const [token, confidence] = await context.confidence(place, model.createSampler({ temperature: 0 }));
    expect(token).toBe(best[0]);
    expect(confidence).toBeLessThan(best[1]);
    const same = [await sample({ temperature: 1, seed: 77 }), await sample({ temperature: 1, seed: 77 })];
    expect(same[0]).toBe(same[1]);
  });

  test('a grammar allows only its own tokens, and copies of its state are independent', async () => {
    context.truncate(0, 0);
    const place = await read(0, model.tokenize('The answer is', true));
    const grammar = model.createGrammarState('root ::= "abc" | "abd"');
    const copy = model.cloneGrammarState(grammar);
    const sampler = model.createSampler({ temperature: 0, grammar });
    const text = new TextDecoder().decode(model.tokenBytes(await context.sample(place, sampler), true));
    expect(['a', 'ab', 'abc', 'abd']).toContain(text);
    for (const token of model.tokenize('abd', false)) model.acceptGrammarToken(copy, token);
    expect(() => model.acceptGrammarToken(copy, model.tokenize('x', false)[0] ?? 0)).toThrow();
    expect(() => model.createGrammarState('root ::= (')).toThrow();
    sampler.dispose();
  });

  test('threads can be changed between steps', async () => {
    const before = await complete(0, model.tokenize(prompt, true), 4);
    context.setThreads(2);
    const after = await complete(0, model.tokenize(prompt, true), 4);
    context.setThreads(1);
    expect(after).toEqual(before);
  });
});
