import type { z } from 'zod';
import { GatewayError } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import type { ChatRequest, Message, Part, ResponseFormat, Tool, ToolCall } from '../../core/request.ts';
import type { RequestSource } from '../format.ts';
import { extensionsOf, priorityOf, stopList, wireOf } from '../request-fields.ts';
import { missingParameter, parseBody } from '../validate.ts';
import { ollamaChatSchema, ollamaGenerateSchema } from './schema.ts';

type ChatBody = z.output<ReturnType<typeof ollamaChatSchema>>;
type GenerateBody = z.output<ReturnType<typeof ollamaGenerateSchema>>;

const modelled = new Set(
  'model stream format options keep_alive think logprobs top_logprobs messages tools prompt suffix images system template raw'.split(
    ' ',
  ),
);

const modelledOptions = new Set(
  'temperature top_p top_k min_p seed stop num_predict repeat_penalty frequency_penalty presence_penalty'.split(' '),
);

/** Ollama's clients add `:latest` to names that have no tag; ours have none. */
export const ollamaModel = (name: string): string => name.replace(/:latest$/, '');

/** True for a body without anything to answer: Ollama's way to load (or, with `keep_alive: 0`, unload) a model. */
export function isLoadRequest(body: JsonObject): boolean {
  const { messages, prompt } = body;
  return (Array.isArray(messages) ? messages.length === 0 : messages == null) && (prompt == null || prompt === '');
}

/** The body of `/api/chat`. Throws invalid_request that names the field. */
export function decodeOllamaChat(body: unknown, source: RequestSource = { headers: {} }): ChatRequest {
  const chat = parseBody(ollamaChatSchema(), body);
  const messages = decodeMessages(chat.messages ?? []);
  if (messages.length === 0) {
    throw missingParameter('messages');
  }
  return {
    ...decodeCommon(chat, body, source),
    messages,
    tools: (chat.tools ?? []).map(decodeTool),
    toolChoice: (chat.tools ?? []).length > 0 ? 'auto' : 'none',
    continueFinalMessage: chat.messages?.at(-1)?.role === 'assistant',
    dialect: 'ollama-chat',
    wire: wireOf('ollama-chat', body, source),
  };
}

/** `raw` or a `suffix` is a text completion; otherwise the prompt is a user's turn in the model's template. */
export function decodeOllamaGenerate(body: unknown, source: RequestSource = { headers: {} }): ChatRequest {
  const asked = parseBody(ollamaGenerateSchema(), body);
  const text = asked.prompt ?? '';
  const system: Message[] = asked.system ? [{ role: 'system', content: [{ type: 'text', text: asked.system }] }] : [];
  const plain = asked.raw === true || Boolean(asked.suffix);
  refuseOthers(asked, plain);
  return {
    ...decodeCommon(asked, body, source),
    messages: plain
      ? []
      : [...system, { role: 'user', content: [{ type: 'text', text }, ...(asked.images ?? []).map(decodeImage)] }],
    ...(plain ? { prompt: { text, echo: false, ...(asked.suffix ? { suffix: asked.suffix } : {}) } } : {}),
    tools: [],
    toolChoice: 'none',
    continueFinalMessage: false,
    dialect: 'ollama-generate',
    wire: wireOf('ollama-generate', body, source),
  };
}

/** Fields whose meaning nobody here could keep. */
function refuseOthers({ template, system, images, context }: GenerateBody, plain: boolean): void {
  const refuse = (param: string, why: string): never => {
    throw new GatewayError('unsupported', `'${param}' is not supported${why}.`, { param });
  };
  if (template) refuse('template', ': a model is asked through its own, or the one of its settings');
  if (Array.isArray(context) && context.length > 0) refuse('context', ': send the conversation to /api/chat');
  if (plain && system) refuse('system', " beside 'raw' or 'suffix'");
  if (plain && images && images.length > 0) refuse('images', " beside 'raw' or 'suffix'");
}

