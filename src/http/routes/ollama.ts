import { GatewayError, toGatewayError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import type { RequestContext } from '../../core/run.ts';
import { isLoadRequest, ollamaModel } from '../../wire/ollama/decode.ts';
import { ndjson } from '../../wire/ollama/encode.ts';
import { encodeOllamaError } from '../../wire/ollama/errors.ts';
import { ollamaChat, ollamaGenerate } from '../../wire/ollama/format.ts';
import { encodeOllamaRunning, encodeOllamaShow, encodeOllamaTags } from '../../wire/ollama/models.ts';
import { ollamaEmbedSchema, ollamaModelSchema, ollamaPullSchema } from '../../wire/ollama/schema.ts';
import type { ModelEntry } from '../../wire/openai/models.ts';
import { missingParameter, parseBody } from '../../wire/validate.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { endpoint } from '../endpoint.ts';
import { type AppContext, type HttpDeps, headersOf } from '../env.ts';
import { answer } from '../generation.ts';
import { getRoute, jsonRoute } from '../json.ts';
import type { ModelControl } from './model-control.ts';
import type { DescribeModel } from './models.ts';
import { embedding } from './whole-calls.ts';

/** Fetches a model by name and tells how far it is; only a root with a model store has it. */
export type PullModel = (
  name: string,
  signal: AbortSignal,
) => AsyncIterable<{
  readonly status: string;
  readonly digest?: string;
  readonly completed?: number;
  readonly total?: number;
}>;

/** `/api/chat` and `/api/generate`; without anything to answer they only load the model. */
export function ollamaGeneration(
  deps: HttpDeps,
  kind: 'chat' | 'generate',
  control?: ModelControl,
): (c: AppContext) => Promise<Response> {
  const format = kind === 'chat' ? ollamaChat : ollamaGenerate;
  return endpoint(deps, format.encodeError, async (c, exchange) => {
    const bytes = await readBody(c, deps.options.maxBodyBytes);
    const body = parseJsonObject(bytes);
    if (isLoadRequest(body)) {
      exchange.json(await loaded(deps, control, body, kind === 'chat', exchange.context));
      return;
    }
    await answer(deps, format, format.decode(body, { bytes, headers: headersOf(c) }), exchange);
  });
}

/** Anybody may wake a model up; only an administrator may put one to sleep. */
async function loaded(
  deps: HttpDeps,
  control: ModelControl | undefined,
  body: JsonObject,
  chat: boolean,
  context: RequestContext,
): Promise<object> {
  const name = modelName(body);
  const model = deps.gateway.model(ollamaModel(name), context).name; // throws model_not_found
  if (body['keep_alive'] !== 0) await control?.load?.(model);
  else if (context.caller.role === 'admin') await control?.unload?.(model);
  return {
    model: name,
    created_at: new Date().toISOString(),
    ...(chat ? { message: { role: 'assistant', content: '' } } : { response: '' }),
    done: true,
    done_reason: body['keep_alive'] === 0 ? 'unload' : 'load',
  };
}

function modelName(body: JsonObject): string {
  const { model, name } = parseBody(ollamaModelSchema(), body);
  const asked = model ?? name;
  if (asked) return asked;
  throw missingParameter('model');
}

async function entries(deps: HttpDeps, describe: DescribeModel, context: RequestContext): Promise<ModelEntry[]> {
  const models = deps.gateway.models(context);
  return Promise.all(models.map(async ({ name }) => ({ id: name, ...(await describe(name, context)) })));
}

export const ollamaTags = (deps: HttpDeps, describe: DescribeModel) =>
  getRoute(
    deps,
    async ({ context, json }) => json(encodeOllamaTags(await entries(deps, describe, context))),
    encodeOllamaError,
  );

export const ollamaRunning = (deps: HttpDeps, describe: DescribeModel) =>
  getRoute(
    deps,
    async ({ context, json }) => json(encodeOllamaRunning(await entries(deps, describe, context))),
    encodeOllamaError,
  );

export const ollamaShow = (deps: HttpDeps, describe: DescribeModel) =>
  jsonRoute(
    deps,
    async (body, { context, json }) => {
      const { name } = deps.gateway.model(ollamaModel(modelName(body)), context);
      json(encodeOllamaShow({ id: name, ...(await describe(name, context)) }));
    },
    encodeOllamaError,
  );

/** Newer than any that clients ask for: they compare it with the features they want. */
export const ollamaVersion = (deps: HttpDeps) =>
  endpoint(deps, encodeOllamaError, async (_c, { json }) => json({ version: '0.12.0' }), { authenticated: false });

/** `/api/embed` answers many inputs, the older `/api/embeddings` one prompt. */
export const ollamaEmbed = (deps: HttpDeps, old: boolean) =>
  jsonRoute(
    deps,
    async (body, { context, json }) => {
      const { model: asked, input, prompt, dimensions } = parseBody(ollamaEmbedSchema(), body);
      const texts = input ?? prompt ?? [];
      const inputs = typeof texts === 'string' ? [texts] : texts;
      const startedMs = performance.now();
      const { value } = await deps.gateway.call(
        {
          model: ollamaModel(asked),
          tokens: inputs.reduce((sum, text) => sum + Math.ceil(text.length / 4), 0),
          ...embedding({ model: asked, inputs, extensions: {}, ...(dimensions == null ? {} : { dimensions }) }),
          spent: (result) => result.usage.promptTokens,
        },
        context,
      );
      const vectors = value.vectors.map((vector) => Array.from(vector));
      if (old) {
        json({ embedding: vectors[0] ?? [] });
        return;
      }
      json({
        model: asked,
        embeddings: vectors,
        total_duration: Math.round((performance.now() - startedMs) * 1e6),
        load_duration: 0,
        prompt_eval_count: value.usage.promptTokens,
      });
    },
    encodeOllamaError,
  );

/** What Ollama can and a gateway of configured models does not; said openly, so that an app tells its user. */
export const ollamaRefusal = (deps: HttpDeps, what: string) =>
  endpoint(deps, encodeOllamaError, async (_c, { context }) => {
    if (context.caller.role !== 'admin') throw new GatewayError('forbidden', 'Only an administrator changes models.');
    throw new GatewayError('unsupported', what);
  });

/** Fetches for an administrator; for others a model is served already, or it is not there. */
export const ollamaPull = (deps: HttpDeps, pull: PullModel | undefined) =>
  jsonRoute(
    deps,
    async (body, { context, json, sink, headers }) => {
      const { stream } = parseBody(ollamaPullSchema(), body);
      const name = ollamaModel(modelName(body));
      const mayFetch = pull && context.caller.role === 'admin';
      if (!mayFetch) deps.gateway.model(name, context); // known already, or model_not_found
      const progress = mayFetch ? pull(name, context.signal) : [];
      if (stream === false) {
        for await (const _ of progress); // the end is all that is asked for
        json({ status: 'success' });
        return;
      }
      try {
        for await (const step of progress) {
          if (!sink.started) sink.start(200, { ...headers, 'content-type': ndjson });
          await sink.write(`${JSON.stringify(step)}\n`);
        }
        if (!sink.started) sink.start(200, { ...headers, 'content-type': ndjson });
        sink.end('{"status":"success"}\n');
      } catch (error) {
        if (!sink.started) throw error;
        sink.end(`${JSON.stringify(encodeOllamaError(toGatewayError(error)))}\n`);
      }
    },
    encodeOllamaError,
  );
