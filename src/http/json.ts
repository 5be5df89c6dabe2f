import type { GatewayError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { encodeError } from '../wire/openai/errors.ts';
import { parseJsonObject, readBody } from './body.ts';
import { type Exchange, endpoint } from './endpoint.ts';
import type { AppContext, HttpDeps } from './env.ts';

/** A route that reads a JSON object and answers with one. */
export function jsonRoute(
  deps: HttpDeps,
  handle: (body: JsonObject, exchange: Exchange, c: AppContext) => Promise<void>,
  errorBody: (error: GatewayError, requestId: string) => object = encodeError,
): (c: AppContext) => Promise<Response> {
  return endpoint(deps, errorBody, async (c, exchange) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    await handle(bytes.length === 0 ? {} : parseJsonObject(bytes), exchange, c);
  });
}

/** A route without a body. */
export function getRoute(
  deps: HttpDeps,
  handle: (exchange: Exchange, c: AppContext) => Promise<void>,
  errorBody: (error: GatewayError, requestId: string) => object = encodeError,
): (c: AppContext) => Promise<Response> {
  return endpoint(deps, errorBody, (c, exchange) => handle(exchange, c));
}

/** The rest of the path after `prefix`, decoded: ids and model names may hold encoded slashes. */
export function pathAfter(c: AppContext, prefix: string): string {
  const path = c.req.path;
  const rest = path.slice(path.indexOf(prefix) + prefix.length);
  try {
    return decodeURIComponent(rest);
  } catch {
    return rest;
  }
}