function decodeCommon(body: ChatBody | GenerateBody, raw: unknown, source: RequestSource) {
  const options = body.options ?? {};
  const limit = options.num_predict;
  return {
    model: ollamaModel(body.model),
    sampling: {
      ...(options.temperature == null ? {} : { temperature: Math.min(2, options.temperature) }),
      ...(options.top_p == null ? {} : { topP: options.top_p }),
      ...(options.top_k == null ? {} : { topK: Math.max(0, options.top_k) }),
      ...(options.min_p == null ? {} : { minP: options.min_p }),
      ...(options.seed == null ? {} : { seed: options.seed }),
      ...(options.repeat_penalty == null ? {} : { repeatPenalty: options.repeat_penalty }),
      ...(options.frequency_penalty == null ? {} : { frequencyPenalty: options.frequency_penalty }),
      ...(options.presence_penalty == null ? {} : { presencePenalty: options.presence_penalty }),
    },
    // -1 and -2 are Ollama's words for "to the end of the context"
    ...(limit == null || limit < 1 ? {} : { maxTokens: limit }),
    stop: stopList(options.stop).filter((text) => text !== ''),
    choices: 1,
    parallelToolCalls: true,
    responseFormat: decodeFormat(body.format),
    ...(body.logprobs ? { logprobs: { top: body.top_logprobs ?? 0 } } : {}),
    ...(body.think == null
      ? {}
      : {
          reasoning: typeof body.think === 'string' ? { effort: body.think, enabled: true } : { enabled: body.think },
        }),
    stream: body.stream ?? true, // Ollama's default
    priority: priorityOf(source.headers),
    // the other samplers have llama.cpp's names here too
    extensions: { ...extensionsOf(raw, modelled), ...extensionsOf(options, modelledOptions) },
    answer: { model: body.model },
  };
}

function decodeFormat(format: ChatBody['format']): ResponseFormat {
  if (format == null || format === '') return { type: 'text' };
  if (format === 'json') return { type: 'json-object' };
  return { type: 'json-schema', name: 'response', schema: format as JsonObject }; // out of JSON.parse
}

function decodeTool({ function: { name, description, parameters } }: NonNullable<ChatBody['tools']>[number]): Tool {
  return {
    kind: 'function',
    name,
    ...(description == null ? {} : { description }),
    ...(parameters == null ? {} : { parameters: parameters as JsonObject }), // out of JSON.parse
  };
}

/** Base64 without a word on its kind; the first bytes tell. */
function decodeImage(data: string): Part {
  const kind = data.startsWith('/9j/') ? 'jpeg' : data.startsWith('UklGR') ? 'webp' : 'png';
  return { type: 'image', url: data.startsWith('data:') ? data : `data:image/${kind};base64,${data}` };
}

/** Ollama's calls have no ids: answers belong to the calls before them, by name or else in order. */
function decodeMessages(bodies: NonNullable<ChatBody['messages']>): Message[] {
  let count = 0;
  let open: ToolCall[] = [];
  return bodies.map((body): Message => {
    const text: Part[] = body.content ? [{ type: 'text', text: body.content }] : [];
    switch (body.role) {
      case 'system':
        return { role: 'system', content: text };
      case 'user':
        return { role: 'user', content: [...text, ...(body.images ?? []).map(decodeImage)] };
      case 'assistant': {
        const toolCalls = (body.tool_calls ?? []).map(({ id, function: call }): ToolCall => {
          const args = call.arguments ?? {};
          return {
            id: id ?? `call_ollama_${count++}`,
            kind: 'function',
            name: call.name,
            arguments: typeof args === 'string' ? args : JSON.stringify(args),
          };
        });
        open = [...toolCalls];
        const reasoning = body.thinking ? { reasoning: [{ text: body.thinking }] } : {};
        return { role: 'assistant', content: text, toolCalls, ...reasoning };
      }
      case 'tool': {
        const named = open.findIndex((call) => call.id === body.tool_call_id || call.name === body.tool_name);
        const [call] = open.splice(Math.max(0, named), 1);
        const id = body.tool_call_id ?? call?.id ?? `call_ollama_${Math.max(0, count - 1)}`;
        return { role: 'tool', toolCallId: id, content: text, ...(body.tool_name ? { name: body.tool_name } : {}) };
      }
      default:
        return body.role satisfies never;
    }
  });
}
