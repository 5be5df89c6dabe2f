import type { Config } from './config.ts';
import type { Provider } from './core/provider.ts';
import type { RoutedModel } from './routing/attempt.ts';
import { resolveRoutes, type TargetSource, type Trials } from './routing/resolve.ts';
import { nearest } from './routing/strategies/nearest.ts';

/** The configured models with their providers in hand; replicas of one provider are separate targets. */
export async function routedModels(
  config: Pick<Config, 'models' | 'providers' | 'cache'>,
  providers: ReadonlyMap<string, readonly Provider[]>,
  trials?: Trials,
  price?: TargetSource['price'],
): Promise<readonly RoutedModel[]> {
  // CEL and RE2 are a quarter of a worker: only who has a condition loads them.
  const conditions = hasCondition(config.models) ? await import('./routing/conditions.ts') : undefined;
  const shown = namesOfFiles();
  return resolveRoutes(
    withResponseCache(config),
    {
      find(name, model) {
        const entry = config.providers[name];
        const balance = entry && 'balance' in entry ? entry.balance : undefined;
        const label = entry ? model : shown(model);
        const targets = providers
          .get(name)
          ?.map((provider) => ({ name: `${provider.name}/${label}`, provider, model }));
        // Several gateways serve what is local only at the edge.
        const strategy = entry ? undefined : nearest;
        return targets && { targets, ...(balance !== undefined && { balance }), ...(strategy && { strategy }) };
      },
      ...(price && { price }),
      ...(conditions && { condition: conditions.compileCondition }),
    },
    trials,
  );
}

/**
 * What callers see of a local model that is a path or an address: its last part, as they get the target's name in a header
 * and where a file lies is not theirs to know. Two files of one name stay two.
 */
function namesOfFiles(): (model: string) => string {
  const given = new Map<string, string>();
  return (model) => {
    const [path = ''] = model.split('?');
    const file = /^[.~/\\]|^[a-z]:[\\/]|:\/\/|\.gguf$/i.test(path) && path.split(/[\\/]/).findLast(Boolean);
    if (!file || model.startsWith('hf:')) return model;
    let name = file;
    for (let other = 2; (given.get(name) ?? model) !== model; other++) name = `${file}~${other}`;
    given.set(name, model);
    return name;
  };
}

/** The response cache of all models, for those that have no rule of their own. */
function withResponseCache({ models, cache: { response } }: Pick<Config, 'models' | 'cache'>): Config['models'] {
  if (!response) return models;
  return Object.fromEntries(Object.entries(models).map(([name, model]) => [name, { cache: response, ...model }]));
}

const hasCondition = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('when' in value || Object.values(value).some(hasCondition));
