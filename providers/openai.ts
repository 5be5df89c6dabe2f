import type { CompletionEvent } from '../src/core/event.ts';
import { isJsonObject, type Json, type JsonObject, objectsOf } from '../src/core/json.ts';
import type { CallOptions, Capabilities, Provider } from '../src/core/provider.ts';
import { type ChatRequest, type Dialect, type Message, readable, type WireRequest } from '../src/core/request.ts';
import { through } from '../src/core/through.ts';
import type { TransportResponse } from '../src/core/transport.ts';
import { mendCompletion } from '../src/wire/openai/mend.ts';
import { observeCompletion } from '../src/wire/openai/observe-answer.ts';
import { readPlainCompletion } from '../src/wire/openai/plain-answer.ts';
import { type ChatDecoderOptions, createChatChunkDecoder } from '../src/wire/openai/upstream-answer.ts';
import { encodeChatRequest, type UpstreamChatOptions } from '../src/wire/openai/upstream-request.ts';
import { chatChunkOf, encodeCompletion } from './openai/completions.ts';
import { type OpenAiPaths, openAiPaths, pathFor, wholeCalls } from './openai/endpoints.ts';
import { ignoredByChat } from './openai/ignored.ts';
import { readChatStream } from './openai/read-stream.ts';
import { observeResponse, observeResponses } from './openai/responses.ts';
import { withCallIds } from './shared/call-ids.ts';
import { contentKind } from './shared/content-kind.ts';
import { endOfString, forwardBody } from './shared/forward-body.ts';
import { isNamed } from './shared/ignored.ts';
import { readJsonTool, withJsonTool } from './shared/json-tool.ts';
import { type EventSource, lazyEvents } from './shared/lazy-events.ts';
import { observeChat } from './shared/observe-chat.ts';
import { passThroughSse } from './shared/pass-through.ts';
import { parseAnswer, readBytes, readText } from './shared/read-body.ts';
import { createReasoningMemory } from './shared/reasoning-memory.ts';
import { assertSupported } from './shared/supported.ts';
import type { Upstream } from './shared/upstream.ts';

/** Where a server departs from OpenAI's own API. */
export interface OpenAiOddities extends UpstreamChatOptions {
  /** `stream_options` is refused, so usage comes only if the server tells it unasked. */
  readonly noStreamOptions?: boolean;
  /** The form of the ids of calls, where it refuses others. */
  readonly callIds?: RegExp;
  /** Results of tools must be followed by an answer: where they are not, a word of one is put in between. */
  readonly answersTools?: boolean;
  /** How a server is told to continue an answer: a flag on the message, on the request, or by its being the last message. */
  readonly prefill?: 'prefix' | 'continue_final_message' | 'last-message';
  /** JSON schemas are emulated through a tool that must be called. */
  readonly jsonSchemaByTool?: boolean;
  /** Fields that have another name there. */
  readonly rename?: Readonly<Record<string, string>>;
  /** Hints that a strict server refuses; nothing that changes the answer. */
  readonly omit?: readonly string[];
  readonly paths?: Partial<OpenAiPaths>;
}

export interface OpenAiOptions {
  readonly name: string;
  readonly upstream: Upstream;
  readonly capabilities: Capabilities;
  readonly oddities?: OpenAiOddities;
}

const utf8 = new TextDecoder();
const encoder = new TextEncoder();

/**
 * OpenAI's API and every server that speaks it (https://platform.openai.com/docs/api-reference). A request in a
 * dialect of the server passes through as the bytes the client wrote.
 */
