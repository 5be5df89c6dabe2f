import type { Config } from './config.ts';
import type { Provider } from './core/provider.ts';
import type { RoutedModel } from './routing/attempt.ts';
import { resolveRoutes, type TargetSource, type Trials } from './routing/resolve.ts';

/** The configured models with their providers in hand; replicas of one provider are separate targets. */
export function routedModels(
  config: Pick<Config, 'models' | 'providers'>,
  providers: ReadonlyMap<string, readonly Provider[]>,
  trials?: Trials,
  price?: TargetSource['price'],
): readonly RoutedModel[] {
  return resolveRoutes(
    config.models,
    {
      find(name, model) {
        const entry = config.providers[name];
        const balance = entry && 'balance' in entry ? entry.balance : undefined;
        const targets = providers
          .get(name)
          ?.map((provider) => ({ name: `${provider.name}/${model}`, provider, model }));
        return targets && { targets, ...(balance !== undefined && { balance }) };
      },
      ...(price && { price }),
    },
    trials,
  );
}
