import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent, FinishReason, Usage } from '../src/core/event.ts';
import { type Json, type JsonObject, numberOf, objectOf, objectsOf, stringOf } from '../src/core/json.ts';
import { type CallOptions, type Capabilities, noCapabilities, type Provider } from '../src/core/provider.ts';
import { type ChatRequest, type Message, type Tool, textOf } from '../src/core/request.ts';
import { withTextResults } from '../src/core/tool-results.ts';
import { decodeSse } from '../src/wire/sse.ts';
import { streamError } from '../src/wire/upstream-error.ts';
import { offered, thinkingBudget } from './shared/content.ts';
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

/** Fields of its own chat that a client of OpenAI's may send along. */
const chatFields = ['documents', 'citation_options', 'safety_mode', 'priority'];

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
  const state = { calls: new Map<number, number>(), finished: false, usage: undefined as Usage | undefined };
  for await (const event of decodeSse(response.body)) {
    if (event.data === '[DONE]') break;
    yield* decodeChat(parseEvent(event), state);
  }
  if (!state.finished)
    throw new GatewayError('upstream_failed', 'The upstream ended its answer without a finish reason.');
  if (state.usage) yield { type: 'usage', usage: state.usage };
}

const ownFields = ({ dialect }: ChatRequest): readonly string[] => (dialect === 'openai-chat' ? chatFields : []);

const carriedOf = (request: ChatRequest): ReadonlySet<string> =>
  new Set(['top_k', 'detail', ...(areStrict(toolsOf(request).tools) ? ['strict'] : []), ...ownFields(request)]);

/** It can force a call, but of no tool by name: so no other is offered. */
function toolsOf(request: ChatRequest): ReturnType<typeof offered> {
  const { tools, choice } = offered(request);
  return { tools: typeof choice === 'object' ? tools.filter(({ name }) => name === choice.name) : tools, choice };
}

/** All are or none, and one without a required parameter is refused then (https://docs.cohere.com/docs/tool-use-parameter-types). */
const areStrict = (tools: readonly Tool[]): boolean =>
  tools.some(({ strict }) => strict) &&
  tools.every(({ parameters }) => Array.isArray(parameters?.['required']) && parameters['required'].length > 0);

