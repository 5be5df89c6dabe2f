import { type Json, type JsonObject, objectOf } from '../../core/json.ts';
import type { ChatRequest, Message, ResponseFormat, Tool, ToolChoice } from '../../core/request.ts';
import type { RequestSource } from '../format.ts';
import { decodePromptReference, decodeSampling } from '../openai/decode.ts';
import { checkToolChoice, extensionsOf, priorityOf, wireOf } from '../request-fields.ts';
import { missingParameter, parseBody } from '../validate.ts';
import { decodeItems, type Input, inputItems, type Unsaid } from './items.ts';
import {
  customToolSchema,
  functionToolSchema,
  namespaceToolSchema,
  type ResponseBody,
  responseRequestSchema,
} from './schema.ts';
import { withoutOurs } from './sealed.ts';

const modelled = new Set(
  [
    'model input instructions previous_response_id conversation store stream stream_options background',
    'max_output_tokens temperature top_p top_k min_p seed frequency_penalty presence_penalty repetition_penalty',
    'repeat_penalty logit_bias top_logprobs tools tool_choice parallel_tool_calls text reasoning include metadata prompt',
    'prompt_cache_key user service_tier',
  ].flatMap((line) => line.split(' ')),
);

/** What only a server of this API does beside the model. */
const onlyThere = ['context_management', 'moderation'];

/** A responses request as our own; earlier turns (`previous_response_id`, `conversation`) are already part of `input`. */
export function decodeResponseRequest(body: unknown, source: RequestSource = { headers: {} }): ChatRequest {
  const parsed = parseBody(responseRequestSchema(), body);
  const leftOut = new Set<string>();
  const unsaid: Unsaid = { leftOut };
  const items = inputItems(parsed.input as Input); // out of JSON.parse, items checked one by one
  if (items.length === 0 && parsed.prompt == null) {
    throw missingParameter('input');
  }
  const messages: Message[] = decodeItems(items, unsaid);
  const sendable = withoutOurs(items);
  if (parsed.instructions) {
    messages.unshift({ role: 'developer', content: [{ type: 'text', text: parsed.instructions }] });
  }
  for (const field of onlyThere) if (parsed[field] != null) leftOut.add(`field '${field}'`);
  if (parsed.truncation === 'auto') leftOut.add("truncation 'auto'");
  const { tools, namespaces } = decodeTools(parsed.tools ?? [], leftOut);
  const wantsLogprobs =
    (parsed.top_logprobs ?? 0) > 0 || (parsed.include ?? []).includes('message.output_text.logprobs');
  const user = parsed.safety_identifier ?? parsed.user;
  const promptTemplate = decodePromptReference(parsed.prompt);
  return {
    model: parsed.model,
    messages,
    sampling: decodeSampling(parsed),
    ...(parsed.max_output_tokens == null ? {} : { maxTokens: parsed.max_output_tokens }),
    stop: [],
    choices: 1,
    tools,
    toolChoice: decodeToolChoice(parsed, tools),
    parallelToolCalls: parsed.parallel_tool_calls ?? true,
    responseFormat: decodeFormat(parsed),
    ...(wantsLogprobs ? { logprobs: { top: parsed.top_logprobs ?? 0 } } : {}),
    ...(parsed.reasoning == null
      ? {}
      : {
          reasoning: {
            ...(parsed.reasoning.effort == null ? {} : { effort: parsed.reasoning.effort }),
            ...(parsed.reasoning.effort === 'none' ? { enabled: false } : {}),
            ...(parsed.reasoning.summary == null ? {} : { summary: parsed.reasoning.summary }),
          },
        }),
    continueFinalMessage: false,
    stream: parsed.stream ?? false,
    priority: priorityOf(source.headers),
    ...(parsed.prompt_cache_key == null ? {} : { promptCacheKey: parsed.prompt_cache_key }),
    ...(user == null ? {} : { user }),
    ...(parsed.metadata == null ? {} : { metadata: parsed.metadata }),
    ...(parsed.service_tier == null ? {} : { serviceTier: parsed.service_tier }),
    store: parsed.store ?? true,
    ...(promptTemplate ? { promptTemplate } : {}),
    dialect: 'openai-responses',
    extensions: {
      ...extensionsOf(body, modelled),
      ...(parsed.text?.verbosity == null ? {} : { verbosity: parsed.text.verbosity }),
    },
    ...(leftOut.size === 0 ? {} : { leftOut: [...leftOut] }),
    ...(unsaid.onlyAsSent ? { onlyAsSent: unsaid.onlyAsSent } : {}),
    answer: {
      echo: echoOf(parsed),
      namespaces,
      summarise: parsed.reasoning?.summary != null,
    },
    wire:
      sendable === items
        ? wireOf('openai-responses', body, source)
        : wireOf('openai-responses', { ...objectOf(body), input: sendable }, { headers: source.headers }),
  };
}

