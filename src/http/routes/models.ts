import type { ModelInfo } from '../../core/provider.ts';
import type { RequestContext } from '../../core/run.ts';
import { encodeModel, encodeModelList } from '../../wire/openai/models.ts';
import { endpoint } from '../endpoint.ts';
import type { AppContext, HttpDeps } from '../env.ts';
import { envelopeOf } from '../envelope.ts';
import { pathAfter } from '../json.ts';

/** What is known of a public model beyond its name: who serves it, context length, state. */
export type DescribeModel = (
  name: string,
  context: RequestContext,
) => Promise<{ readonly ownedBy: string; readonly created: number; readonly info?: ModelInfo }>;

/** Both SDKs list models here, OpenAI's and Anthropic's: the entries suit both, and a fault has the envelope of its asker. */
export const listModels = (deps: HttpDeps, describe: DescribeModel) => (c: AppContext) =>
  endpoint(deps, envelopeOf(c), async (_c, { context, json }) => {
    const models = deps.gateway
      .models(context)
      .map(async ({ name }) => ({ id: name, ...(await describe(name, context)) }));
    json(encodeModelList(await Promise.all(models)));
  })(c);

export const getModel = (deps: HttpDeps, describe: DescribeModel) => (c: AppContext) =>
  endpoint(deps, envelopeOf(c), async (_c, { context, json }) => {
    const { name } = deps.gateway.model(pathAfter(c, '/models/'), context);
    json(encodeModel({ id: name, ...(await describe(name, context)) }));
  })(c);
