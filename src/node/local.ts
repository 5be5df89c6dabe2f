import { join, resolve } from 'node:path';
import { createLocalProvider, type LocalEvent, type LocalModel, type LocalProvider } from '../../providers/local.ts';
import type { EngineConfig } from '../config.ts';
import { GatewayError } from '../core/errors.ts';
import { pullModel } from '../models/pull.ts';
import { type ModelSettings, modelSettings } from '../models/settings.ts';

export interface LocalOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where relative paths of the configuration begin. */
  readonly folder?: string;
  /** Text of a chat template of the prompt library. */
  readonly chatTemplate?: (name: string) => string | undefined;
  /** Public names of a local model. */
  readonly publicNames?: (local: string) => readonly string[];
  readonly onEvent?: (event: LocalEvent) => void;
}

/** The local engine as the configuration describes it; a model that is not here yet is fetched when first asked for. */
export function createLocal(config: EngineConfig, options: LocalOptions): LocalProvider {
  const settings = modelSettings(options.env);
  const { memory, disk, type } = config.kvCache;
  return createLocalProvider({
    models: (name, { signal }) => localModel(name, config, settings, options, signal),
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
    ...(options.onEvent && { onEvent: options.onEvent }),
  });
}

/** A model's file and what is its own: settings, draft model, adapters, chat template. Throws model_unavailable. */
async function localModel(
  name: string,
  config: EngineConfig,
  settings: ModelSettings,
  { folder = '.', chatTemplate = () => undefined, publicNames = () => [] }: LocalOptions,
  signal: AbortSignal,
): Promise<LocalModel> {
  const own = Object.hasOwn(config.models, name) ? config.models[name] : undefined;
  const file = await pullModel(name, { settings, signal });
  const draft = own?.draft && (await pullModel(own.draft.model, { settings, signal }));
  const names = own?.chatTemplate ? [own.chatTemplate] : [name, ...publicNames(name), file.name, ...file.aliases];
  const templateNow = () => names.map(chatTemplate).find((text) => text !== undefined);
  if (own?.chatTemplate && templateNow() === undefined) {
    throw new GatewayError(
      'model_unavailable',
      `There is no chat template "${own.chatTemplate}": put it into the prompt library as templates/${own.chatTemplate}.jinja.`,
    );
  }
  return {
    path: file.path,
    templateNow,
    ...(own?.slots !== undefined && { slots: own.slots }),
    ...(own?.contextTokens !== undefined && { contextTokens: own.contextTokens }),
    ...(own?.gpuLayers !== undefined && { gpuLayers: own.gpuLayers }),
    ...(own?.draft && draft && { draft: { modelPath: draft.path, max: own.draft.max } }),
    ...(own && {
      loras: Object.entries(own.loras).map(([lora, path]) => ({ name: lora, path: resolve(folder, path) })),
    }),
  };
}
