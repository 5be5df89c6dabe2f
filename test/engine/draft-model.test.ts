import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { createEngineHost, type EngineHost, type HostOptions } from '../../src/engine/host.ts';
import type { EngineUsage, GenerateRequest } from '../../src/engine/protocol.ts';
import { removeMade, withLayers, withOtherVocabulary } from './gguf-files.ts';
import { modelPath } from './model.ts';

const path = await modelPath();
const hosts: EngineHost[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.close()));
});
afterAll(removeMade);
function engine(options: Partial<HostOptions> = {}): EngineHost {
  const host = createEngineHost({ modelPath: path ?? '', slots: 2, contextTokens: 512, threads: 1, ...options });
  hosts.push(host);
  return host;
}

async function run(host: EngineHost, prompt: string, rest: Partial<GenerateRequest> = {}) {
  const request: GenerateRequest = {
    prompt: { kind: 'text', text: prompt },
    sampling: { temperature: 0 },
    maxTokens: 40,
    stop: [],
    choices: 1,
    priority: 'normal',
    tenant: 'a',
    ...rest,
  };
  let text = '';
  let usage: EngineUsage | undefined;
  for await (const output of host.generate(request, { signal: new AbortController().signal })) {
    if (output.type === 'text') text += output.text;
    if (output.type === 'done') usage = output.usage;
  }
  if (!usage) throw new Error('an answer ends with its usage');
  return { text, usage };
}
const prompts = ['The capital of France is', 'Once upon a time there was a', 'def fibonacci(n):\n'];

describe.skipIf(path === null)('a draft model', () => {
  test('that guesses well saves steps, and the text stays the same, alone and in company', async () => {
    const plain = engine();
    const quick = engine({ draft: { modelPath: path ?? '', max: 6 } });
    const expected = [];
    for (const prompt of prompts) expected.push((await run(plain, prompt)).text);

    const alone = await run(quick, prompts[0] ?? '');
    expect(alone.text).toBe(expected[0]);
    const { acceptedDraftTokens: accepted, rejectedDraftTokens: rejected, completionTokens } = alone.usage;
    expect(completionTokens).toBe(40);
    expect(accepted).toBeGreaterThan(10);
    expect(accepted / (accepted + rejected)).toBeGreaterThan(0.9); // it is the same model
    expect(quick.stats()?.totalSteps).toBeLessThan(36);
    expect(quick.stats()).toMatchObject({ totalDraftedTokens: accepted + rejected, totalAcceptedTokens: accepted });

    const together = await Promise.all(prompts.map((prompt) => run(quick, prompt)));
    expect(together.map(({ text }) => text)).toEqual(expected);

    const seeded = { sampling: { temperature: 1, seed: 7 } };
    expect((await run(quick, 'My dog', seeded)).text).toBe((await run(plain, 'My dog', seeded)).text);
    const off = await run(quick, prompts[0] ?? '', { maxDraft: 0 });
    expect(off).toMatchObject({ text: expected[0], usage: { acceptedDraftTokens: 0, rejectedDraftTokens: 0 } });
    const exact = { grammar: { gbnf: 'root ::= "[" ([0-9] ", "){10} [0-9] "]"' } };
    expect((await run(quick, 'Numbers:', exact)).text).toBe((await run(plain, 'Numbers:', exact)).text);
  });

  test('that guesses badly costs its rejected tokens and nothing of the text', async () => {
    const plain = engine();
    const poor = engine({ draft: { modelPath: await withLayers(path ?? '', 20) } });
    for (const prompt of prompts) {
      const { text, usage } = await run(poor, prompt);
      expect(text).toBe((await run(plain, prompt)).text);
      expect(usage.completionTokens).toBe(40);
    }
    const { totalDraftedTokens: drafted = 0, totalAcceptedTokens: accepted = 0 } = poor.stats() ?? {};
    expect(drafted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(drafted / 2);
  });

  test.each([
    {
      name: 'of another vocabulary',
      file: withOtherVocabulary,
      says: /draft model cannot serve.*token \d+ is another/,
    },
    { name: 'that is not there', file: async () => '/nowhere/draft.gguf', says: /draft model: there is no file/ },
  ])('$name is refused when loading', async ({ file, says }) => {
    const host = engine({ draft: { modelPath: await file(path ?? '') } });
    await expect(host.load()).rejects.toThrow(says);
  });
});
