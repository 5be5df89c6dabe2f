import { GatewayError } from '../core/errors.ts';
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

/** The same where an Idempotency-Key is honoured: what costs money, or makes something that a retry must not make twice. */
export const onceRoute = (
  deps: HttpDeps,
  handle: (body: JsonObject, exchange: Exchange, c: AppContext) => Promise<void>,
): ((c: AppContext) => Promise<Response>) =>
  jsonRoute(deps, async (body, exchange, c) => {
    if (!deps.once || !exchange.context.headers['idempotency-key']) return handle(body, exchange, c);
    const { value, again } = await deps.once(body, exchange.context, async () => {
      let said: JsonAnswer | undefined;
      const json: Exchange['json'] = (answer, status = 200, headers = {}) => {
        said = { text: JSON.stringify(answer), status, headers };
      };
      await handle(body, { ...exchange, json }, c);
      if (!said) throw new GatewayError('internal', 'A route that is asked once did not answer.');
      return { ...said };
    });
    const { text, status, headers } = value as unknown as JsonAnswer; // only what is made above is kept
    exchange.json(JSON.parse(text), status, { ...headers, ...(again && { 'idempotent-replayed': 'true' }) });
  });

interface JsonAnswer {
  readonly text: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** A route without a body. */
export function getRoute(
  deps: HttpDeps,
  handle: (exchange: Exchange, c: AppContext) => Promise<void>,
  errorBody: (error: GatewayError, requestId: string) => object = encodeError,
): (c: AppContext) => Promise<Response> {
  return endpoint(deps, errorBody, (c, exchange) => handle(exchange, c));
}

/** The `:id` of a route's path. */
export const idOf = (c: AppContext): string => c.req.param('id') ?? '';

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
