import type { Json, JsonObject } from '../../core/json.ts';
import type { ChatRequest, Message, Part, ResponseFormat, Tool, ToolChoice } from '../../core/request.ts';
import { withTextResults } from '../../core/tool-results.ts';
import { encodeToolCall } from './encode.ts';
import { encodeReasoningDetails } from './reasoning-details.ts';

export interface UpstreamChatOptions {
  /** Old servers know only `max_tokens`, OpenAI's reasoning models only `max_completion_tokens`. */
  readonly maxTokensField?: 'max_tokens' | 'max_completion_tokens';
  /** Servers that know no `developer` role. */
  readonly developerAsSystem?: boolean;
  /**
   * Where thinking of earlier turns is taken, if not in `reasoning_content`; in another field it is refused. `required`:
   * there, and a turn that calls a tool is refused without it, whatever the client has kept.
   */
  readonly thoughts?: 'reasoning' | 'details' | 'parts' | 'nowhere' | 'required';
  /** Its own field for a wish to think that is no effort, as clients of other APIs have it. */
  readonly thinkingField?: 'reasoning' | 'chat_template_kwargs';
  /** Thinking is switched by `thinking: { type }`; `none` is no effort. */
  readonly thinkingSwitch?: boolean;
  /** Refuses messages with a `name`. */
  readonly nameless?: boolean;
  /** Refuses what OpenAI's own chat has not: samplers and marks of the cache that a client of another API sends stay behind. */
  readonly strict?: boolean;
}

