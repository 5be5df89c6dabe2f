import { GatewayError } from '../core/errors.ts';
import type { Route } from '../core/route.ts';
import type { Caller } from '../core/run.ts';

/** Whether a list of names, some ending in `*`, holds `name`. An absent list holds everything. */
function inScope(names: readonly string[] | undefined, name: string): boolean {
  return (
    !names || names.some((entry) => entry === name || (entry.endsWith('*') && name.startsWith(entry.slice(0, -1))))
  );
}

/** Whether the caller’s key allows the model. */
export const mayUse = (route: Route, caller: Caller): boolean => inScope(caller.models, route.name);

/** Throws forbidden where the caller's scopes do not hold the model or the endpoint. Endpoints may leave `/v1` out. */
export function checkScope(route: Route, caller: Caller, endpoint: string): void {
  if (!mayUse(route, caller)) {
    throw new GatewayError('forbidden', `This key may not use the model '${route.name}'.`, { param: 'model' });
  }
  checkEndpoint(caller, endpoint);
}

/** The same for calls that name no model. */
export function checkEndpoint(caller: Caller, endpoint: string): void {
  if (!caller.endpoints) return;
  const bare = (path: string) => path.replace(/^\/v1(?=\/)/, '');
  if (!inScope(caller.endpoints.map(bare), bare(endpoint))) {
    throw new GatewayError('forbidden', `This key may not use ${endpoint}.`);
  }
}
