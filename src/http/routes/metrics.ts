import { GatewayError } from '../../core/errors.ts';
import type { Caller } from '../../core/run.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import type { RouteEntry } from '../deps.ts';
import { endpoint } from '../endpoint.ts';
import type { HttpDeps } from '../env.ts';

/** What a scrape gets. */
export interface Exposition {
  readonly contentType: string;
  expose(): Promise<string>;
}

/** `/metrics`, for whoever may administer, or holds a key that names this endpoint, or for all where `open`. */
export function metricsRoutes(
  deps: HttpDeps,
  metrics: Exposition,
  { open = false }: { readonly open?: boolean } = {},
): readonly RouteEntry[] {
  const scrape = endpoint(
    deps,
    encodeError,
    async (_c, { context, sink, headers }) => {
      if (!open && !mayScrape(context.caller)) {
        throw new GatewayError('forbidden', "Use an admin key, or one whose endpoints include '/metrics'.");
      }
      const text = await metrics.expose();
      sink.start(200, { ...headers, 'content-type': metrics.contentType, 'cache-control': 'no-store' });
      sink.end(text);
    },
    { authenticated: !open },
  );
  return [['GET', '/metrics', scrape]];
}

const mayScrape = ({ role, endpoints }: Caller) => role === 'admin' || (endpoints?.includes('/metrics') ?? false);
