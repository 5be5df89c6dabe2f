import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent, Usage } from '../src/core/event.ts';
import { type JsonObject, objectOf, objectsOf } from '../src/core/json.ts';
import { type CallOptions, type Capabilities, noCapabilities, type Provider } from '../src/core/provider.ts';
import type { ChatRequest } from '../src/core/request.ts';
import { decodeSse } from '../src/wire/sse.ts';
import { type ChatState, decodeChat } from './cohere/answer.ts';
import { carriedOf, encodeChat } from './cohere/request.ts';
import { ignoredBy } from './shared/ignored.ts';
import { otherFields } from './shared/other-fields.ts';
import { parseEvent } from './shared/pass-through.ts';
import { assertSupported } from './shared/supported.ts';
import type { Upstream } from './shared/upstream.ts';

export const cohereCapabilities: Capabilities = {
  ...noCapabilities,
  tools: true,
  jsonObject: true,
  jsonSchema: true,
  images: true,
  seed: true,
  penalties: true,
  stop: true,
  reasoning: true,
  embeddings: true,
  toolChoice: true,
};

export interface CohereOptions {
  readonly name: string;
  readonly upstream: Upstream;
  readonly capabilities?: Capabilities;
}

const embedFields = ['input_type', 'truncate', 'max_tokens', 'priority'];
const rerankFields = ['max_tokens_per_doc', 'priority'];
/** What others call Cohere's kinds of text. */
const inputTypes: Readonly<Record<string, string>> = {
  query: 'search_query',
  passage: 'search_document',
  document: 'search_document',
};

/** Cohere's chat, embed and rerank, version 2 (https://docs.cohere.com/reference/chat-stream). */
export function cohere({ name, upstream, capabilities = cohereCapabilities }: CohereOptions): Provider {
  return {
    name,
    capabilities,
    async *stream(request, options) {
      assertSupported(request, capabilities, name);
      yield* chat(upstream, request, options);
    },
    ignores: (request) => ignoredBy(request, capabilities, carriedOf(request)),
    async embed(request, options) {
      const { embedding_types: types, ...others } = request.extensions;
      const isFloat = Array.isArray(types) && types.length === 1 && types[0] === 'float';
      const ignored = otherFields({ ...request, extensions: isFloat ? others : request.extensions }, name, embedFields);
      const kind = others['input_type'];
      const texts = request.inputs.map((input) => {
        if (typeof input === 'string') return input;
        throw new GatewayError('unsupported', `${name} embeds texts, not token ids.`, { param: 'input' });
      });
      const { body } = await upstream.json(
        {
          path: '/embed',
          body: JSON.stringify({
            model: request.model,
            texts,
            ...Object.fromEntries(Object.entries(others).filter(([field]) => embedFields.includes(field))),
            input_type: (typeof kind === 'string' ? inputTypes[kind] : undefined) ?? kind ?? 'search_document',
            embedding_types: ['float'],
            ...(request.dimensions === undefined ? {} : { output_dimension: request.dimensions }),
          }),
        },
        options,
      );
      const answer = objectOf(body);
      const vectors = objectOf(answer['embeddings'])['float'];
      if (!Array.isArray(vectors)) throw new GatewayError('upstream_failed', 'The upstream sent no embeddings.');
      return { model: request.model, vectors, usage: billed(answer), ignored };
    },
    async rerank({ model, query, documents, topN, extensions = {} }, options) {
      const ignored = otherFields({ model, extensions }, name, rerankFields);
      const own = Object.fromEntries(Object.entries(extensions).filter(([field]) => rerankFields.includes(field)));
      const asked = { ...own, model, query, documents, ...(topN === undefined ? {} : { top_n: topN }) };
      const { body } = await upstream.json({ path: '/rerank', body: JSON.stringify(asked) }, options);
      const answer = objectOf(body);
      return {
        results: objectsOf(answer['results']).map((entry) => ({
          index: Number(entry['index']),
          score: Number(entry['relevance_score']),
        })),
        usage: billed(answer),
        ignored,
      };
    },
  };
}

async function* chat(upstream: Upstream, request: ChatRequest, options: CallOptions): AsyncGenerator<CompletionEvent> {
  const response = await upstream.send({ path: '/chat', body: JSON.stringify(encodeChat(request)) }, options);
  const state: ChatState = { calls: new Map(), finished: false, usage: undefined };
  for await (const event of decodeSse(response.body)) {
    if (event.data === '[DONE]') break;
    yield* decodeChat(parseEvent(event), state);
  }
  if (!state.finished)
    throw new GatewayError('upstream_failed', 'The upstream ended its answer without a finish reason.');
  if (state.usage) yield { type: 'usage', usage: state.usage };
}

/** What embed and rerank bill; rerank counts searches, which are no tokens. */
function billed(answer: JsonObject): Usage {
  const { input_tokens: tokens } = objectOf(objectOf(answer['meta'])['billed_units']);
  return { promptTokens: typeof tokens === 'number' ? tokens : 0, completionTokens: 0 };
}
