import type { Handler, RouteEntry } from './deps.ts';
import type { AppContext, AppRequest, NodeBindings, NodeRequest, NodeResponse } from './env.ts';

/** Handlers by path, then method. */
export type DirectRoutes = ReadonlyMap<string, ReadonlyMap<string, Handler>>;

/**
 * The routes that a server may call by the path alone, without a web `Request` and a router: for Node, where those cost
 * as much as decoding the request. All of them write their answer to node's response; what is asked in any other way
 * (a query, a slash too many, another method) takes the general way through Hono.
 */
export function directRoutes(routes: readonly RouteEntry[]): DirectRoutes {
  const direct = new Map<string, Map<string, Handler>>();
  for (const [method, path, handler] of routes) {
    if (method !== 'POST' || path.includes(':')) continue;
    const methods = direct.get(path) ?? new Map<string, Handler>();
    if (!methods.has(method)) methods.set(method, handler);
    direct.set(path, methods);
  }
  return direct;
}

/** A request that came to `route` itself, as its handler sees it. */
export class DirectContext implements AppContext {
  readonly env: NodeBindings;
  readonly req: AppRequest;
  readonly route: string;

  constructor(route: string, incoming: NodeRequest, outgoing: NodeResponse) {
    this.env = { incoming, outgoing };
    this.req = new DirectRequest(route, incoming);
    this.route = route;
  }
}

class DirectRequest implements AppRequest {
  readonly path: string;
  readonly method: string;
  readonly #incoming: NodeRequest;

  constructor(path: string, incoming: NodeRequest) {
    this.path = path;
    this.method = incoming.method ?? 'POST';
    this.#incoming = incoming;
  }

  get url(): string {
    return `http://${this.#incoming.headers['host'] ?? 'localhost'}${this.path}`;
  }

  get raw(): Request {
    const { method, url } = this;
    return new Request(url, { method });
  }

  param(): undefined {
    return undefined;
  }

  query(): Record<string, string>;
  query(name: string): undefined;
  query(name?: string): Record<string, string> | undefined {
    return name === undefined ? {} : undefined;
  }
}
