import type { Json, JsonObject } from '../../core/json.ts';
import type {
  ChatRequest,
  PromptReference,
  ReasoningOptions,
  ResponseFormat,
  Sampling,
  Tool,
  ToolChoice,
  Unsayable,
} from '../../core/request.ts';
import type { RequestSource } from '../format.ts';
import { checkToolChoice, extensionsOf, priorityOf, stopList, wireOf } from '../request-fields.ts';
import { invalidValue, parseBody } from '../validate.ts';
import { withChatForms, withoutUnknown } from './loose.ts';
import { decodeMessages } from './messages.ts';
import { isPlainChat } from './plain.ts';
import { type ChatBody, chatRequestSchema, type ToolBody } from './schema.ts';

/** Fields that the vocabulary holds; everything else a client sends travels in `extensions`. */
const modelled = new Set(
  [
    'messages model max_completion_tokens max_tokens n_predict temperature top_p top_k min_p seed frequency_penalty presence_penalty',
    'repetition_penalty repeat_penalty logit_bias n stop logprobs top_logprobs response_format grammar tools tool_choice',
    'parallel_tool_calls functions function_call stream stream_options prediction reasoning_effort metadata store',
    'user prompt_cache_key service_tier continue_final_message prompt',
  ].flatMap((line) => line.split(' ')),
);

/** An OpenAI chat request as our own. Throws invalid_request with OpenAI's code and the path of the field at fault. */
export function decodeChatRequest(body: unknown, source: RequestSource = { headers: {} }): ChatRequest {
  if (isPlainChat(body)) return requestOf(body, body, true, source);
  const formed = withChatForms(body);
  const { chat, unknown } = parseKnown(formed);
  // an upstream would refuse what was written another way
  return requestOf(chat, body, formed === body, source, unknown);
}

/** Parts and tools of other kinds than ours are no fault of the client's: an upstream may know them. */
function parseKnown(body: unknown): { readonly chat: ChatBody; readonly unknown?: Unsayable | undefined } {
  try {
    return { chat: parseBody(chatRequestSchema(), body) };
  } catch (error) {
    const { body: known, unknown } = withoutUnknown(body);
    if (!unknown) throw error;
    return { chat: parseBody(chatRequestSchema(), known), unknown };
  }
}

/** The wish for an answer that is not text, of which we could give on nothing but the bytes. */
function spoken({ modalities, audio }: JsonObject): Unsayable | undefined {
  if (Array.isArray(modalities) && modalities.some((kind) => kind !== 'text')) {
    return { param: 'modalities', what: 'answers that are not text' };
  }
  return audio === undefined ? undefined : { param: 'audio', what: 'audio' };
}