export function openai({ name, upstream, capabilities, oddities = {} }: OpenAiOptions): Provider {
  const paths = { ...openAiPaths, ...oddities.paths };
  const pathOf: Partial<Record<Dialect, string>> = {
    'openai-chat': paths.chat,
    'openai-completions': paths.completions,
    'openai-responses': paths.responses,
  };

  /** Fields that a client's body must not have to go as it is. */
  const changed = [...Object.keys(oddities.rename ?? {}), ...(oddities.omit ?? [])];
  const { thoughts } = oddities;
  const required = thoughts === 'required';
  const memory = required || thoughts === 'details' ? createReasoningMemory({ unsigned: required }) : undefined;
  const elsewhere = thoughts !== undefined && thoughts !== 'details';
  const fits = ({ body }: WireRequest, { messages, tools }: ChatRequest) =>
    (oddities.prefill === 'continue_final_message' || body['continue_final_message'] !== true) &&
    changed.every((name) => body[name] === undefined) &&
    !(oddities.nameless && messages.some(isNamed)) &&
    !(oddities.answersTools && messages.some(isUnanswered)) &&
    !(oddities.thinkingSwitch && body['reasoning_effort'] === 'none') &&
    // thoughts beside calls are remembered, and so have to be read
    !(required ? tools.length > 0 || messages.some(calls) : elsewhere && messages.some(saysThoughts));

  async function passThrough(
    request: ChatRequest,
    wire: WireRequest,
    path: string,
    options: CallOptions,
  ): Promise<EventSource> {
    const responses = wire.dialect === 'openai-responses';
    const own = wire.body['stream_options'];
    // whatever the client wants to see of it, the books need it
    const addUsage =
      !responses &&
      request.stream &&
      !oddities.noStreamOptions &&
      !(isJsonObject(own) && own['include_usage'] === true);
    const body = forwardBody(wire, {
      model: request.model,
      add: addUsage ? { stream_options: { ...(isJsonObject(own) && own), include_usage: true } } : undefined,
    });
    const accept = request.stream ? 'text/event-stream' : 'application/json';
    const call = { path: pathFor(path, request.model), body, headers: { accept, ...wire.headers } };
    const response = await upstream.send(call, options);
    const kind = contentKind(response);
    if (request.stream && kind === 'events') {
      const observer = responses ? observeResponses() : observeChat({ choices: request.choices, dropUsage: addUsage });
      return passThroughSse(response.body, observer);
    }
    if (!responses && (request.stream || kind === 'events')) return readChat(response); // not in the form asked for: translated
    const reading = readBytes(response.body);
    const bytes = reading instanceof Promise ? await reading : reading;
    const text = utf8.decode(bytes);
    if (responses) return passWhole(observeResponse(parseAnswer(text)), bytes);
    if (wire.mustSay) return saying(parseAnswer(text), text, bytes);
    const seen = parseAnswer(withoutText(text));
    const mended = mendCompletion(seen) && mendCompletion(parseAnswer(text));
    return passWhole(observeCompletion(seen), mended ? encoder.encode(JSON.stringify(mended)) : bytes);
  }

  async function translate(asked: ChatRequest, options: CallOptions): Promise<EventSource> {
    const request = memory ? memory.restore(asked, options.tenant) : asked;
    const { prompt } = request;
    const encoded = prompt ? encodeCompletion(request, prompt) : encodeChatRequest(request, oddities);
    const path = pathFor(prompt ? paths.completions : paths.chat, request.model);
    const body = JSON.stringify(adapt(encoded, oddities));
    const response = await upstream.send({ path, body, headers: { accept: 'text/event-stream' } }, options);
    const answer = await readChat(response, { insideCall: continuesCall(request) });
    return memory ? memory.watch(answer, options.tenant) : answer;
  }

  return {
    name,
    capabilities,
    stream: (asked, options) =>
      lazyEvents(() => {
        const request = oddities.callIds ? withCallIds(asked, oddities.callIds) : asked;
        const { wire, responseFormat: format } = request;
        const byTool = oddities.jsonSchemaByTool && format.type === 'json-schema';
        const path = wire && capabilities.dialects.includes(wire.dialect) ? pathOf[wire.dialect] : undefined;
        const told = !wire?.mustSay || wire.dialect !== 'openai-responses';
        const passes = wire && path !== undefined && !byTool && told && fits(wire, request);
        assertSupported(passes ? request : readable(request), capabilities, name);
        if (passes) return passThrough(request, wire, path, options);
        if (!byTool) return translate(request, options);
        return readJsonTool(lazyEvents(() => translate(withJsonTool(request), options)));
      }),
    ignores: (request) => ignoredByChat(request, capabilities, oddities),
    ...wholeCalls(upstream, paths, capabilities),
  };
}

