import { LRUCache } from 'lru-cache';
import type { Config } from '../config.ts';
import type { Capabilities, ModelInfo } from '../core/provider.ts';
import { nominalFacts } from '../engine/nominal.ts';
import { readModelFile } from '../engine/shards.ts';
import type { DescribeModel } from '../http/routes/models.ts';
import { findModel, type ModelFile } from '../models/cache.ts';
import { modelSettings } from '../models/settings.ts';
import type { RoutedModel } from '../routing/attempt.ts';

export interface DescribeOptions {
  readonly models: () => readonly RoutedModel[];
  readonly config: () => Config;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Unix seconds, for models whose age nobody knows. */
  readonly startedAt: number;
}

/** What is known of a public model: of a local one its file and what the engine says; of others who serves it. */
export function createDescribeModel({ models, config, env, startedAt }: DescribeOptions): DescribeModel {
  const settings = modelSettings(env);
  return async (name, { signal }) => {
    const targets = models().find((model) => model.name === name)?.targets ?? [];
    const target = targets.find(({ provider }) => provider.capabilities.local) ?? targets[0];
    if (!target) return { ownedBy: 'tidegate', created: startedAt };
    if (!target.provider.capabilities.local) {
      const info = { id: target.model, capabilities: abilitiesOf(target.provider.capabilities) };
      return { ownedBy: target.provider.name, created: startedAt, info };
    }
    const file = await findModel(target.model, settings).catch(() => undefined);
    const loaded = (await target.provider.models?.({ signal }))?.find(({ id }) => id === target.model);
    const contextTokens = config().engine.contextTokens;
    return {
      ownedBy: target.provider.name,
      created: file ? Math.floor(file.pulledAt / 1000) : startedAt,
      info: {
        id: target.model,
        state: 'unloaded',
        ...(contextTokens === undefined ? {} : { contextTokens }),
        ...(file && infoOf(file)),
        ...(file && (await factsOf(file))),
        ...loaded,
      },
    };
  };
}

const headers = new LRUCache<string, ReturnType<typeof nominalFacts>>({ max: 100 });

/** What only the file's own header tells: of a model that was given by its path. It is read once. */
async function factsOf({ path, bytes, pulledAt, quantization }: ModelFile): Promise<Partial<ModelInfo>> {
  if (quantization !== '') return {};
  const key = `${path} ${bytes} ${pulledAt}`;
  const known = headers.get(key) ?? (await readModelFile(path).then(nominalFacts, () => ({})));
  headers.set(key, known);
  return known;
}

/** In Ollama's words where it has one: apps of its API offer tools and pictures only where they are listed. */
const abilitiesOf = ({ tools, jsonSchema, logprobs, images }: Capabilities): readonly string[] => [
  ...['completion', 'chat'],
  ...(tools ? ['tools'] : []),
  ...(jsonSchema ? ['json_schema'] : []),
  ...(logprobs ? ['logprobs'] : []),
  ...(images ? ['vision'] : []),
];

const infoOf = (file: ModelFile): Partial<ModelInfo> => ({
  sizeBytes: file.bytes,
  ...(file.quantization === '' ? {} : { quantization: file.quantization }),
  ...(file.parameters === '' ? {} : { parameters: file.parameters }),
  capabilities: file.kind === 'embedding' ? ['embedding'] : ['completion', 'chat', 'tools', 'json_schema', 'logprobs'],
});
