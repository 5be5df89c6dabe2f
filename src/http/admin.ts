import { GatewayError } from '../core/errors.ts';
import { encodeError } from '../wire/openai/errors.ts';
import { type Exchange, endpoint } from './endpoint.ts';
import type { AppContext, HttpDeps } from './env.ts';

/** A route for admins only: everybody on an open gateway, holders of an admin key otherwise. */
export const adminEndpoint = (deps: HttpDeps, handle: (c: AppContext, exchange: Exchange) => Promise<void>) =>
  endpoint(deps, encodeError, async (c, exchange) => {
    if (exchange.context.caller.role !== 'admin') throw new GatewayError('forbidden', 'This needs an admin key.');
    await handle(c, exchange);
  });
