import { GatewayError } from '../../src/core/errors.ts';
import type { Json, JsonObject } from '../../src/core/json.ts';
import { type ChatRequest, type Message, type Tool, textOf } from '../../src/core/request.ts';
import { withTextResults } from '../../src/core/tool-results.ts';
import { offered, thinkingBudget } from '../shared/content.ts';

/** Fields of its own chat that a client of OpenAI's may send along. */
const chatFields = ['documents', 'citation_options', 'safety_mode', 'priority'];

const ownFields = ({ dialect }: ChatRequest): readonly string[] => (dialect === 'openai-chat' ? chatFields : []);

/** What this chat takes beside what its capabilities say. */
export const carriedOf = (request: ChatRequest): ReadonlySet<string> =>
  new Set(['top_k', 'detail', ...(areStrict(toolsOf(request).tools) ? ['strict'] : []), ...ownFields(request)]);

/** It can force a call, but of no tool by name: so no other is offered. */
function toolsOf(request: ChatRequest): ReturnType<typeof offered> {
  const { tools, choice } = offered(request);
  return { tools: typeof choice === 'object' ? tools.filter(({ name }) => name === choice.name) : tools, choice };
}

/** All are or none, and one without a required parameter is refused then (https://docs.cohere.com/docs/tool-use-parameter-types). */
const areStrict = (tools: readonly Tool[]): boolean =>
  tools.some(({ strict }) => strict) &&
  tools.every(({ parameters }) => Array.isArray(parameters?.['required']) && parameters['required'].length > 0);

/** Our request as a chat body, version 2 (https://docs.cohere.com/reference/chat-stream). */
export function encodeChat(request: ChatRequest): JsonObject {
  const { sampling, responseFormat: format } = request;
  const { tools, choice } = toolsOf(request);
  const budget = thinkingBudget(request);
  const fields: Readonly<Record<string, Json | undefined>> = {
    ...Object.fromEntries(ownFields(request).map((name) => [name, request.extensions[name]])),
    model: request.model,
    messages: withTextResults(request.messages).map(encodeMessage),
    temperature: sampling.temperature,
    p: sampling.topP,
    k: sampling.topK,
    seed: sampling.seed,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    max_tokens: request.maxTokens,
    stop_sequences: request.stop.length > 0 ? request.stop : undefined,
    tools: tools.length === 0 ? undefined : tools.map(encodeTool),
    strict_tools: areStrict(tools) ? true : undefined,
    tool_choice: tools.length === 0 || choice === 'auto' ? undefined : choice === 'none' ? 'NONE' : 'REQUIRED',
    response_format:
      format.type === 'json-schema'
        ? { type: 'json_object', json_schema: format.schema }
        : format.type === 'json-object'
          ? { type: 'json_object' }
          : undefined,
    thinking:
      budget === undefined
        ? undefined
        : budget === 0
          ? { type: 'disabled' }
          : { type: 'enabled', token_budget: budget },
    stream: true,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

const encodeTool = ({ name, description, parameters }: ChatRequest['tools'][number]): JsonObject => ({
  type: 'function',
  function: {
    name,
    ...(description === undefined ? {} : { description }),
    parameters: parameters ?? { type: 'object', properties: {} },
  },
});

function encodeMessage(message: Message): JsonObject {
  switch (message.role) {
    case 'system':
    case 'developer':
      return { role: 'system', content: textOf(message.content) };
    case 'tool':
      return { role: 'tool', tool_call_id: message.toolCallId, content: textOf(message.content) };
    case 'assistant': {
      const text = textOf(message.content) || (message.refusal ?? '');
      const calls = message.toolCalls.map(({ id, name, arguments: json }) => ({
        id,
        type: 'function',
        function: { name, arguments: json },
      }));
      const plan = message.reasoning?.map((block) => block.text).join('') ?? '';
      return {
        role: 'assistant',
        ...(text === '' ? {} : { content: text }),
        ...(plan === '' || calls.length === 0 ? {} : { tool_plan: plan }),
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
      };
    }
    case 'user':
      return {
        role: 'user',
        content: message.content.every((part) => part.type === 'text')
          ? textOf(message.content)
          : message.content.map((part) => {
              if (part.type === 'text') return { type: 'text', text: part.text };
              if (part.type === 'image') {
                const { url, detail } = part;
                return { type: 'image_url', image_url: { url, ...(detail === undefined ? {} : { detail }) } };
              }
              throw new GatewayError('unsupported', `Cohere does not support ${part.type} input.`, {
                param: 'messages',
              });
            }),
      };
    default:
      return message satisfies never;
  }
}
