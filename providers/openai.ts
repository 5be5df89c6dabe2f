import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent } from '../src/core/event.ts';
import { isJsonObject, type Json, type JsonObject } from '../src/core/json.ts';
import type { CallOptions, Capabilities, ModelInfo, Provider } from '../src/core/provider.ts';
import type { ChatRequest, WireRequest } from '../src/core/request.ts';
import type { TransportResponse } from '../src/core/transport.ts';
import { createChatChunkDecoder, decodeChatCompletion } from '../src/wire/openai/upstream-answer.ts';
import { encodeChatRequest } from '../src/wire/openai/upstream-request.ts';
import { decodeSse } from '../src/wire/sse.ts';
import { forwardBody } from './shared/forward-body.ts';
import { isObserved, observeChat } from './shared/observe-chat.ts';
import { parseEvent, passThroughSse } from './shared/pass-through.ts';
import { parseAnswer, readBytes, readText } from './shared/read-body.ts';
import { assertSupported } from './shared/supported.ts';
import type { Upstream } from './shared/upstream.ts';

/** Where a server departs from OpenAI's own API. */
export interface OpenAiOddities {
  /** The field that limits the answer. */
  readonly maxTokensField?: 'max_tokens' | 'max_completion_tokens';
  /** The `developer` role is unknown: sent as `system`. */
  readonly developerAsSystem?: boolean;
  /** `stream_options` is refused, so usage comes only if the server tells it unasked. */
  readonly noStreamOptions?: boolean;
  /** How a server is told to continue an answer: a flag on the message, on the request, or by its being the last message. */
  readonly prefill?: 'prefix' | 'continue_final_message' | 'last-message';
  /** Fields that have another name there. */
  readonly rename?: Readonly<Record<string, string>>;
  /** Hints that a strict server refuses; nothing that changes the answer. */
  readonly omit?: readonly string[];
  /** Paths that differ, below the base URL. */
  readonly paths?: { readonly chat?: string; readonly models?: string };
}

export interface OpenAiOptions {
  readonly name: string;
  readonly upstream: Upstream;
  readonly capabilities: Capabilities;
  readonly oddities?: OpenAiOddities;
}

/**
 * OpenAI's chat completions and every server that speaks them (https://platform.openai.com/docs/api-reference/chat).
 * A request in the same dialect passes through as the bytes the client wrote.
 */
export function openai({ name, upstream, capabilities, oddities = {} }: OpenAiOptions): Provider {
  const path = oddities.paths?.chat ?? '/chat/completions';

  async function* stream(request: ChatRequest, options: CallOptions): AsyncGenerator<CompletionEvent> {
    assertSupported(request, capabilities, name);
    const { wire } = request;
    if (wire?.dialect === 'openai-chat' && capabilities.dialects.includes('openai-chat') && fits(wire, oddities)) {
      yield* passThrough(request, wire, options);
      return;
    }
    const body = JSON.stringify(adapt(encodeChatRequest(request, oddities), oddities));
    yield* readChat(await upstream.send({ path, body, headers: { accept: 'text/event-stream' } }, options));
  }

  async function* passThrough(request: ChatRequest, wire: WireRequest, options: CallOptions) {
    const addUsage = request.stream && wire.body['stream_options'] === undefined && !oddities.noStreamOptions;
    const body = forwardBody(wire, {
      model: request.model,
      ...(addUsage ? { add: { stream_options: { include_usage: true } } } : {}),
    });
    const accept = request.stream ? 'text/event-stream' : 'application/json';
    const response = await upstream.send({ path, body, headers: { accept, ...wire.headers } }, options);
    const kind = contentKind(response);
    if (request.stream && kind === 'events') {
      yield* passThroughSse(response.body, observeChat({ choices: request.choices, dropUsage: addUsage }));
    } else if (request.stream || kind === 'events') {
      yield* readChat(response); // not in the form the client asked for: translated
    } else {
      const bytes = await readBytes(response.body);
      const events = decodeChatCompletion(parseAnswer(new TextDecoder().decode(bytes)));
      yield { type: 'wire', bytes } as const;
      yield* events.filter(isObserved);
    }
  }

  return {
    name,
    capabilities,
    stream,
    models: async (options) =>
      decodeModels((await upstream.json({ method: 'GET', path: oddities.paths?.models ?? '/models' }, options)).body),
    ping: async (options) => {
      const { body } = await upstream.send({ method: 'GET', path: oddities.paths?.models ?? '/models' }, options);
      await readBytes(body);
    },
  };
}

/** A chat answer as events, whether it comes as a stream or as one object. */
export async function* readChat(response: TransportResponse): AsyncGenerator<CompletionEvent> {
  if (contentKind(response) === 'json') {
    yield* decodeChatCompletion(parseAnswer(await readText(response.body)));
    return;
  }
  const decoder = createChatChunkDecoder();
  for await (const event of decodeSse(response.body)) {
    if (event.data === '[DONE]') break;
    yield* decoder.push(parseEvent(event));
    if (event.event === 'error') throw new GatewayError('upstream_failed', 'The upstream failed to answer.');
  }
  yield* decoder.end();
}

/** Events unless it says JSON: some servers forget the header. A page is no answer of a model. */
function contentKind({ headers }: TransportResponse): 'events' | 'json' {
  const type = headers['content-type'] ?? '';
  if (type.startsWith('text/html')) {
    throw new GatewayError('upstream_failed', 'The upstream answered with an HTML page: is its base URL right?');
  }
  return /^application\/(\w+\+)?json/.test(type) ? 'json' : 'events';
}

/** The body as this server wants it. */
function adapt(body: JsonObject, oddities: OpenAiOddities): JsonObject {
  const { noStreamOptions, prefill = 'last-message', rename = {}, omit = [] } = oddities;
  const adapted: Record<string, Json | undefined> = {};
  for (const [name, value] of Object.entries(body)) {
    if (omit.includes(name) || (noStreamOptions && name === 'stream_options')) continue;
    adapted[rename[name] ?? name] = value;
  }
  if (body['continue_final_message'] !== true || prefill === 'continue_final_message') return adapted;
  delete adapted['continue_final_message'];
  delete adapted['add_generation_prompt'];
  const messages = adapted['messages'];
  if (prefill === 'prefix' && Array.isArray(messages)) {
    adapted['messages'] = messages.map((message: Json, index) =>
      index === messages.length - 1 && isJsonObject(message) ? { ...message, prefix: true } : message,
    );
  }
  return adapted;
}

/** True when the client's bytes can go as they are. */
function fits({ body }: WireRequest, { rename = {}, omit = [], prefill }: OpenAiOddities): boolean {
  if (body['continue_final_message'] === true && prefill !== 'continue_final_message') return false;
  return [...Object.keys(rename), ...omit].every((name) => body[name] === undefined);
}

function decodeModels(body: unknown): ModelInfo[] {
  const list: unknown = Array.isArray(body) ? body : (body as { data?: unknown } | null)?.data; // checked below
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: unknown) => {
    const { id, context_length, max_model_len } = (entry ?? {}) as Readonly<Record<string, unknown>>; // checked below
    const contextTokens = typeof context_length === 'number' ? context_length : max_model_len;
    return typeof id === 'string' ? [{ id, ...(typeof contextTokens === 'number' ? { contextTokens } : {}) }] : [];
  });
}
