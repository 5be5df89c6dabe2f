import { join } from 'node:path';
import { createLocalProvider, type LocalEvent, type LocalProvider } from '../../providers/local.ts';
import type { EngineConfig } from '../config.ts';
import { pullModel } from '../models/pull.ts';
import { modelSettings } from '../models/settings.ts';

/** The local engine as the configuration describes it; a model that is not here yet is fetched when first asked for. */
export function createLocal(
  config: EngineConfig,
  env: Readonly<Record<string, string | undefined>>,
  onEvent: (event: LocalEvent) => void,
): LocalProvider {
  const settings = modelSettings(env);
  const { memory, disk, type } = config.kvCache;
  return createLocalProvider({
    models: async (name, { signal }) => ({ path: (await pullModel(name, { settings, signal })).path }),
    engine: {
      slots: config.slots,
      batchTokens: config.batchTokens,
      flashAttention: config.flashAttention,
      gpu: config.gpu === 'off' ? false : config.gpu,
      maxQueue: config.queue,
      maxModels: config.maxModels,
      kvCacheKeyType: type,
      kvCacheValueType: type,
      kvCache: { memoryBytes: memory, diskBytes: disk, directory: join(settings.folder, '..', 'kv') },
      ...(config.memory !== undefined && { memoryBytes: config.memory }),
      ...(config.keepAlive !== undefined && { keepAliveMs: config.keepAlive }),
      ...(config.contextTokens !== undefined && { contextTokens: config.contextTokens }),
      ...(config.threads !== undefined && { threads: config.threads }),
      ...(config.gpuLayers !== undefined && { gpuLayers: config.gpuLayers }),
    },
    onEvent,
  });
}
