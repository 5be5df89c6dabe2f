import { GatewayError } from '../src/core/errors.ts';
import type { CompletionEvent } from '../src/core/event.ts';
import { isJsonObject } from '../src/core/json.ts';
import { type CallOptions, type Capabilities, noCapabilities, type Provider } from '../src/core/provider.ts';
import { type ChatRequest, textOf, type WireRequest } from '../src/core/request.ts';
import { decodeSse } from '../src/wire/sse.ts';
import { createMessagesDecoder, decodeMessage, observeMessages } from './anthropic/answer.ts';
import { encodeMessagesRequest, ignoredByMessages } from './anthropic/request.ts';
import { withCallIds } from './shared/call-ids.ts';
import { contentKind } from './shared/content-kind.ts';
import { forwardBody } from './shared/forward-body.ts';
import { readJsonTool, withJsonTool } from './shared/json-tool.ts';
import { isObserved, parseEvent, passThroughSse } from './shared/pass-through.ts';
import { parseAnswer, readBytes, readText } from './shared/read-body.ts';
import { createReasoningMemory } from './shared/reasoning-memory.ts';
import { assertSupported } from './shared/supported.ts';
import type { Upstream } from './shared/upstream.ts';

export const anthropicVersion = '2023-06-01';

/** JSON formats are emulated through a tool that must be called, since they reach all models that way. */
export const anthropicCapabilities: Capabilities = {
  ...noCapabilities,
  dialects: ['anthropic-messages'],
  tools: true,
  toolChoice: true,
  parallelToolCalls: true,
  jsonObject: true,
  jsonSchema: true,
  images: true,
  stop: true,
  reasoning: true,
  prefill: true,
};

export interface AnthropicOptions {
  readonly name: string;
  readonly upstream: Upstream;
  readonly capabilities?: Capabilities;
}

/** Thoughts of an answer that changed hands have no signature, and Anthropic refuses them: the general path leaves them out. */
const hasUnsignedThoughts = ({ messages }: ChatRequest): boolean =>
  messages.some(
    (message) =>
      message.role === 'assistant' &&
      message.reasoning?.some(({ signature, redacted }) => signature === undefined && redacted === undefined),
  );

/** A given beginning must not end in white space, so that was cut off: what the model makes of it again is not heard twice. */
async function* rejoinSpace(
  { messages }: ChatRequest,
  events: AsyncIterable<CompletionEvent>,
): AsyncGenerator<CompletionEvent> {
  const last = messages.at(-1);
  const begun = last?.role === 'assistant' ? textOf(last.content) : '';
  let space = begun.slice(begun.trimEnd().length);
  for await (const event of events) {
    if (event.type !== 'text-delta' || space === '') {
      yield event;
      continue;
    }
    let same = 0;
    while (same < space.length && same < event.text.length && event.text[same] === space[same]) same += 1;
    const rest = event.text.slice(same);
    space = rest === '' ? space.slice(same) : '';
    if (rest !== '') yield { ...event, text: rest };
  }
}

/** The form of the ids of calls; others are refused. */
const callIds = /^[\w-]+$/;

/** Anthropic's Messages API (https://docs.anthropic.com/en/api/messages). */
export function anthropic({ name, upstream, capabilities = anthropicCapabilities }: AnthropicOptions): Provider {
  const memory = createReasoningMemory();

  async function* messages(request: ChatRequest, options: CallOptions): AsyncGenerator<CompletionEvent> {
    const body = JSON.stringify(encodeMessagesRequest(request));
    const betas = request.dialect === 'anthropic-messages' ? request.betas : undefined;
    const headers = betas === undefined ? {} : { 'anthropic-beta': betas };
    const response = await upstream.send({ path: '/messages', body, headers }, options);
    if (contentKind(response) === 'json') {
      yield* decodeMessage(parseAnswer(await readText(response.body)));
      return;
    }
    const decoder = createMessagesDecoder();
    for await (const event of decodeSse(response.body)) {
      const parsed = parseEvent(event);
      yield* decoder.push(parsed);
      if (parsed['type'] === 'message_stop') break;
    }
    yield* decoder.end();
  }

  async function* passThrough(request: ChatRequest, wire: WireRequest, options: CallOptions) {
    const body = forwardBody(wire, { model: request.model });
    const response = await upstream.send({ path: '/messages', body, headers: wire.headers }, options);
    if (request.stream && contentKind(response) === 'events') {
      yield* passThroughSse(response.body, observeMessages());
      return;
    }
    const bytes = await readBytes(response.body);
    const events = decodeMessage(parseAnswer(new TextDecoder().decode(bytes)));
    if (request.stream) yield* events;
    else {
      yield { type: 'wire', bytes } as const;
      yield* events.filter(isObserved);
    }
  }

  return {
    name,
    capabilities,
    async *stream(asks, options) {
      const request = withCallIds(asks, callIds);
      assertSupported(request, capabilities, name);
      if (request.wire?.dialect === 'anthropic-messages' && !request.wire.mustSay && !hasUnsignedThoughts(request)) {
        yield* passThrough(request, request.wire, options);
        return;
      }
      const asked = withJsonTool(memory.restore(request, options.tenant));
      const answer = request.continueFinalMessage
        ? rejoinSpace(request, messages(asked, options))
        : messages(asked, options);
      const events = memory.watch(answer, options.tenant);
      yield* asked.tools.length === request.tools.length ? events : readJsonTool(events);
    },
    ignores: (request) => ignoredByMessages(withJsonTool(request), capabilities),
    async countTokens(asks, options) {
      const request = withCallIds(asks, callIds);
      const encoded = encodeMessagesRequest(withJsonTool(request));
      const { stream: _, max_tokens: __, metadata: ___, service_tier: ____, ...body } = encoded;
      const answer = await upstream.json({ path: '/messages/count_tokens', body: JSON.stringify(body) }, options);
      const count = isJsonObject(answer.body) ? answer.body['input_tokens'] : undefined;
      if (typeof count !== 'number')
        throw new GatewayError('upstream_failed', 'The upstream did not count the tokens.');
      return count;
    },
    async models(options) {
      const { body } = await upstream.json({ method: 'GET', path: '/models?limit=1000' }, options);
      const data = isJsonObject(body) && Array.isArray(body['data']) ? body['data'] : [];
      return data.flatMap((entry: unknown) =>
        isJsonObject(entry) && typeof entry['id'] === 'string' ? [{ id: entry['id'] }] : [],
      );
    },
  };
}
