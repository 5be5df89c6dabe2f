import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent, Usage } from '../src/core/event.ts';
import { isJsonObject, type JsonObject } from '../src/core/json.ts';
import type { CallOptions, Capabilities, Provider } from '../src/core/provider.ts';
import type { ChatRequest } from '../src/core/request.ts';
import { abortError, throwIfAborted } from '../src/core/signals.ts';
import { createChatChunkDecoder } from '../src/wire/openai/upstream-answer.ts';
import { encodeChatRequest } from '../src/wire/openai/upstream-request.ts';
import { decodeSse } from '../src/wire/sse.ts';
import { ignoredByChat } from './openai/ignored.ts';
import { capabilitiesOf, presets } from './presets.ts';
import { otherFields } from './shared/other-fields.ts';
import { parseEvent } from './shared/pass-through.ts';
import { assertSupported } from './shared/supported.ts';
import { upstreamError } from './shared/upstream-error.ts';

/** The part of the `env.AI` binding that is used. */
export interface AiBinding {
  run(model: string, inputs: object, options: { readonly returnRawResponse: true }): Promise<Response>;
}

export interface WorkersAiOptions {
  readonly name: string;
  readonly ai: AiBinding;
  readonly capabilities?: Partial<Capabilities> | undefined;
}

/**
 * Cloudflare Workers AI through the Worker's own binding: no key, no account id, no network address
 * (https://developers.cloudflare.com/workers-ai/configuration/bindings/). From elsewhere the preset `workers-ai` is used.
 */
export function workersAi({ name, ai, capabilities }: WorkersAiOptions): Provider {
  const able = { ...capabilitiesOf(presets['workers-ai'], capabilities), dialects: [], completions: false };
  return {
    name,
    capabilities: { ...able, embeddings: true },
    async *stream(request, options) {
      assertSupported(request, able, name);
      yield* generate(ai, request, options);
    },
    ignores: (request) => ignoredByChat(request, able),
    async embed({ model, inputs, dimensions, extensions }, options) {
      throwIfAborted(options.signal);
      const asked = { model, extensions: { ...extensions, ...(dimensions === undefined ? {} : { dimensions }) } };
      const ignored = otherFields(asked, name, ['pooling']);
      const { pooling } = extensions;
      const text = inputs.map((input, i) => {
        if (typeof input === 'string') return input;
        throw new GatewayError('unsupported', `${name} embeds texts, not token ids.`, { param: `input[${i}]` });
      });
      const question = { text, ...(pooling === undefined ? {} : { pooling }) };
      const response = await ai.run(model, question, { returnRawResponse: true });
      if (!response.ok) throw await failure(response);
      const body: unknown = await response.json();
      const result = isJsonObject(body) ? (isJsonObject(body['result']) ? body['result'] : body) : {};
      const vectors = Array.isArray(result['data']) ? (result['data'] as number[][]) : []; // as documented
      if (vectors.length !== inputs.length) throw new GatewayError('upstream_failed', 'The model left out vectors.');
      const characters = text.reduce((sum, input) => sum + input.length, 0);
      return {
        model,
        vectors,
        usage: { promptTokens: Math.ceil(characters / 4), completionTokens: 0, estimated: true },
        ignored,
      };
    },
  };
}

async function* generate(
  ai: AiBinding,
  request: ChatRequest,
  { signal }: CallOptions,
): AsyncGenerator<CompletionEvent> {
  throwIfAborted(signal);
  const { model, stream_options: _, ...inputs } = encodeChatRequest(request, { developerAsSystem: true });
  const response = await ai.run(String(model), inputs, { returnRawResponse: true });
  if (!response.ok) throw await failure(response);
  const reader = (response.body ?? new ReadableStream()).getReader();
  const stop = () => void reader.cancel().catch(() => {}); // the binding takes no signal; ending its body ends the run
  signal.addEventListener('abort', stop, { once: true });
  const chat = createChatChunkDecoder();
  const native = createNativeDecoder();
  let isNative = false;
  try {
    for await (const event of decodeSse(bytesOf(reader))) {
      if (signal.aborted) throw abortError(signal);
      if (event.data === '[DONE]') {
        native.done();
        break;
      }
      const chunk = parseEvent(event);
      isNative ||= chunk['choices'] === undefined && chunk['error'] === undefined;
      yield* isNative ? native.push(chunk) : chat.push(chunk);
    }
    if (signal.aborted) throw abortError(signal);
    yield* isNative ? native.end() : chat.end();
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}

/** The binding's own chunks: `{response, tool_calls?, usage?}`, without a finish reason; `[DONE]` alone tells the end. */
function createNativeDecoder() {
  let calls = 0;
  let usage: Usage | undefined;
  let done = false;
  return {
    done: () => {
      done = true;
    },
    push(chunk: JsonObject): CompletionEvent[] {
      const { response: text, tool_calls: raw, usage: counted } = chunk;
      const out: CompletionEvent[] = [];
      if (typeof text === 'string' && text !== '') out.push({ type: 'text-delta', choice: 0, text });
      for (const call of Array.isArray(raw) ? raw.filter(isJsonObject) : []) {
        const index = calls++;
        const given = call['arguments'];
        const json = typeof given === 'string' ? given : JSON.stringify(given ?? {});
        const id = `call_${crypto.randomUUID().replaceAll('-', '').slice(0, 24)}`;
        out.push({ type: 'tool-call-start', choice: 0, index, id, name: String(call['name']), kind: 'function' });
        out.push({ type: 'tool-call-delta', choice: 0, index, arguments: json });
      }
      if (isJsonObject(counted) && typeof counted['prompt_tokens'] === 'number') {
        const { prompt_tokens: prompt, completion_tokens: completion } = counted;
        usage = { promptTokens: prompt, completionTokens: typeof completion === 'number' ? completion : 0 };
      }
      return out;
    },
    end(): CompletionEvent[] {
      if (!done) throw new GatewayError('upstream_failed', 'The model ended its answer in the middle.');
      const finish: CompletionEvent = { type: 'finish', choice: 0, reason: calls > 0 ? 'tool-calls' : 'stop' };
      return usage ? [finish, { type: 'usage', usage }] : [finish];
    },
  };
}

async function* bytesOf(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
}

async function failure(response: Response): Promise<GatewayError> {
  const text = await response.text();
  return upstreamError({
    status: response.status,
    headers: {},
    body: (async function* () {
      yield new TextEncoder().encode(text);
    })(),
  });
}