/** Our request as an OpenAI chat body for an upstream: always a stream with usage, since all inside is a stream. */
export function encodeChatRequest(request: ChatRequest, asked: UpstreamChatOptions = {}): JsonObject {
  const { sampling, reasoning } = request;
  const strict = asked.strict === true && !request.dialect.startsWith('openai-');
  const options = { ...asked, strict };
  const field = options.maxTokensField ?? 'max_tokens';
  return {
    ...unmodelled(request),
    model: request.model,
    messages: withTextResults(request.messages).map((message) => encodeMessage(message, options, request.model)),
    ...optional('temperature', sampling.temperature),
    ...optional('top_p', sampling.topP),
    ...(strict ? {} : optional('top_k', sampling.topK)),
    ...(strict ? {} : optional('min_p', sampling.minP)),
    ...optional('seed', sampling.seed),
    ...optional('frequency_penalty', sampling.frequencyPenalty),
    ...optional('presence_penalty', sampling.presencePenalty),
    ...(strict ? {} : optional('repetition_penalty', sampling.repeatPenalty)),
    ...optional('logit_bias', sampling.logitBias),
    ...optional(field, request.maxTokens),
    ...(request.stop.length > 0 ? { stop: request.stop } : {}),
    ...(request.choices > 1 ? { n: request.choices } : {}),
    ...encodeTools(request),
    ...encodeResponseFormat(request.responseFormat),
    ...(request.logprobs
      ? { logprobs: true, ...(request.logprobs.top > 0 ? { top_logprobs: request.logprobs.top } : {}) }
      : {}),
    ...(options.thinkingSwitch
      ? switchedThinking(request)
      : { ...optional('reasoning_effort', effortOf(reasoning?.effort, strict)), ...thinkingOf(request, options) }),
    ...(request.prediction === undefined ? {} : { prediction: { type: 'content', content: request.prediction } }),
    ...optional('prompt_cache_key', request.promptCacheKey),
    ...('safety_identifier' in request.extensions ? {} : optional('user', request.user)),
    ...optional('service_tier', request.serviceTier),
    ...(request.continueFinalMessage ? { continue_final_message: true, add_generation_prompt: false } : {}),
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** Efforts above OpenAI's common ones are refused by most models; clients of the Messages API name them. */
const effortOf = (effort: string | undefined, strict: boolean): string | undefined =>
  strict && (effort === 'max' || effort === 'xhigh') ? 'high' : effort;

/** The wish to think where it is no effort: the client's own field stands among its extensions. */
function thinkingOf({ dialect, reasoning }: ChatRequest, { thinkingField }: UpstreamChatOptions): JsonObject {
  if (!reasoning || dialect === 'openai-chat' || thinkingField === undefined || reasoning.effort !== undefined)
    return {};
  const { budgetTokens, enabled } = reasoning;
  if (enabled === undefined && budgetTokens === undefined) return {}; // how thoughts are told is no wish for them
  const on = enabled !== false && budgetTokens !== 0;
  if (thinkingField === 'chat_template_kwargs') return { chat_template_kwargs: { enable_thinking: on } };
  return { reasoning: on && budgetTokens !== undefined ? { max_tokens: budgetTokens } : { enabled: on } };
}

function switchedThinking({ reasoning }: ChatRequest): JsonObject {
  const { effort, enabled, budgetTokens } = reasoning ?? {};
  if (enabled === false || effort === 'none' || budgetTokens === 0) return { thinking: { type: 'disabled' } };
  const switched = enabled || budgetTokens !== undefined ? { thinking: { type: 'enabled' } } : {};
  return { ...switched, ...optional('reasoning_effort', effort) };
}

/** Fields of responses that chat has too, with the same meaning; `verbosity` stands in its `text` there. */
export const responsesFields = ['verbosity', 'prompt_cache_retention', 'prompt_cache_options', 'safety_identifier'];

/** What we don't model reaches an upstream of the client's own dialect; another dialect's fields would only confuse it. */
function unmodelled({ dialect, extensions }: ChatRequest): JsonObject {
  if (dialect === 'openai-chat') return extensions;
  if (dialect !== 'openai-responses') return {};
  return Object.fromEntries(Object.entries(extensions).filter(([name]) => responsesFields.includes(name)));
}

const optional = (name: string, value: Json | undefined): JsonObject => (value === undefined ? {} : { [name]: value });

function encodeTools({ tools, toolChoice, parallelToolCalls }: ChatRequest): JsonObject {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(encodeTool),
    ...(toolChoice === 'auto' ? {} : { tool_choice: encodeToolChoice(toolChoice, tools) }),
    ...(parallelToolCalls ? {} : { parallel_tool_calls: false }),
  };
}

function encodeTool(tool: Tool): JsonObject {
  const description = optional('description', tool.description);
  if (tool.kind === 'custom') {
    return { type: 'custom', custom: { name: tool.name, ...description, ...optional('format', tool.format) } };
  }
  return {
    type: 'function',
    function: {
      name: tool.name,
      ...description,
      ...optional('parameters', tool.parameters),
      ...optional('strict', tool.strict),
    },
  };
}

function encodeToolChoice(choice: ToolChoice, tools: readonly Tool[]): Json {
  if (typeof choice === 'string') return choice;
  const named = (name: string): JsonObject =>
    tools.find((tool) => tool.name === name)?.kind === 'custom'
      ? { type: 'custom', custom: { name } }
      : { type: 'function', function: { name } };
  if (choice.type === 'named') return named(choice.name);
  return { type: 'allowed_tools', allowed_tools: { mode: choice.mode, tools: choice.names.map(named) } };
}

function encodeResponseFormat(format: ResponseFormat): JsonObject {
  switch (format.type) {
    case 'text':
      return {};
    case 'json-object':
      return { response_format: { type: 'json_object' } };
    case 'json-schema': {
      const { name, schema, strict, description } = format;
      return {
        response_format: {
          type: 'json_schema',
          json_schema: { name, schema, ...optional('strict', strict), ...optional('description', description) },
        },
      };
    }
    case 'grammar':
      return { grammar: format.grammar };
    default:
      return format satisfies never;
  }
}

function encodeMessage(message: Message, options: UpstreamChatOptions, model: string): JsonObject {
  const name = 'name' in message && !options.nameless ? optional('name', message.name) : {};
  switch (message.role) {
    case 'system':
    case 'developer':
      return {
        role: options.developerAsSystem ? 'system' : message.role,
        content: encodeContent(message.content, options),
        ...name,
      };
    case 'user':
      return { role: 'user', content: encodeContent(message.content, options), ...name };
    case 'tool':
      return { role: 'tool', tool_call_id: message.toolCallId, content: encodeContent(message.content, options) };
    case 'assistant': {
      const calls = message.toolCalls;
      const owed = options.thoughts === 'required' && calls.length > 0;
      const silent = message.content.length === 0 && calls.length > 0 && !owed;
      const content = silent ? null : encodeContent(message.content, options);
      const thoughts = message.reasoning?.map((block) => block.text).join('') ?? '';
      return {
        role: 'assistant',
        content,
        // where nobody knows them any more a blank is taken, but nothing is not
        ...encodeThoughts(thoughts === '' && owed ? ' ' : thoughts, content, options),
        ...(options.thoughts === 'details' ? encodeReasoningDetails(message.reasoning, model) : {}),
        ...optional('refusal', message.refusal),
        ...(calls.length > 0 ? { tool_calls: calls.map(encodeToolCall) } : {}),
        ...name,
      };
    }
    default:
      return message satisfies never;
  }
}

/** Thinking before `content`, as fields that stand in place of it or beside it. */
function encodeThoughts(text: string, content: Json, { thoughts }: UpstreamChatOptions): JsonObject {
  if (text === '' || thoughts === 'nowhere') return {};
  if (thoughts !== 'parts')
    return { [thoughts === 'reasoning' || thoughts === 'details' ? 'reasoning' : 'reasoning_content']: text };
  const parts = typeof content !== 'string' ? content : content === '' ? [] : [{ type: 'text', text: content }];
  const thinking = { type: 'thinking', thinking: [{ type: 'text', text }] };
  return { content: [thinking, ...(Array.isArray(parts) ? parts : [])] };
}

/** A plain string where that says it all: every server reads it. */
function encodeContent(content: readonly Part[], options: UpstreamChatOptions): Json {
  const plain = content.every((part) => part.type === 'text' && (part.cacheControl === undefined || options.strict));
  if (plain && content.length <= 1) return content.map((part) => (part.type === 'text' ? part.text : '')).join('');
  return content.map((part) => encodePart(part, options));
}

function encodePart(part: Part, { strict }: UpstreamChatOptions): JsonObject {
  switch (part.type) {
    case 'text':
      return {
        type: 'text',
        text: part.text,
        ...(strict ? {} : optional('cache_control', part.cacheControl)),
      };
    case 'image':
      return { type: 'image_url', image_url: { url: part.url, ...optional('detail', part.detail) } };
    case 'audio':
      return { type: 'input_audio', input_audio: { data: part.data, format: part.format } };
    case 'file':
      return {
        type: 'file',
        file: {
          ...optional('file_data', part.data),
          ...optional('file_id', part.fileId),
          ...optional('filename', part.filename),
        },
      };
    default:
      return part satisfies never;
  }
}
