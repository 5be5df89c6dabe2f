import { type Clock, systemClock } from '../core/clock.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import { nearestNames } from '../core/nearest.ts';
import type { Route, Routing, Target } from '../core/route.ts';
import type { Attempt, RequestContext } from '../core/run.ts';
import { prime } from '../core/streams.ts';
import { upstreamHeaders } from '../core/trace.ts';

/** A route and the targets that serve it, first choice first. */
export interface RoutedModel extends Route {
  readonly targets: readonly Target[];
}

export function createRouting(models: readonly RoutedModel[], clock: Clock = systemClock): Routing {
  const byName = new Map(models.map((model) => [model.name, model]));
  const find = (model: string): RoutedModel => {
    const route = byName.get(model);
    if (route) return route;
    const near = nearestNames(model, [...byName.keys()]);
    const hint =
      near.length > 0
        ? ` Did you mean ${near.map((name) => `'${name}'`).join(' or ')}?`
        : ' GET /v1/models lists the names.';
    throw new GatewayError('model_not_found', `The model '${model.slice(0, 200)}' does not exist.${hint}`, {
      param: 'model',
    });
  };

  return {
    find,
    routes: () => models,
    async attempt(route, request, context) {
      const attempts: Attempt[] = [];
      let last: GatewayError | undefined;
      for (const target of find(route.name).targets) {
        const startedMs = clock.now();
        try {
          const events = await prime(
            target.provider.stream({ ...request, model: target.model }, optionsOf(context, attempts.length)),
          );
          attempts.push({ target: target.name, startedMs, durationMs: clock.now() - startedMs });
          return { target: target.name, attempts, cache: 'bypass', headers: {}, events };
        } catch (error) {
          last = toGatewayError(error);
          const { kind, message, status } = last;
          attempts.push({
            target: target.name,
            startedMs,
            durationMs: clock.now() - startedMs,
            error: { kind, message, status },
          });
          if (!last.retryable || context.signal.aborted) throw last;
        }
      }
      throw last ?? new GatewayError('unavailable', `No target is configured for the model '${route.name}'.`);
    },
    async call(route, context, use) {
      for (const target of find(route.name).targets) {
        const value = use(target, optionsOf(context, 0));
        if (value) return { target: target.name, value: await value };
      }
      throw new GatewayError('unsupported', `The model '${route.name}' cannot do this.`, { param: 'model' });
    },
  };
}

const optionsOf = (context: RequestContext, attempt: number) => ({
  signal: context.signal,
  tenant: context.caller.tenant,
  headers: upstreamHeaders(context, attempt),
});
