import { GatewayError } from '../../core/errors.ts';
import type { Json, JsonObject } from '../../core/json.ts';
import { isJsonObject } from '../../core/json.ts';
import type {
  ChatRequest,
  Priority,
  ReasoningOptions,
  ResponseFormat,
  Sampling,
  Tool,
  ToolChoice,
} from '../../core/request.ts';
import type { RequestSource } from '../format.ts';
import { parseBody } from '../validate.ts';
import { withChatForms } from './loose.ts';
import { decodeMessages } from './messages.ts';
import { type ChatBody, chatRequestSchema, type ToolBody } from './schema.ts';

/** Fields that the vocabulary holds; everything else a client sends travels in `extensions`. */
const modelled = new Set(
  [
    'messages model max_completion_tokens max_tokens temperature top_p top_k min_p seed frequency_penalty presence_penalty',
    'repetition_penalty repeat_penalty logit_bias n stop logprobs top_logprobs response_format grammar tools tool_choice',
    'parallel_tool_calls functions function_call stream stream_options prediction reasoning_effort reasoning metadata store',
    'user safety_identifier prompt_cache_key service_tier continue_final_message prompt',
  ].flatMap((line) => line.split(' ')),
);

/** An OpenAI chat request as our own. Throws invalid_request with OpenAI's code and the path of the field at fault. */
export function decodeChatRequest(body: unknown, source: RequestSource = { headers: {} }): ChatRequest {
  const formed = withChatForms(body);
  const chat = parseBody(chatRequestSchema(), formed);
  const tools = decodeTools(chat);
  const messages = decodeMessages(chat.messages);
  const last = chat.messages.at(-1);
  const maxTokens = chat.max_completion_tokens ?? chat.max_tokens;
  const reasoning = decodeReasoning(chat);
  const prediction = chat.prediction?.content;
  const user = chat.safety_identifier ?? chat.user;
  return {
    model: chat.model,
    messages,
    sampling: decodeSampling(chat),
    ...(maxTokens == null ? {} : { maxTokens }),
    stop: stopList(chat.stop),
    choices: chat.n ?? 1,
    tools,
    toolChoice: decodeToolChoice(chat, tools),
    parallelToolCalls: chat.functions ? false : (chat.parallel_tool_calls ?? true),
    responseFormat: decodeResponseFormat(chat),
    ...decodeLogprobs(chat),
    ...(reasoning ? { reasoning } : {}),
    ...(prediction == null
      ? {}
      : { prediction: typeof prediction === 'string' ? prediction : prediction.map((part) => part.text).join('') }),
    continueFinalMessage: chat.continue_final_message ?? (last?.role === 'assistant' && last.prefix === true),
    stream: chat.stream ?? false,
    priority: priorityOf(source.headers),
    ...(chat.prompt_cache_key == null ? {} : { promptCacheKey: chat.prompt_cache_key }),
    ...(user == null ? {} : { user }),
    ...(chat.metadata == null ? {} : { metadata: chat.metadata }),
    ...(chat.service_tier == null ? {} : { serviceTier: chat.service_tier }),
    ...(chat.store == null ? {} : { store: chat.store }),
    ...decodePromptReference(chat.prompt),
    dialect: 'openai-chat',
    extensions: extensionsOf(body, modelled),
    answer: {
      includeUsage: chat.stream_options?.include_usage === true,
      includeObfuscation: chat.stream_options?.include_obfuscation === true,
      // the deprecated `functions` were used: calls go back as `function_call`
      legacyFunctions: (chat.functions ?? []).length > 0,
    },
    // an upstream would refuse what was written another way
    ...(formed === body ? { wire: wireOf('openai-chat', body, source) } : {}),
  };
}

export function wireOf(
  dialect: ChatRequest['dialect'],
  body: unknown,
  source: RequestSource,
): NonNullable<ChatRequest['wire']> {
  return {
    dialect,
    body: isJsonObject(body) ? body : {},
    ...(source.bytes ? { bytes: source.bytes } : {}),
    headers: dialectHeaders(source.headers),
  };
}