/** Every field is there, undefined where absent: requests of one shape are read and copied faster by all that follows. */
function requestOf(
  chat: ChatBody,
  body: unknown,
  asSent: boolean,
  source: RequestSource,
  unknown?: Unsayable,
): ChatRequest {
  const extensions = extensionsOf(body, modelled);
  const tools = decodeTools(chat);
  const last = chat.messages.at(-1);
  const prediction = chat.prediction?.content ?? undefined;
  return {
    model: chat.model,
    messages: decodeMessages(chat.messages),
    sampling: decodeSampling(chat),
    maxTokens: chat.max_completion_tokens ?? chat.max_tokens ?? limitOf(chat.n_predict),
    stop: stopList(chat.stop),
    choices: chat.n ?? 1,
    tools,
    toolChoice: decodeToolChoice(chat, tools),
    parallelToolCalls: chat.functions ? false : (chat.parallel_tool_calls ?? true),
    responseFormat: decodeResponseFormat(chat),
    logprobs: decodeLogprobs(chat),
    reasoning: decodeReasoning(chat),
    prediction: Array.isArray(prediction) ? prediction.map((part) => part.text).join('') : prediction,
    continueFinalMessage: chat.continue_final_message ?? (last?.role === 'assistant' && last.prefix === true),
    stream: chat.stream ?? false,
    priority: priorityOf(source.headers),
    promptCacheKey: chat.prompt_cache_key ?? undefined,
    user: chat.safety_identifier ?? chat.user ?? undefined,
    metadata: chat.metadata ?? undefined,
    serviceTier: chat.service_tier ?? undefined,
    store: chat.store ?? undefined,
    promptTemplate: decodePromptReference(chat.prompt),
    dialect: 'openai-chat',
    extensions,
    onlyAsSent: unknown ?? spoken(extensions),
    answer: {
      includeUsage: chat.stream_options?.include_usage === true,
      includeObfuscation: chat.stream_options?.include_obfuscation === true,
      // the deprecated `functions` were used: calls go back as `function_call`
      legacyFunctions: (chat.functions ?? []).length > 0,
    },
    wire: asSent ? wireOf('openai-chat', body, source) : undefined,
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** llama.cpp's `n_predict`: undefined where it is none. */
export const limitOf = (most: number | null | undefined): number | undefined =>
  most == null || most < 0 ? undefined : most;

type SamplingBody = Pick<
  ChatBody,
  | 'temperature'
  | 'top_p'
  | 'top_k'
  | 'min_p'
  | 'seed'
  | 'frequency_penalty'
  | 'presence_penalty'
  | 'repetition_penalty'
  | 'repeat_penalty'
  | 'logit_bias'
>;

/** Sampling fields under OpenAI’s, llama.cpp’s and vLLM’s names. */
export function decodeSampling(body: SamplingBody): Sampling {
  const sampling: Mutable<Sampling> = {};
  const repeatPenalty = body.repeat_penalty ?? body.repetition_penalty;
  if (body.temperature != null) sampling.temperature = body.temperature;
  if (body.top_p != null) sampling.topP = body.top_p;
  if (body.top_k != null) sampling.topK = Math.max(0, body.top_k); // vLLM's -1 is llama.cpp's 0: all tokens
  if (body.min_p != null) sampling.minP = body.min_p;
  if (body.seed != null) sampling.seed = body.seed;
  if (body.frequency_penalty != null) sampling.frequencyPenalty = body.frequency_penalty;
  if (body.presence_penalty != null) sampling.presencePenalty = body.presence_penalty;
  if (repeatPenalty != null) sampling.repeatPenalty = repeatPenalty;
  if (body.logit_bias != null && Object.keys(body.logit_bias).length > 0) sampling.logitBias = body.logit_bias;
  return sampling;
}

function decodeTools({ tools, functions }: ChatBody): Tool[] {
  const decoded = (tools ?? []).map(decodeTool);
  for (const one of functions ?? []) decoded.push(decodeTool({ type: 'function', function: one }));
  return decoded;
}

function decodeTool(tool: ToolBody): Tool {
  if (tool.type === 'custom') {
    const { name, description, format } = tool.custom;
    return {
      kind: 'custom',
      name,
      ...(description == null ? {} : { description }),
      ...(format == null ? {} : { format: format as JsonObject }), // out of JSON.parse
    };
  }
  const { name, description, parameters, strict } = tool.function;
  const cacheControl = tool['cache_control'] as Json | undefined; // out of JSON.parse
  return {
    kind: 'function',
    name,
    ...(description == null ? {} : { description }),
    ...(parameters == null ? {} : { parameters: parameters as JsonObject }), // out of JSON.parse
    ...(strict == null ? {} : { strict }),
    ...(cacheControl == null ? {} : { cacheControl }),
  };
}

function decodeToolChoice(chat: ChatBody, tools: readonly Tool[]): ToolChoice {
  const { tool_choice: choice, function_call: legacy } = chat;
  if (legacy != null && choice == null) {
    if (typeof legacy === 'string') return tools.length === 0 ? 'none' : legacy;
    return checkToolChoice({ type: 'named', name: legacy.name }, tools, 'function_call');
  }
  if (choice == null) return tools.length === 0 ? 'none' : 'auto';
  if (typeof choice === 'string') return checkToolChoice(choice, tools, 'tool_choice');
  switch (choice.type) {
    case 'function':
      return checkToolChoice({ type: 'named', name: choice.function.name }, tools, 'tool_choice');
    case 'custom':
      return checkToolChoice({ type: 'named', name: choice.custom.name }, tools, 'tool_choice');
    case 'allowed_tools': {
      const { mode, tools: allowed } = choice.allowed_tools;
      const names = allowed.map((tool) => (tool.type === 'function' ? tool.function.name : tool.custom.name));
      return checkToolChoice({ type: 'allowed', mode, names }, tools, 'tool_choice');
    }
    default:
      return choice satisfies never;
  }
}

function decodeResponseFormat(chat: ChatBody): ResponseFormat {
  if (chat.grammar != null) return { type: 'grammar', grammar: chat.grammar };
  const format = chat.response_format;
  switch (format?.type) {
    case undefined:
    case 'text':
      return { type: 'text' };
    case 'json_object':
      // llama.cpp's habit: a schema beside json_object
      return format.schema == null
        ? { type: 'json-object' }
        : { type: 'json-schema', name: 'response', schema: format.schema as JsonObject }; // out of JSON.parse
    case 'json_schema': {
      const { name, schema, strict, description } = format.json_schema;
      return {
        type: 'json-schema',
        name,
        schema: (schema ?? {}) as JsonObject, // out of JSON.parse
        ...(strict == null ? {} : { strict }),
        ...(description == null ? {} : { description }),
      };
    }
    default:
      return format satisfies never;
  }
}

function decodeLogprobs(chat: ChatBody): { top: number } | undefined {
  if (chat.logprobs) return { top: chat.top_logprobs ?? 0 };
  if (chat.top_logprobs == null || chat.top_logprobs === 0) return undefined;
  throw invalidValue('top_logprobs', "'top_logprobs' needs 'logprobs' to be true.");
}

function decodeReasoning({ reasoning_effort, reasoning }: ChatBody): ReasoningOptions | undefined {
  const effort = reasoning_effort ?? reasoning?.effort;
  if (effort == null && reasoning == null) return undefined;
  const enabled = reasoning?.enabled ?? (effort === 'none' ? false : undefined);
  return {
    ...(effort == null ? {} : { effort }),
    ...(reasoning?.max_tokens == null ? {} : { budgetTokens: reasoning.max_tokens }),
    ...(enabled === undefined ? {} : { enabled }),
    ...(reasoning?.summary == null ? {} : { summary: reasoning.summary }),
  };
}

/** `prompt: { id, version, variables }` of a request. */
export function decodePromptReference(prompt: ChatBody['prompt']): PromptReference | undefined {
  if (prompt == null) return undefined;
  const reference = { id: prompt.id, variables: (prompt.variables ?? {}) as Record<string, Json> }; // out of JSON.parse
  return prompt.version == null ? reference : { ...reference, version: prompt.version };
}
