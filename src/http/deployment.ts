import type { AppContext } from './env.ts';

/** `/openai/deployments/NAME/…`, and `/openai/…` for what has no model in its path: how Azure's clients say `/v1/…`. */
const azurePath = /^\/openai(?:\/deployments\/[^/]+)?(?=\/)(?!\/v1\/)/;

export const withoutDeployment = (path: string): string => path.replace(azurePath, '/v1');

/** The model that a path of Azure's form names; it rules, whatever the body says. */
export function deploymentOf(c: AppContext): string | undefined {
  const url = c.env?.incoming?.url ?? c.req.url;
  if (!url.includes('/openai/deployments/')) return undefined;
  const name = /^[^?#]*\/openai\/deployments\/([^/?#]+)\//.exec(url)?.[1];
  try {
    return name && decodeURIComponent(name);
  } catch {
    return name;
  }
}
