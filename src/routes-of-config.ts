import type { Config } from './config.ts';
import { GatewayError } from './core/errors.ts';
import type { Provider } from './core/provider.ts';
import type { RoutedModel } from './routing/attempt.ts';

/** The configured models with their providers in hand; replicas of one provider are separate targets. */
export function routedModels(
  { models }: Config,
  providers: ReadonlyMap<string, readonly Provider[]>,
): readonly RoutedModel[] {
  return Object.entries(models).map(([name, { targets }]) => ({
    name,
    filters: [],
    targets: targets.flatMap((target) => {
      const found = providers.get(target.provider ?? 'local');
      if (!found) {
        throw new GatewayError(
          'invalid_request',
          `models.${name}: there is no provider '${target.provider ?? 'local'}'.`,
        );
      }
      const model = target.local ?? target.model ?? name;
      return found.map((provider) => ({ name: `${provider.name}/${model}`, provider, model }));
    }),
  }));
}
