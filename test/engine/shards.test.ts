import { rmSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLocalProvider } from '../../providers/local.ts';
import { createEngineHost } from '../../src/engine/host.ts';
import { readModelFile } from '../../src/engine/shards.ts';
import { removeMade, shards } from './gguf-files.ts';
import { modelPath } from './model.ts';
import { always, ask, completion } from './requests.ts';

const path = await modelPath();

describe.skipIf(path === null)('a model in parts', () => {
  let parts: readonly string[] = [];
  beforeAll(async () => {
    parts = await shards(path ?? '', 3);
  });
  afterAll(removeMade);

  test('is loaded by its first part and answers as the whole one', async () => {
    const models = { parts: { path: parts[0] ?? '' }, whole: { path: path ?? '' } };
    const provider = createLocalProvider({ models, engine: { slots: 1, contextTokens: 256, threads: 1 } });
    const answers = [];
    for (const model of ['parts', 'whole'])
      answers.push((await ask(provider, completion('The sea', { model }))).choices);
    await provider.close?.();
    expect(answers[0]).toEqual(answers[1]);
    const [all, whole] = [await readModelFile(parts[0] ?? ''), await readModelFile(path ?? '')];
    expect(all.tensors).toBe(whole.tensors);
    expect(all.sizeBytes).toBeGreaterThan(whole.sizeBytes * 0.99);
  });

  test('is refused in words by another part, and where one is damaged or missing', async () => {
    const load = async (file = '') => {
      const provider = createLocalProvider({ models: { m: { path: file } } });
      await provider.load('m', always().signal).finally(() => provider.close?.());
    };
    await expect(load(parts[1])).rejects.toThrow(/part 2 of 3 of a model: name the first, model-00001-of-00003.gguf/);
    writeFileSync(parts[1] ?? '', 'GGUF');
    await expect(load(parts[0])).rejects.toThrow(/part 2 of 3 is missing or damaged: .*only 4 bytes/);
    rmSync(parts[1] ?? '');
    await expect(load(parts[0])).rejects.toThrow(/part 2 of 3 is missing or damaged: there is no file/);
    const host = createEngineHost({ modelPath: parts[0] ?? '' });
    await expect(host.load()).rejects.toThrow(/part 2 of 3 is missing/); // the child looks for itself
  });
});
