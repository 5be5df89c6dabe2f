import type { LocalProvider } from '../../providers/local.ts';
import { GatewayError } from '../core/errors.ts';
import type { ModelRow, ModelsAdmin } from '../http/routes/dashboard.ts';
import { findModel, listModels, type ModelFile } from '../models/cache.ts';
import { modelSettings } from '../models/settings.ts';
import { type RoutedModel, rulesOf } from '../routing/attempt.ts';
import type { RouteNode, RouteRules } from '../routing/model.ts';
import type { Trial } from '../routing/versions.ts';
import { createPullProgress } from './pull-progress.ts';

export interface ModelsAdminOptions {
  readonly models: () => readonly RoutedModel[];
  readonly local: LocalProvider;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Public models with who serves them, and the model files of this machine. */
export function createModelsAdmin({ models, local, env }: ModelsAdminOptions): ModelsAdmin {
  const settings = modelSettings(env);
  const pullModel = createPullProgress(env, (name) =>
    models().some(({ targets }) =>
      targets.some(({ model, provider }) => provider.capabilities.local && model === name),
    ),
  );

  const list = async (): Promise<readonly ModelRow[]> => {
    const files = await listModels(settings);
    const engines = new Map(local.status().map((engine) => [engine.model, engine]));
    /** By whatever a target calls it: a name, a path, an address, a coordinate of the hub. */
    const known = new Map<string, ModelFile | undefined>();
    for (const { model, provider } of models().flatMap(({ targets }) => targets)) {
      if (provider.capabilities.local) known.set(model, await findModel(model, settings).catch(() => undefined));
    }
    const rows = models().map((model): ModelRow => {
      const own = model.targets.find(({ provider }) => provider.capabilities.local);
      const file = own && known.get(own.model);
      const engine = own && engines.get(own.model);
      return {
        name: model.name,
        state: own ? (engine?.state ?? (file ? 'unloaded' : 'absent')) : 'remote',
        ...(file && { sizeBytes: file.bytes, detail: `${file.parameters} ${file.quantization}` }),
        ...(engine && { engine }),
        versions: versionsOf(rulesOf(model)),
      };
    });
    const served = new Set([...known].map(([model, file]) => file?.name ?? model));
    const spare = files
      .filter(({ name }) => !served.has(name))
      .map(
        (file): ModelRow => ({
          name: file.name,
          state: engines.get(file.name)?.state ?? 'unloaded',
          sizeBytes: file.bytes,
          detail: [file.parameters, file.quantization, 'not served under a public name']
            .filter((part) => part.trim())
            .join(', '),
          versions: [],
        }),
      );
    return [...rows, ...spare];
  };
  /** Undefined for a model that is an upstream's alone: it is always there. */
  const engineName = (name: string) => {
    const model = models().find((one) => one.name === name);
    return model ? model.targets.find(({ provider }) => provider.capabilities.local)?.model : name;
  };

  return {
    list,
    async load(name) {
      const isHere = async () => (await listModels(settings)).some((file) => file.name === name);
      if (!models().some((one) => one.name === name) && !(await isHere())) {
        throw new GatewayError('model_not_found', `The model '${name.slice(0, 200)}' is neither served nor pulled.`, {
          param: 'model',
        });
      }
      const own = engineName(name);
      if (own !== undefined) await local.load(own, AbortSignal.timeout(10 * 60_000));
    },
    async unload(name) {
      const own = engineName(name);
      if (own !== undefined) await local.unload(own);
    },
    async share(name, target, wanted) {
      const model = models().find((one) => one.name === name);
      const found = model && trialOf(rulesOf(model).tree, target);
      if (!found) {
        throw new GatewayError('invalid_request', `'${target}' is no version of a trial of '${name}'.`, {
          param: 'target',
        });
      }
      const candidate = found.version === 'candidate' ? wanted : 1 - wanted;
      found.trial.decide(candidate >= 1 ? 'promoted' : candidate <= 0 ? 'rolled-back' : 'running');
    },
    async pull(name, progress, signal) {
      for await (const { completed, total } of pullModel(name, signal)) {
        if (completed !== undefined) progress(completed, total);
      }
    },
  };
}

/** Who serves a route, with their shares of the traffic; what only stands in when others fail has none. */
function versionsOf({ tree, fallback, overflow }: RouteRules): ModelRow['versions'] {
  const spread = (node: RouteNode, share: number, role?: string, movable = false): ModelRow['versions'] => {
    if (node.kind === 'leaf') {
      return [{ target: node.target.name, share, ...(role !== undefined && { role }), ...(movable && { movable }) }];
    }
    if (node.trial) {
      const state = node.trial.state();
      const candidate = state === 'running' ? node.trial.rule.share : Number(state === 'promoted');
      return node.children.flatMap((child, index) =>
        index === 0
          ? spread(child, share * (1 - candidate), 'stable', true)
          : spread(child, share * candidate, state === 'running' ? 'candidate' : `candidate, ${state}`, true),
      );
    }
    const total = node.children.reduce((sum, { weight }) => sum + weight, 0) || 1;
    return node.children.flatMap((child) => spread(child, (share * child.weight) / total, role, movable));
  };
  return [
    ...spread(tree, 1),
    ...overflow.flatMap((node) => spread(node, 0, 'overflow')),
    ...fallback.flatMap((node) => spread(node, 0, 'fallback')),
  ];
}

/** The trial of which a target is one version, and which. */
function trialOf(
  node: RouteNode,
  target: string,
): { readonly trial: Trial; readonly version: 'stable' | 'candidate' } | undefined {
  if (node.kind === 'leaf') return undefined;
  if (node.trial) {
    const index = node.children.findIndex((child) => holds(child, target));
    if (index >= 0) return { trial: node.trial, version: index === 0 ? 'stable' : 'candidate' };
  }
  for (const child of node.children) {
    const found = trialOf(child, target);
    if (found) return found;
  }
  return undefined;
}

const holds = (node: RouteNode, target: string): boolean =>
  node.kind === 'leaf' ? node.target.name === target : node.children.some((child) => holds(child, target));
