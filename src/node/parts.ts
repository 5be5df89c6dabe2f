import { resolve } from 'node:path';
import type { LocalProvider } from '../../providers/local.ts';
import { createOnnxProvider } from '../../providers/onnx.ts';
import { createProviders } from '../../providers/registry.ts';
import type { Config } from '../config.ts';
import type { Provider } from '../core/provider.ts';
import type { Routing } from '../core/route.ts';
import type { Transport } from '../core/transport.ts';
import { createFilters, type Filters } from '../filters/index.ts';
import { readPromptFiles } from '../prompts/files.node.ts';
import { createLibrary, lazyLibrary, type PromptLibrary } from '../prompts/library.ts';
import { createPrompts, type Prompts } from '../prompts/render.ts';
import { routedModels } from '../routes-of-config.ts';
import type { RoutedModel } from '../routing/attempt.ts';
import type { TargetSource, Trials } from '../routing/resolve.ts';
import { filterParts, moderationModels } from './filters.ts';

/** What a changed configuration replaces. */
export interface Parts {
  readonly library: PromptLibrary;
  readonly models: readonly RoutedModel[];
  readonly prompts: Prompts;
  readonly filters: Filters;
  /** Its upstreams; the local engine stays. */
  close(): Promise<unknown>;
}

export interface PartsDeps {
  readonly transport: Transport;
  /** For addresses that requests bring. */
  readonly publicTransport: Transport;
  readonly local: LocalProvider;
  /** Where the configuration's relative paths begin. */
  readonly folder: string;
  readonly packagedPrompts: string;
  readonly trials: Trials;
  readonly routing: () => Routing;
  readonly price: NonNullable<TargetSource['price']>;
}

/** Builds all of it before any of it serves. Throws ConfigError. */
export async function buildParts(config: Config, deps: PartsDeps): Promise<Parts> {
  const { transport, publicTransport, local, trials, price } = deps;
  const upstreams = Object.entries(config.providers).map(([name, entry]): [string, readonly Provider[]] => [
    name,
    createProviders(name, entry, {
      transport,
      publicTransport,
      onnx: (id, { models }) => createOnnxProvider({ name: id, models }),
    }),
  ]);
  const own = readPromptFiles(resolve(deps.folder, config.prompts.directory));
  const files = { ...readPromptFiles(deps.packagedPrompts), ...own };
  const library = Object.keys(own).length > 0 ? createLibrary(files) : lazyLibrary(() => createLibrary(files));
  const forFilters = await filterParts(config.filters, transport, library, deps.routing);
  const routed = await routedModels(config, new Map([[local.name, [local]], ...upstreams]), trials, price);
  return {
    library,
    models: [...routed, ...moderationModels(config.moderation, forFilters)],
    prompts: createPrompts(library),
    filters: createFilters(config.filters, forFilters),
    close: () => Promise.all(upstreams.flatMap(([, providers]) => providers.map((provider) => provider.close?.()))),
  };
}