/** Keys that a function in a Response must have (https://www.openresponses.org/specification), whatever the request had. */
const everyKey = { description: null, parameters: null, strict: null };

/** What a Response object repeats of its request. */
function echoOf(body: ResponseBody): JsonObject {
  const echo = {
    background: body.background ?? false,
    conversation:
      body.conversation == null
        ? null
        : { id: typeof body.conversation === 'string' ? body.conversation : body.conversation.id },
    frequency_penalty: body.frequency_penalty ?? 0,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: body.max_tool_calls ?? null,
    metadata: body.metadata ?? {},
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    presence_penalty: body.presence_penalty ?? 0,
    previous_response_id: body.previous_response_id ?? null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: body.reasoning?.summary ?? null },
    safety_identifier: body.safety_identifier ?? null,
    service_tier: 'default',
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: 'text' }, verbosity: body.text?.verbosity ?? 'medium' },
    tool_choice: body.tool_choice ?? 'auto',
    tools: (body.tools ?? []).map((tool) => (tool.type === 'function' ? { ...everyKey, ...tool } : tool)),
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? 'disabled',
    user: body.user ?? null,
  };
  return echo as JsonObject; // out of JSON.parse
}

/** Functions and custom tools, also out of namespaces; hosted tools have nobody to run them here and are left out. */
function decodeTools(
  bodies: readonly { type: string; [key: string]: unknown }[],
  leftOut: Set<string>,
): { tools: Tool[]; namespaces: Record<string, string> } {
  const tools: Tool[] = [];
  const namespaces: Record<string, string> = {};
  const add = (body: { type: string; [key: string]: unknown }, at: readonly PropertyKey[], namespace?: string) => {
    if (body.type === 'function') {
      // Some editors send chat's nested form here.
      const { name, description, parameters, strict } = parseBody(functionToolSchema(), body['function'] ?? body, at);
      tools.push({
        kind: 'function',
        name,
        ...(description == null ? {} : { description }),
        ...(parameters == null ? {} : { parameters: parameters as JsonObject }), // out of JSON.parse
        ...(strict == null ? {} : { strict }),
      });
      if (namespace !== undefined) namespaces[name] = namespace;
    } else if (body.type === 'custom') {
      const { name, description, format } = parseBody(customToolSchema(), body['custom'] ?? body, at);
      tools.push({
        kind: 'custom',
        name,
        ...(description == null ? {} : { description }),
        ...(format == null ? {} : { format: chatFormat(format as JsonObject) }), // out of JSON.parse
      });
      if (namespace !== undefined) namespaces[name] = namespace;
    } else if (body.type === 'namespace' && namespace === undefined) {
      const { name, tools: inner } = parseBody(namespaceToolSchema(), body, at);
      for (const [index, tool] of inner.entries()) add(tool, [...at, 'tools', index], name);
    } else leftOut.add(`tool type '${body.type.slice(0, 60)}'`);
  };
  for (const [index, body] of bodies.entries()) add(body, ['tools', index]);
  return { tools, namespaces };
}

/** A grammar as chat writes it: its syntax and definition lie one level deeper there. */
function chatFormat(format: JsonObject): JsonObject {
  const { syntax, definition, ...rest } = format;
  return syntax === undefined || definition === undefined ? format : { ...rest, grammar: { syntax, definition } };
}

function decodeToolChoice({ tool_choice: choice, tools: bodies }: ResponseBody, tools: readonly Tool[]): ToolChoice {
  if (choice === 'required' && (bodies ?? []).length === 0) return checkToolChoice(choice, tools, 'tool_choice');
  // A choice among tools that were all left out can't be kept.
  if (choice == null || tools.length === 0) return tools.length === 0 ? 'none' : 'auto';
  if (typeof choice === 'string') return choice;
  if ((choice.type === 'function' || choice.type === 'custom') && choice.name != null) {
    return checkToolChoice({ type: 'named', name: choice.name }, tools, 'tool_choice');
  }
  if (choice.type === 'allowed_tools') {
    const names = (choice.tools ?? []).flatMap((tool) => (tool.name == null ? [] : [tool.name]));
    return checkToolChoice({ type: 'allowed', mode: choice.mode ?? 'auto', names }, tools, 'tool_choice');
  }
  return 'auto';
}

function decodeFormat({ text }: ResponseBody): ResponseFormat {
  const format = text?.format;
  if (format == null || format.type === 'text') return { type: 'text' };
  if (format.type === 'json_object') return { type: 'json-object' };
  const { name, schema, strict, description } = format;
  return {
    type: 'json-schema',
    name,
    schema: (schema ?? {}) as Readonly<Record<string, Json>>, // out of JSON.parse
    ...(strict == null ? {} : { strict }),
    ...(description == null ? {} : { description }),
  };
}