/** Client headers that mean something to an upstream of the same dialect; never credentials. */
function dialectHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const header of ['anthropic-beta', 'anthropic-version', 'openai-beta', 'idempotency-key']) {
    const value = headers[header];
    if (value !== undefined) kept[header] = value;
  }
  return kept;
}

/** Own fields of `body` that are not in `known`; nulls mean absent. */
export function extensionsOf(body: unknown, known: ReadonlySet<string>): JsonObject {
  if (!isJsonObject(body)) return {};
  const rest: Record<string, Json> = {};
  for (const key of Object.keys(body)) {
    const value = body[key];
    if (known.has(key) || key === '__proto__' || value === null || value === undefined) continue;
    rest[key] = value;
  }
  return rest;
}

export function priorityOf(headers: Readonly<Record<string, string>>): Priority {
  const value = headers['x-tidegate-priority'];
  if (value === undefined || value === '') return 'normal';
  if (value === 'interactive' || value === 'normal' || value === 'batch') return value;
  throw new GatewayError(
    'invalid_request',
    "Invalid header 'x-tidegate-priority': use 'interactive', 'normal' or 'batch'.",
    { code: 'invalid_value', param: 'x-tidegate-priority' },
  );
}

export const stopList = (stop: string | readonly string[] | null | undefined): readonly string[] =>
  stop == null ? [] : typeof stop === 'string' ? [stop] : [...new Set(stop)];

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

export function decodeSampling(body: SamplingBody): Sampling {
  const repeatPenalty = body.repeat_penalty ?? body.repetition_penalty;
  return {
    ...(body.temperature == null ? {} : { temperature: body.temperature }),
    ...(body.top_p == null ? {} : { topP: body.top_p }),
    ...(body.top_k == null ? {} : { topK: Math.max(0, body.top_k) }), // vLLM's -1 is llama.cpp's 0: all tokens
    ...(body.min_p == null ? {} : { minP: body.min_p }),
    ...(body.seed == null ? {} : { seed: body.seed }),
    ...(body.frequency_penalty == null ? {} : { frequencyPenalty: body.frequency_penalty }),
    ...(body.presence_penalty == null ? {} : { presencePenalty: body.presence_penalty }),
    ...(repeatPenalty == null ? {} : { repeatPenalty }),
    ...(body.logit_bias == null ? {} : { logitBias: body.logit_bias }),
  };
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

/** A choice that no answer can satisfy is the client's error, said before anything is spent. */
export function checkToolChoice(choice: ToolChoice, tools: readonly Tool[], param: string): ToolChoice {
  if (choice === 'auto' || choice === 'none') return tools.length === 0 ? 'none' : choice;
  if (tools.length === 0) {
    throw new GatewayError('invalid_request', `'${param}' is only allowed when 'tools' are specified.`, {
      code: 'invalid_value',
      param,
    });
  }
  const names = choice === 'required' ? [] : choice.type === 'named' ? [choice.name] : choice.names;
  const missing = names.find((name) => !tools.some((tool) => tool.name === name));
  if (missing !== undefined) {
    throw new GatewayError('invalid_request', `Tool choice '${missing}' not found in 'tools'.`, {
      code: 'invalid_value',
      param,
    });
  }
  return choice;
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

function decodeLogprobs(chat: ChatBody): { logprobs?: { top: number } } {
  if (chat.logprobs) return { logprobs: { top: chat.top_logprobs ?? 0 } };
  if (chat.top_logprobs == null || chat.top_logprobs === 0) return {};
  throw new GatewayError('invalid_request', "'top_logprobs' needs 'logprobs' to be true.", {
    code: 'invalid_value',
    param: 'top_logprobs',
  });
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

export function decodePromptReference(
  prompt: ChatBody['prompt'],
): Pick<ChatRequest, 'promptTemplate'> | Record<never, never> {
  if (prompt == null) return {};
  return {
    promptTemplate: {
      id: prompt.id,
      ...(prompt.version == null ? {} : { version: prompt.version }),
      variables: (prompt.variables ?? {}) as Record<string, Json>, // out of JSON.parse
    },
  };
}
