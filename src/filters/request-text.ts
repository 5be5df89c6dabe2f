import type { Json, JsonObject } from '../core/json.ts';
import type { ChatRequest, Message, Part, ResponseFormat, Tool } from '../core/request.ts';

/** Changes one text; `json`: the text is JSON (arguments of a tool call). */
export type RewriteText = (text: string, json: boolean) => string;

/**
 * The request with every text that leaves for an upstream passed through `rewrite`: turns, raw prompt, tool
 * descriptions, the answer's format, stop texts, metadata and fields we do not model. Data URLs and attached bytes are not text.
 */
export function rewriteRequest(request: ChatRequest, rewrite: RewriteText): ChatRequest {
  const plain = (text: string) => rewrite(text, false);
  const { prompt, prediction, promptCacheKey, user, metadata } = request;
  return {
    ...request,
    messages: request.messages.map((message) => rewriteMessage(message, rewrite)),
    ...(prompt && {
      prompt: {
        ...prompt,
        text: typeof prompt.text === 'string' ? plain(prompt.text) : prompt.text,
        ...(prompt.suffix !== undefined && { suffix: plain(prompt.suffix) }),
        ...(prompt.files && {
          files: prompt.files.map(({ filename, text }) => ({ filename: plain(filename), text: plain(text) })),
        }),
      },
    }),
    stop: request.stop.map(plain),
    tools: request.tools.map((tool) => rewriteTool(tool, plain)),
    responseFormat: rewriteFormat(request.responseFormat, plain),
    ...(prediction !== undefined && { prediction: plain(prediction) }),
    ...(promptCacheKey !== undefined && { promptCacheKey: plain(promptCacheKey) }),
    ...(user !== undefined && { user: plain(user) }),
    ...(metadata && {
      metadata: Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, plain(value)])),
    }),
    extensions: rewriteStrings(request.extensions, plain) as JsonObject, // an object stays one
  };
}

/** Every text of a request, for filters that read it as a whole. Its own words only: no tools, no metadata. */
export function textsOf(request: ChatRequest): readonly string[] {
  const texts: string[] = [];
  const collect: RewriteText = (text) => {
    texts.push(text);
    return text;
  };
  if (typeof request.prompt?.text === 'string') texts.push(request.prompt.text);
  for (const message of request.messages) rewriteMessage(message, collect);
  return texts;
}

/** The request with those texts in place of its own, in the same order. */
export function withTexts(request: ChatRequest, texts: readonly string[]): ChatRequest {
  let at = 0;
  const next: RewriteText = (text) => texts[at++] ?? text;
  const { prompt } = request;
  return {
    ...request,
    ...(typeof prompt?.text === 'string' && { prompt: { ...prompt, text: next(prompt.text, false) } }),
    messages: request.messages.map((message) => rewriteMessage(message, next)),
  };
}

function rewriteMessage(message: Message, rewrite: RewriteText): Message {
  const content = message.content.map((part) => rewritePart(part, rewrite));
  const name = message.name === undefined ? {} : { name: rewrite(message.name, false) };
  if (message.role !== 'assistant') return { ...message, content, ...name };
  const { reasoning, refusal } = message;
  return {
    ...message,
    content,
    ...name,
    toolCalls: message.toolCalls.map((call) => ({
      ...call,
      arguments: rewrite(call.arguments, call.kind === 'function'),
    })),
    ...(reasoning && {
      reasoning: reasoning.map((block) => {
        const text = rewrite(block.text, false);
        if (text === block.text) return block;
        const { signature: _, ...unsigned } = block; // it signs the text as it was
        return { ...unsigned, text };
      }),
    }),
    ...(refusal !== undefined && { refusal: rewrite(refusal, false) }),
  };
}

function rewritePart(part: Part, rewrite: RewriteText): Part {
  if (part.type === 'text') return { ...part, text: rewrite(part.text, false) };
  if (part.type === 'image' && !part.url.startsWith('data:')) return { ...part, url: rewrite(part.url, false) };
  if (part.type === 'file' && part.filename !== undefined) return { ...part, filename: rewrite(part.filename, false) };
  return part;
}

function rewriteTool(tool: Tool, plain: (text: string) => string): Tool {
  return {
    ...tool,
    ...(tool.description !== undefined && { description: plain(tool.description) }),
    ...(tool.parameters && { parameters: rewriteStrings(tool.parameters, plain) as JsonObject }), // an object stays one
  };
}

function rewriteFormat(format: ResponseFormat, plain: (text: string) => string): ResponseFormat {
  if (format.type === 'grammar') return { ...format, grammar: plain(format.grammar) };
  if (format.type !== 'json-schema') return format;
  const { description } = format;
  return {
    ...format,
    schema: rewriteStrings(format.schema, plain) as JsonObject, // an object stays one
    ...(description !== undefined && { description: plain(description) }),
  };
}

/** Values only: keys are the sender's own program. */
function rewriteStrings(value: Json | undefined, plain: (text: string) => string, depth = 0): Json | undefined {
  if (typeof value === 'string') return plain(value);
  if (typeof value !== 'object' || value === null || depth > 64) return value;
  if (Array.isArray(value)) return value.map((item: Json) => rewriteStrings(item, plain, depth + 1) ?? null);
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([key, item]) => [key, rewriteStrings(item, plain, depth + 1)]),
  );
}
