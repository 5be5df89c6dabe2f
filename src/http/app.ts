import { HonoBase as Hono } from 'hono/hono-base';
import { TrieRouter } from 'hono/router/trie-router';
import { getPath } from 'hono/utils/url';
import { GatewayError } from '../core/errors.ts';
import { apiRoutes } from './api.ts';
import { preflightHeaders } from './cors.ts';
import { withoutDeployment } from './deployment.ts';
import type { AppDeps, Handler, RouteEntry } from './deps.ts';
import { type DirectRoutes, directRoutes } from './direct.ts';
import { endpoint, originsOf } from './endpoint.ts';
import { type AppContext, type AppEnv, headersOf } from './env.ts';
import { envelopeOf } from './envelope.ts';
import { live, ready } from './routes/health.ts';
import { getModel, listModels } from './routes/models.ts';
import { createStreamLogs } from './stream-log.ts';

export type { AppDeps, Handler, RouteEntry };

/** All routes, in one table. */
function routes(deps: AppDeps): readonly RouteEntry[] {
  return [
    ['GET', '/v1/models', listModels(deps, deps.describeModel)],
    ['GET', '/v1/models/:id{.+}', getModel(deps, deps.describeModel)],
    ['GET', '/health', ready(deps, deps.health)],
    ['GET', '/health/live', live(deps)],
    ['GET', '/health/ready', ready(deps, deps.health)],
    ...apiRoutes(deps),
    ...(deps.routes ?? []),
  ];
}

export type App = Hono<AppEnv> & { readonly direct: DirectRoutes };

/** All routes with their errors; `direct` are those that node:http may call without a `Request`. */
export function createApp(given: AppDeps): App {
  const deps = { ...given, streams: given.streams ?? createStreamLogs() };
  const app = new Hono<AppEnv>({ getPath: plainPath, router: new TrieRouter() });
  const methods = new Map<string, string[]>();
  const table = routes(deps).flatMap(withAlias);
  for (const [method, path, handler] of table) {
    app.on(method, path, handler);
    methods.set(path, [...(methods.get(path) ?? []), method]);
  }
  app.options('*', async (c) => {
    return new Response(null, { status: 204, headers: preflightHeaders(headersOf(c), await originsOf(deps)) });
  });
  for (const [path, allowed] of methods) app.all(path, methodNotAllowed(deps, allowed));
  app.notFound((c) => endpoint(deps, envelopeOf(c), () => Promise.reject(unknownUrl(c)), { authenticated: false })(c));
  return Object.assign(app, { direct: directRoutes(table) });
}

const withAlias = (entry: RouteEntry): readonly RouteEntry[] => {
  const [method, path, handler] = entry;
  return path.startsWith('/v1/') ? [entry, [method, path.slice('/v1'.length), handler]] : [entry];
};

/**
 * People's base URLs end in a slash, or don't, and in a `/v1` that the client adds too: `//` means `/`, `/v1/v1` is `/v1`.
 * Groq's SDK adds `/openai/v1` to each, Azure's clients `/openai/deployments/NAME`.
 */
function plainPath(request: Request): string {
  const path = getPath(request);
  const isOdd = path.includes('//') || path.endsWith('/') || prefixed.test(path) || path.startsWith('/openai/');
  if (path.length < 2 || !isOdd) return path;
  const plain = path
    .replace(/\/{2,}/g, '/')
    .replace(/(?<=.)\/$/, '')
    .replace(prefixed, '');
  return withoutDeployment(plain);
}

const prefixed = /^(?:\/v1|(?:\/v1)?\/openai)(?=\/v1\/)/;

function unknownUrl(c: AppContext): GatewayError {
  const path = c.req.path.slice(0, 200);
  const message = `Unknown request URL: ${c.req.method} ${path}. GET /docs shows what there is.`;
  return new GatewayError('not_found', message, { code: 'unknown_url' });
}

function methodNotAllowed(deps: AppDeps, allowed: readonly string[]): Handler {
  const allow = allowed.join(', ');
  const refuse = ({ req }: AppContext) =>
    new GatewayError('method_not_allowed', `${req.method} is not allowed here; use ${allow}.`, { headers: { allow } });
  return (c) => endpoint(deps, envelopeOf(c), () => Promise.reject(refuse(c)), { authenticated: false })(c);
}
