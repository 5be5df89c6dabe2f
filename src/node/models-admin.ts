import type { LocalProvider } from '../../providers/local.ts';
import type { ModelRow, ModelsAdmin } from '../http/routes/dashboard.ts';
import { listModels } from '../models/cache.ts';
import { pullModel } from '../models/pull.ts';
import { modelSettings } from '../models/settings.ts';
import { type RoutedModel, rulesOf } from '../routing/attempt.ts';
import type { RouteNode, RouteRules } from '../routing/model.ts';

export interface ModelsAdminOptions {
  readonly models: () => readonly RoutedModel[];
  readonly local: LocalProvider;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Public models with who serves them, and the model files of this machine. */
export function createModelsAdmin({ models, local, env }: ModelsAdminOptions): ModelsAdmin {
  const settings = modelSettings(env);

  const list = async (): Promise<readonly ModelRow[]> => {
    const files = await listModels(settings);
    const states = new Map(local.status().map(({ model, state }) => [model, state]));
    const fileOf = (name: string) => files.find((file) => file.name === name || file.aliases.includes(name));
    const rows = models().map((model): ModelRow => {
      const own = model.targets.find(({ provider }) => provider.capabilities.local);
      const file = own && fileOf(own.model);
      return {
        name: model.name,
        state: own ? (states.get(own.model) ?? (file ? 'unloaded' : 'absent')) : 'remote',
        ...(file && { sizeBytes: file.bytes, detail: `${file.parameters} ${file.quantization}` }),
        versions: versionsOf(rulesOf(model)),
      };
    });
    const served = new Set(models().flatMap(({ targets }) => targets.map(({ model }) => fileOf(model)?.name ?? model)));
    const spare = files
      .filter(({ name }) => !served.has(name))
      .map(
        (file): ModelRow => ({
          name: file.name,
          state: states.get(file.name) ?? 'unloaded',
          sizeBytes: file.bytes,
          detail: [file.parameters, file.quantization, 'not served under a public name']
            .filter((part) => part.trim())
            .join(', '),
          versions: [],
        }),
      );
    return [...rows, ...spare];
  };
  const engineName = (name: string) => {
    const model = models().find((one) => one.name === name);
    return model?.targets.find(({ provider }) => provider.capabilities.local)?.model ?? name;
  };

  return {
    list,
    load: (name) => local.load(engineName(name), AbortSignal.timeout(10 * 60_000)),
    async unload(name) {
      await local.unload(engineName(name));
    },
    async pull(name, progress, signal) {
      await pullModel(name, { settings, signal, onProgress: ({ received, total }) => progress(received, total) });
    },
  };
}

/** Who serves a route, with their shares of the traffic; what only stands in when others fail has none. */
function versionsOf({ tree, fallback, overflow }: RouteRules): ModelRow['versions'] {
  const spread = (node: RouteNode, share: number, role?: string): ModelRow['versions'] => {
    if (node.kind === 'leaf') return [{ target: node.target.name, share, ...(role !== undefined && { role }) }];
    const total = node.children.reduce((sum, { weight }) => sum + weight, 0) || 1;
    return node.children.flatMap((child, index) =>
      spread(child, (share * child.weight) / total, node.trial ? (index === 0 ? 'stable' : node.trial.state()) : role),
    );
  };
  return [
    ...spread(tree, 1),
    ...overflow.flatMap((node) => spread(node, 0, 'overflow')),
    ...fallback.flatMap((node) => spread(node, 0, 'fallback')),
  ];
}
