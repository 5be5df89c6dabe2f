import { GatewayError } from '../../src/core/errors.ts';
import { isJsonObject, type JsonObject, objectOf, objectsOf } from '../../src/core/json.ts';
import type { ModelInfo, Provider } from '../../src/core/provider.ts';
import { readBytes } from '../shared/read-body.ts';
import type { Upstream } from '../shared/upstream.ts';

/** Paths below the base URL; `{model}` is replaced by the target's model. */
export interface OpenAiPaths {
  readonly chat: string;
  readonly completions: string;
  readonly responses: string;
  readonly embeddings: string;
  readonly moderations: string;
  readonly models: string;
  /** Not of OpenAI's API, but of many servers'. */
  readonly rerank?: string;
}

export const openAiPaths: OpenAiPaths = {
  chat: '/chat/completions',
  completions: '/completions',
  responses: '/responses',
  embeddings: '/embeddings',
  moderations: '/moderations',
  models: '/models',
};

/** The path for a model, where the address names it (`{model}`). */
export const pathFor = (path: string, model: string): string =>
  path.includes('{model}') ? path.replace('{model}', encodeURIComponent(model)) : path;

/** Everything that answers as a whole: embeddings, moderations, rerank, listings, and bodies handed on as they are. */
export function wholeCalls(
  upstream: Upstream,
  paths: OpenAiPaths,
  able: { readonly embeddings: boolean },
): Omit<Provider, 'name' | 'capabilities' | 'stream'> {
  const { rerank } = paths;
  const list = { method: 'GET', path: paths.models } as const;
  return {
    ...(able.embeddings ? { embed: embedThrough(upstream, paths.embeddings) } : {}),
    moderate: moderateThrough(upstream, paths.moderations),
    ...(rerank === undefined ? {} : { rerank: rerankThrough(upstream, rerank) }),
    async forward({ path, method, headers, body }, options) {
      const verb = method === 'GET' || method === 'DELETE' || method === 'PUT' ? method : 'POST';
      return upstream.send({ method: verb, path, headers, ...(body === undefined ? {} : { body }) }, options);
    },
    models: async (options) => decodeModels((await upstream.json(list, options)).body),
    ping: async (options) => {
      await readBytes((await upstream.send(list, options)).body);
    },
  };
}

function embedThrough(upstream: Upstream, path: string): NonNullable<Provider['embed']> {
  return async ({ model, inputs, dimensions, user, extensions }, options) => {
    const body = JSON.stringify({
      ...extensions,
      model,
      input: inputs,
      encoding_format: 'float',
      ...(dimensions === undefined ? {} : { dimensions }),
      ...(user === undefined ? {} : { user }),
    });
    const answer = objectOf((await upstream.json({ path: pathFor(path, model), body }, options)).body);
    const vectors: (readonly number[] | Float32Array)[] = [];
    for (const [at, entry] of objectsOf(answer['data']).entries()) {
      vectors[typeof entry['index'] === 'number' ? entry['index'] : at] = vectorOf(entry['embedding']);
    }
    if (vectors.length !== inputs.length || vectors.includes(undefined as never)) {
      throw new GatewayError('upstream_failed', 'The upstream did not answer with one vector per input.');
    }
    return {
      ...(typeof answer['model'] === 'string' ? { model: answer['model'] } : {}),
      vectors,
      usage: promptUsage(answer),
    };
  };
}

/** Numbers, or base64 of little-endian float32, which some servers send whatever was asked for. */
function vectorOf(embedding: unknown): readonly number[] | Float32Array {
  if (Array.isArray(embedding)) return embedding;
  if (typeof embedding !== 'string')
    throw new GatewayError('upstream_failed', 'The upstream sent a vector that is none.');
  const bytes = Uint8Array.from(atob(embedding), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 2 }, (_, index) => view.getFloat32(index * 4, true));
}

function moderateThrough(upstream: Upstream, path: string): NonNullable<Provider['moderate']> {
  return async ({ model, inputs, parts }, options) => {
    const body = JSON.stringify({ ...(model === undefined ? {} : { model }), input: parts ?? inputs });
    const answer = objectOf((await upstream.json({ path: pathFor(path, model ?? ''), body }, options)).body);
    return {
      model: typeof answer['model'] === 'string' ? answer['model'] : (model ?? ''),
      results: objectsOf(answer['results']).map((result) => ({
        flagged: result['flagged'] === true,
        categories: objectOf(result['categories']) as Readonly<Record<string, boolean>>, // as documented
        scores: objectOf(result['category_scores']) as Readonly<Record<string, number>>, // as documented
        ...(isJsonObject(result['category_applied_input_types']) && {
          inputTypes: result['category_applied_input_types'] as Readonly<Record<string, readonly string[]>>, // as documented
        }),
      })),
    };
  };
}

/** The form that Jina made common (https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#re-rank-api). */
function rerankThrough(upstream: Upstream, path: string): NonNullable<Provider['rerank']> {
  return async ({ model, query, documents, topN, extensions }, options) => {
    const body = JSON.stringify({
      ...extensions,
      model,
      query,
      documents,
      ...(topN === undefined ? {} : { top_n: topN }),
    });
    const answer = objectOf((await upstream.json({ path: pathFor(path, model), body }, options)).body);
    const results = objectsOf(answer['results']).map((entry) => ({
      index: Number(entry['index']),
      score: Number(entry['relevance_score'] ?? entry['score']),
    }));
    return { results: results.sort((a, b) => b.score - a.score), usage: promptUsage(answer) };
  };
}

function promptUsage(answer: JsonObject) {
  const usage = objectOf(answer['usage']);
  const tokens = usage['prompt_tokens'] ?? usage['total_tokens'];
  return { promptTokens: typeof tokens === 'number' ? tokens : 0, completionTokens: 0 };
}

function decodeModels(body: unknown): ModelInfo[] {
  return objectsOf(Array.isArray(body) ? body : objectOf(body)['data']).flatMap((entry) => {
    const { id, context_length: length } = entry;
    const contextTokens = typeof length === 'number' ? length : entry['max_model_len'];
    return typeof id === 'string' ? [{ id, ...(typeof contextTokens === 'number' ? { contextTokens } : {}) }] : [];
  });
}