function encodeChat(request: ChatRequest): JsonObject {
  const { sampling, responseFormat: format } = request;
  const { tools, choice } = toolsOf(request);
  const budget = thinkingBudget(request);
  const fields: Readonly<Record<string, Json | undefined>> = {
    ...Object.fromEntries(ownFields(request).map((name) => [name, request.extensions[name]])),
    model: request.model,
    messages: withTextResults(request.messages).map(encodeMessage),
    temperature: sampling.temperature,
    p: sampling.topP,
    k: sampling.topK,
    seed: sampling.seed,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    max_tokens: request.maxTokens,
    stop_sequences: request.stop.length > 0 ? request.stop : undefined,
    tools: tools.length === 0 ? undefined : tools.map(encodeTool),
    strict_tools: areStrict(tools) ? true : undefined,
    tool_choice: tools.length === 0 || choice === 'auto' ? undefined : choice === 'none' ? 'NONE' : 'REQUIRED',
    response_format:
      format.type === 'json-schema'
        ? { type: 'json_object', json_schema: format.schema }
        : format.type === 'json-object'
          ? { type: 'json_object' }
          : undefined,
    thinking:
      budget === undefined
        ? undefined
        : budget === 0
          ? { type: 'disabled' }
          : { type: 'enabled', token_budget: budget },
    stream: true,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

const encodeTool = ({ name, description, parameters }: ChatRequest['tools'][number]): JsonObject => ({
  type: 'function',
  function: {
    name,
    ...(description === undefined ? {} : { description }),
    parameters: parameters ?? { type: 'object', properties: {} },
  },
});

function encodeMessage(message: Message): JsonObject {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', content: textOf(message.content) };
    case 'tool':
      return { role: 'tool', tool_call_id: message.toolCallId, content: textOf(message.content) };
    case 'assistant': {
      const text = textOf(message.content) || (message.refusal ?? '');
      const calls = message.toolCalls.map(({ id, name, arguments: json }) => ({
        id,
        type: 'function',
        function: { name, arguments: json },
      }));
      const plan = message.reasoning?.map((block) => block.text).join('') ?? '';
      return {
        role: 'assistant',
        ...(text === '' ? {} : { content: text }),
        ...(plan === '' || calls.length === 0 ? {} : { tool_plan: plan }),
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
      };
    }
    case 'user':
      return {
        role: 'user',
        content: message.content.every((part) => part.type === 'text')
          ? textOf(message.content)
          : message.content.map((part) => {
              if (part.type === 'text') return { type: 'text', text: part.text };
              if (part.type === 'image') {
                const { url, detail } = part;
                return { type: 'image_url', image_url: { url, ...(detail === undefined ? {} : { detail }) } };
              }
              throw new GatewayError('unsupported', `Cohere does not support ${part.type} input.`, {
                param: 'messages',
              });
            }),
      };
    default:
      return message satisfies never;
  }
}

interface ChatState {
  readonly calls: Map<number, number>;
  finished: boolean;
  usage: Usage | undefined;
}

function decodeChat(event: JsonObject, state: ChatState): CompletionEvent[] {
  const delta = objectOf(event['delta']);
  const message = objectOf(delta['message']);
  const content = objectOf(message['content']);
  const index = typeof event['index'] === 'number' ? event['index'] : 0;
  switch (event['type']) {
    case 'message-start':
      return [{ type: 'start', ...(typeof event['id'] === 'string' ? { id: event['id'] } : {}) }];
    case 'content-delta':
      if (typeof content['thinking'] === 'string')
        return [{ type: 'reasoning-delta', choice: 0, text: content['thinking'] }];
      return typeof content['text'] === 'string' ? [{ type: 'text-delta', choice: 0, text: content['text'] }] : [];
    case 'tool-plan-delta': // what it means to do with its tools: thinking, by its nature
      return [{ type: 'reasoning-delta', choice: 0, text: String(message['tool_plan'] ?? '') }];
    case 'tool-call-start': {
      const call = objectOf(message['tool_calls']);
      const target = objectOf(call['function']);
      const at = state.calls.size;
      state.calls.set(index, at);
      const [id, name] = [String(call['id'] ?? `call_${at}`), String(target['name'] ?? '')];
      const early = typeof target['arguments'] === 'string' ? target['arguments'] : '';
      return [
        { type: 'tool-call-start', choice: 0, index: at, id, name, kind: 'function' },
        ...(early === '' ? [] : [{ type: 'tool-call-delta', choice: 0, index: at, arguments: early } as const]),
      ];
    }
    case 'tool-call-delta': {
      const piece = objectOf(objectOf(message['tool_calls'])['function'])['arguments'];
      return [
        { type: 'tool-call-delta', choice: 0, index: state.calls.get(index) ?? 0, arguments: String(piece ?? '') },
      ];
    }
    case 'citation-start':
      return citationsOf(objectOf(message['citations']));
    case 'message-end':
      state.finished = true;
      state.usage = usageOf(objectOf(delta['usage']));
      return [{ type: 'finish', choice: 0, ...finishOf(String(delta['finish_reason'] ?? '')) }];
    default:
      if (event['error'] !== undefined || event['type'] === undefined) throw streamError(event);
      return [];
  }
}

/**
 * The pages that a piece of the text is from. Documents are there because a client gave them in Cohere's own field, and
 * are told in Cohere's own form; results of tools, which every answer to some cites, are nothing that a client can read,
 * and the AI SDK refuses an answer with annotations of other forms than OpenAI's.
 */
function citationsOf(citation: JsonObject): CompletionEvent[] {
  const { type = 'TEXT_CONTENT', start, end, sources } = citation;
  if (type !== 'TEXT_CONTENT') return []; // of a thought or a plan
  const place = { start_index: numberOf(start) ?? 0, end_index: numberOf(end) ?? 0 };
  const annotations: JsonObject[] = [];
  let hasGiven = false;
  for (const source of objectsOf(sources)) {
    const { url, title } = objectOf(source['document'] ?? source['tool_output']);
    if (typeof url === 'string') {
      annotations.push({ type: 'url_citation', url_citation: { url, title: stringOf(title) ?? '', ...place } });
    } else hasGiven ||= source['type'] === 'document';
  }
  if (hasGiven) annotations.push({ type: 'citation', ...citation });
  return annotations.map((annotation) => ({ type: 'annotation', choice: 0, annotation }));
}

function finishOf(reason: string): { readonly reason: FinishReason; readonly detail?: string } {
  switch (reason) {
    case 'MAX_TOKENS':
      return { reason: 'length' };
    case 'TOOL_CALL':
      return { reason: 'tool-calls' };
    case 'ERROR':
    case 'TIMEOUT':
      throw new GatewayError('upstream_failed', `The upstream broke its answer off (${reason}).`);
    case 'ERROR_TOXIC':
      return { reason: 'content-filter' };
    default: // COMPLETE, STOP_SEQUENCE
      return { reason: 'stop' };
  }
}

function usageOf(usage: JsonObject): Usage | undefined {
  const { input_tokens: input, output_tokens: output } = objectOf(usage['tokens']);
  const cached = usage['cached_tokens'];
  if (typeof input !== 'number') return undefined;
  return {
    promptTokens: input,
    completionTokens: typeof output === 'number' ? output : 0,
    ...(typeof cached === 'number' ? { cachedTokens: cached } : {}),
  };
}

/** What embed and rerank bill; rerank counts searches, which are no tokens. */
function billed(answer: JsonObject): Usage {
  const { input_tokens: tokens } = objectOf(objectOf(answer['meta'])['billed_units']);
  return { promptTokens: typeof tokens === 'number' ? tokens : 0, completionTokens: 0 };
}
