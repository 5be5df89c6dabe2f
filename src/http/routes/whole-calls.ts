import { randomId } from '../../core/clock.ts';
import { GatewayError } from '../../core/errors.ts';
import { objectsOf } from '../../core/json.ts';
import type { CallOptions, EmbeddingRequest } from '../../core/provider.ts';
import type { ChatRequest } from '../../core/request.ts';
import { heldIn, holding, leftOutWarning, textOf } from '../../core/request.ts';
import type { Target } from '../../core/route.ts';
import type { RequestContext } from '../../core/run.ts';
import { decodeChatRequest } from '../../wire/openai/decode.ts';
import { decodeEmbeddingRequest, encodeEmbeddings } from '../../wire/openai/embeddings.ts';
import { decodeModerationRequest, encodeModeration } from '../../wire/openai/moderations.ts';
import { decodeRerankRequest, encodeRerank } from '../../wire/openai/rerank.ts';
import { decodeDetokenize, decodeTokenize } from '../../wire/openai/tokens.ts';
import type { HttpDeps } from '../env.ts';
import { jsonRoute, onceRoute } from '../json.ts';

/** Tokens of texts before they are counted: about four characters each. */
const estimate = (texts: readonly (string | readonly number[])[]): number =>
  texts.reduce((sum, text) => sum + (typeof text === 'string' ? Math.ceil(text.length / 4) : text.length), 0);

const targetHeader = (target: string, ignored: readonly string[] = []) => ({
  'x-tidegate-target': target,
  ...(ignored.length > 0 ? { 'x-tidegate-warning': leftOutWarning(ignored) } : {}),
});

/** How a model is asked for vectors, of what filters left of the texts. */
export const embedding = (request: EmbeddingRequest) => ({
  holds: holding(request.model, request.inputs, { user: request.user, extensions: request.extensions }),
  use: ({ provider, model }: Target, options: CallOptions, held: ChatRequest) => {
    const { user, extensions } = held;
    const inputs = heldIn(held, request.inputs);
    return provider.embed?.({ ...request, model, inputs, ...(user !== undefined && { user }), extensions }, options);
  },
});

export const embeddings = (deps: HttpDeps) =>
  onceRoute(deps, async (body, { context, json }) => {
    const { request, encoding } = decodeEmbeddingRequest(body);
    const { target, value, headers } = await deps.gateway.call(
      {
        model: request.model,
        ...embedding(request),
        tokens: estimate(request.inputs),
        spent: (result) => result.usage.promptTokens,
      },
      context,
    );
    const told = { ...headers, ...targetHeader(target, value.ignored) };
    json(encodeEmbeddings(value, request.model, encoding), 200, told);
  });

export const rerank = (deps: HttpDeps) =>
  onceRoute(deps, async (body, { context, json }) => {
    const { request, returnDocuments } = decodeRerankRequest(body);
    const words = [request.query, ...request.documents];
    const { target, value, headers } = await deps.gateway.call(
      {
        model: request.model,
        tokens: estimate(words),
        holds: holding(request.model, words, { extensions: request.extensions ?? {} }),
        use: ({ provider, model }, options, held) => {
          const [query = '', ...documents] = heldIn(held, words);
          const extensions = request.extensions && held.extensions;
          return provider.rerank?.({ ...request, model, query, documents, ...(extensions && { extensions }) }, options);
        },
        spent: (result) => result.usage.promptTokens,
      },
      context,
    );
    const told = { ...headers, ...targetHeader(target, value.ignored) };
    json(encodeRerank(value, request, randomId(''), returnDocuments), 200, told);
  });

/** Without a model of its own a request goes to the first model here that can moderate. */
export const moderations = (deps: HttpDeps) =>
  onceRoute(deps, async (body, { context, json }) => {
    const request = decodeModerationRequest(body);
    const names = deps.gateway.models(context).map((route) => route.name);
    const candidates = request.model !== undefined && names.includes(request.model) ? [request.model] : names;
    let blocked: GatewayError | undefined;
    for (const name of candidates) {
      try {
        const { target, value, headers } = await deps.gateway.call(
          {
            model: name,
            tokens: estimate(request.inputs),
            holds: holding(name, request.inputs, { extensions: { parts: request.parts ?? [] } }),
            use: ({ provider, model }, options, held) => {
              if (request.parts && !provider.capabilities.images) return undefined;
              const parts = request.parts && { parts: objectsOf(held.extensions['parts']) };
              return provider.moderate?.(
                { ...request, model, inputs: heldIn(held, request.inputs), ...parts },
                options,
              );
            },
            spent: () => estimate(request.inputs),
          },
          context,
        );
        json(encodeModeration(value, randomId('')), 200, { ...headers, ...targetHeader(target) });
        return;
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
        if (error.kind === 'content_blocked') {
          blocked = error; // by the filters of a model that perhaps could not anyway
        } else if (error.kind !== 'unsupported') throw error;
      }
    }
    if (blocked) throw blocked;
    throw request.parts
      ? new GatewayError('unsupported', 'No model here can moderate pictures; configure one.', { param: 'input' })
      : new GatewayError('unsupported', 'No model here can moderate; configure one.', { param: 'model' });
  });

/** The model that engine routes mean when they name none: the first one. */
export function firstModel(deps: HttpDeps, context: RequestContext): string {
  return deps.gateway.models(context)[0]?.name ?? '';
}

export const tokenize = (deps: HttpDeps) =>
  jsonRoute(deps, async (body, { context, json }) => {
    const request = decodeTokenize(body, firstModel(deps, context));
    const { value } = await deps.gateway.call(
      {
        model: request.model,
        use: ({ provider, model }, options) => provider.tokenize?.({ ...request, model }, options),
      },
      context,
    );
    json({ tokens: value, count: value.length });
  });

export const detokenize = (deps: HttpDeps) =>
  jsonRoute(deps, async (body, { context, json }) => {
    const request = decodeDetokenize(body, firstModel(deps, context));
    const { value } = await deps.gateway.call(
      {
        model: request.model,
        use: ({ provider, model }, options) => provider.detokenize?.({ ...request, model }, options),
      },
      context,
    );
    json({ content: value, prompt: value });
  });

export const applyTemplate = (deps: HttpDeps) =>
  jsonRoute(deps, async (body, { context, json }) => {
    const request = decodeChatRequest({ model: firstModel(deps, context), ...body }, { headers: context.headers });
    const { value } = await deps.gateway.call(
      {
        model: request.model,
        use: ({ provider, model }, options) => provider.applyTemplate?.({ ...request, model }, options),
      },
      context,
    );
    json({ prompt: value });
  });

/** Prompt tokens of a request: exact where the target can count, else by length. */
export async function countPromptTokens(
  deps: HttpDeps,
  request: ChatRequest,
  context: RequestContext,
): Promise<number> {
  const { value } = await deps.gateway.call(
    {
      model: request.model,
      holds: request,
      use: ({ provider, model }, options, held) => provider.countTokens?.({ ...held, model }, options),
      otherwise: () => {
        const texts = request.messages.map((message) => textOf(message.content));
        return estimate([...texts, JSON.stringify(request.tools)]) + 4 * request.messages.length;
      },
    },
    context,
  );
  return value;
}