interface Turn {
  readonly role?: unknown;
}
const isUnanswered = ({ role }: Turn, at: number, turns: readonly Turn[]): boolean =>
  turns[at - 1]?.role === 'tool' && role !== 'tool' && role !== 'assistant';
const saysThoughts = (message: Message): boolean => message.role === 'assistant' && message.reasoning !== undefined;
const calls = (message: Message): boolean => message.role === 'assistant' && message.toolCalls.length > 0;

const passWhole = ([start, ...rest]: readonly CompletionEvent[], bytes: Uint8Array): CompletionEvent[] => [
  ...(start ? [start] : []),
  { type: 'wire', bytes },
  ...rest,
];

/** Characters from which on it pays to look for the end of an answer's text instead of parsing it. */
const longAnswer = 2048;

/** The JSON of a chat answer with its first long text left empty: where nobody reads that, it is most of the work. */
function withoutText(json: string): string {
  const key = json.length < longAnswer ? undefined : /"content": ?"/.exec(json);
  if (!key) return json;
  const from = key.index + key[0].length;
  return json.slice(0, from) + json.slice(endOfString(json, from - 1));
}

/** A chat answer or text completion as events, whether it comes as a stream or as one object. */
async function readChat(response: TransportResponse, options?: ChatDecoderOptions): Promise<EventSource> {
  if (contentKind(response) === 'json') return decodeWhole(parseAnswer(await readText(response.body)), options);
  return through(response.body, () => readChatStream(options));
}

const continuesCall = ({ continueFinalMessage, messages }: ChatRequest): boolean => {
  const last = messages.at(-1);
  return continueFinalMessage && last?.role === 'assistant' && last.toolCalls.length > 0;
};

function decodeWhole(body: unknown, options?: ChatDecoderOptions): CompletionEvent[] {
  const decoder = createChatChunkDecoder(options);
  return [...decoder.push(isJsonObject(body) ? chatChunkOf(body) : body), ...decoder.end()];
}

/** An answer that filters read: beside what it says, as bytes, where that is all there is in them; else translated. */
function saying(body: unknown, text: string, bytes: Uint8Array): CompletionEvent[] {
  // Bytes that are no UTF-8 are a sign to us, and nothing to a client that leaves them out: such an answer is written anew.
  const plain = text.includes('\ufffd') ? undefined : readPlainCompletion(body, text);
  if (!plain) return decodeWhole(body);
  const { start, says, usage } = plain;
  const ends = says.filter(({ type }) => type === 'finish');
  return [start, { type: 'wire', bytes, says }, ...ends, ...usage];
}

const acknowledged: JsonObject = { role: 'assistant', content: 'I have read the results.' };

const answered = (turns: readonly JsonObject[]): JsonObject[] =>
  turns.flatMap((turn, at) => (isUnanswered(turn, at, turns) ? [acknowledged, turn] : [turn]));

/** The body as this server wants it. */
function adapt(body: JsonObject, oddities: OpenAiOddities): JsonObject {
  const { noStreamOptions, prefill = 'last-message', rename = {}, omit = [], answersTools } = oddities;
  const adapted: Record<string, Json | undefined> = {};
  for (const [name, value] of Object.entries(body)) {
    if (omit.includes(name) || (noStreamOptions && name === 'stream_options')) continue;
    adapted[rename[name] ?? name] = value;
  }
  if (answersTools) adapted['messages'] = answered(objectsOf(body['messages']));
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
