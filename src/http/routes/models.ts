import type { ModelInfo } from '../../core/provider.ts';
import type { RequestContext } from '../../core/run.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import { encodeModel, encodeModelList } from '../../wire/openai/models.ts';
import { endpoint } from '../endpoint.ts';
import type { HttpDeps } from '../env.ts';

/** What is known of a public model beyond its name: who serves it, context length, state. */
export type DescribeModel = (
  name: string,
  context: RequestContext,
) => Promise<{ readonly ownedBy: string; readonly created: number; readonly info?: ModelInfo }>;

export function listModels(deps: HttpDeps, describe: DescribeModel) {
  return endpoint(deps, encodeError, async (_c, { context, json }) => {
    const models = deps.gateway
      .models(context)
      .map(async ({ name }) => ({ id: name, ...(await describe(name, context)) }));
    json(encodeModelList(await Promise.all(models)));
  });
}

export function getModel(deps: HttpDeps, describe: DescribeModel) {
  return endpoint(deps, encodeError, async (c, { context, json }) => {
    const { name } = deps.gateway.model(decodeURIComponent(c.req.path.replace(/^.*?\/models\//, '')), context);
    json(encodeModel({ id: name, ...(await describe(name, context)) }));
  });
}
