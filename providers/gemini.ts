import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent } from '../src/core/event.ts';
import { isJsonObject } from '../src/core/json.ts';
import { type CallOptions, type Capabilities, noCapabilities, type Provider } from '../src/core/provider.ts';
import type { ChatRequest } from '../src/core/request.ts';
import { decodeSse } from '../src/wire/sse.ts';
import { createGenerateDecoder } from './gemini/answer.ts';
import { encodeGenerateRequest, ignoredByGenerate } from './gemini/request.ts';
import { contentKind } from './shared/content-kind.ts';
import { otherFields } from './shared/other-fields.ts';
import { parseEvent } from './shared/pass-through.ts';
import { parseAnswer, readText } from './shared/read-body.ts';
import { createReasoningMemory } from './shared/reasoning-memory.ts';
import { assertSupported } from './shared/supported.ts';
import type { Upstream } from './shared/upstream.ts';

export const geminiCapabilities: Capabilities = {
  ...noCapabilities,
  tools: true,
  toolChoice: true,
  jsonObject: true,
  jsonSchema: true,
  logprobs: true,
  images: true,
  audio: true,
  choices: true,
  seed: true,
  penalties: true,
  stop: true,
  reasoning: true,
  embeddings: true,
};

export interface GeminiOptions {
  readonly name: string;
  readonly upstream: Upstream;
  readonly capabilities?: Capabilities;
  /** Vertex AI has the same generation, but other calls around it. */
  readonly onVertex?: boolean;
}

/** Google's generateContent (https://ai.google.dev/api/generate-content); Vertex AI speaks it too. */
export function gemini(options: GeminiOptions): Provider {
  const { name, upstream, capabilities = geminiCapabilities, onVertex = false } = options;
  const memory = createReasoningMemory();

  async function* generate(request: ChatRequest, options: CallOptions): AsyncGenerator<CompletionEvent> {
    const path = `${pathOf(request.model, 'streamGenerateContent')}?alt=sse`;
    const response = await upstream.send({ path, body: JSON.stringify(encodeGenerateRequest(request)) }, options);
    const decoder = createGenerateDecoder();
    if (contentKind(response) === 'json') yield* decoder.push(parseAnswer(await readText(response.body)));
    else for await (const event of decodeSse(response.body)) yield* decoder.push(parseEvent(event));
    yield* decoder.end();
  }

  return {
    name,
    capabilities,
    async *stream(request, options) {
      assertSupported(request, capabilities, name);
      yield* memory.watch(generate(memory.restore(request, options.tenant), options), options.tenant);
    },
    ignores: (request) => ignoredByGenerate(request, capabilities),
    async countTokens(request, options) {
      const { contents, systemInstruction, tools } = encodeGenerateRequest(request);
      const asked = { contents, systemInstruction, tools };
      const body = JSON.stringify(
        onVertex ? asked : { generateContentRequest: { model: `models/${request.model}`, ...asked } },
      );
      const answer = await upstream.json({ path: pathOf(request.model, 'countTokens'), body }, options);
      const count = isJsonObject(answer.body) ? answer.body['totalTokens'] : undefined;
      if (typeof count !== 'number')
        throw new GatewayError('upstream_failed', 'The upstream did not count the tokens.');
      return count;
    },
    ...(onVertex ? {} : studioCalls(name, upstream)),
  };
}

const pathOf = (model: string, verb: string) => `/models/${encodeURIComponent(model)}:${verb}`;

/** Its tasks by the names that other APIs give the kinds of text (https://ai.google.dev/gemini-api/docs/embeddings). */
const taskTypes: Readonly<Record<string, string>> = {
  query: 'RETRIEVAL_QUERY',
  search_query: 'RETRIEVAL_QUERY',
  passage: 'RETRIEVAL_DOCUMENT',
  document: 'RETRIEVAL_DOCUMENT',
  search_document: 'RETRIEVAL_DOCUMENT',
  classification: 'CLASSIFICATION',
  clustering: 'CLUSTERING',
};

/** What the Gemini API has beside generation. */
function studioCalls(name: string, upstream: Upstream): Pick<Provider, 'embed' | 'models'> {
  return {
    async embed(request, options) {
      const ignored = otherFields(request, name, ['task_type', 'input_type', 'title']);
      const { task_type: task, input_type: kind, title } = request.extensions;
      const taskType = task ?? (typeof kind === 'string' ? (taskTypes[kind] ?? kind) : undefined);
      const requests = request.inputs.map((input) => {
        if (typeof input !== 'string') {
          throw new GatewayError('unsupported', `${name} embeds texts, not token ids.`, { param: 'input' });
        }
        return {
          model: `models/${request.model}`,
          content: { parts: [{ text: input }] },
          ...(taskType === undefined ? {} : { taskType }),
          ...(title === undefined ? {} : { title }),
          ...(request.dimensions === undefined ? {} : { outputDimensionality: request.dimensions }),
        };
      });
      const call = { path: pathOf(request.model, 'batchEmbedContents'), body: JSON.stringify({ requests }) };
      const { body } = await upstream.json(call, options);
      const list = isJsonObject(body) && Array.isArray(body['embeddings']) ? body['embeddings'] : [];
      const vectors = list.map((entry: unknown) => (isJsonObject(entry) ? (entry['values'] as readonly number[]) : [])); // as documented
      if (vectors.length !== requests.length)
        throw new GatewayError('upstream_failed', 'The upstream left out vectors.');
      const characters = request.inputs.reduce((sum, input) => sum + input.length, 0);
      const usage = { promptTokens: Math.ceil(characters / 4), completionTokens: 0, estimated: true }; // it tells none
      return { model: request.model, vectors, usage, ignored };
    },
    async models(options) {
      const { body } = await upstream.json({ method: 'GET', path: '/models?pageSize=1000' }, options);
      const list = isJsonObject(body) && Array.isArray(body['models']) ? body['models'] : [];
      return list.flatMap((entry: unknown) => {
        if (!isJsonObject(entry) || typeof entry['name'] !== 'string') return [];
        const limit = entry['inputTokenLimit'];
        return [
          {
            id: entry['name'].replace(/^models\//, ''),
            ...(typeof limit === 'number' ? { contextTokens: limit } : {}),
          },
        ];
      });
    },
  };
}
