import { isJsonObject, type JsonObject, objectOf } from '../../core/json.ts';
import type { ChatRequest, ReasoningOptions, ResponseFormat, Tool, ToolChoice, Unsayable } from '../../core/request.ts';
import type { RequestSource } from '../format.ts';
import { checkToolChoice, extensionsOf, priorityOf, stopList, wireOf } from '../request-fields.ts';
import { missingParameter, parseBody } from '../validate.ts';
import { decodeMessages, decodeSystem } from './blocks.ts';
import { countTokensSchema, type MessagesBody, messagesRequestSchema } from './schema.ts';

/** Also told in our words, but with more to them for an upstream of the same API: `thinking` and `service_tier`. */
const modelled = new Set(
  [
    'model messages system max_tokens stop_sequences temperature top_p top_k stream tools tool_choice',
    'output_config output_format metadata',
  ].flatMap((line) => line.split(' ')),
);

/** An Anthropic messages request as our own. A last assistant turn is a prefill and is continued, as Anthropic does. */
export function decodeMessagesRequest(body: unknown, source: RequestSource = { headers: {} }): ChatRequest {
  return decodeParsed(parseBody(messagesRequestSchema(), body), body, source);
}

/** The same for `count_tokens`, which has no `max_tokens`. */
export function decodeCountTokens(body: unknown, source: RequestSource = { headers: {} }): ChatRequest {
  return decodeParsed({ ...parseBody(countTokensSchema(), body), max_tokens: 1 }, body, source);
}

function decodeParsed(parsed: MessagesBody, body: unknown, source: RequestSource): ChatRequest {
  const leftOut = new Set<string>();
  const system = decodeSystem(parsed.system, leftOut);
  const messages = decodeMessages(parsed.messages, leftOut);
  const tools = (parsed.tools ?? []).flatMap((tool, index) => decodeTool(tool, index, leftOut));
  const reasoning = decodeReasoning(parsed);
  const cited = findCited(parsed.messages);
  const user = parsed.metadata?.user_id;
  const said = withoutOurCitations(parsed.messages);
  const betas = source.headers['anthropic-beta'];
  return {
    model: parsed.model,
    messages: [...(system.length > 0 ? [{ role: 'system' as const, content: system }] : []), ...messages],
    sampling: {
      ...(parsed.temperature == null ? {} : { temperature: parsed.temperature }),
      ...(parsed.top_p == null ? {} : { topP: parsed.top_p }),
      ...(parsed.top_k == null ? {} : { topK: parsed.top_k }),
    },
    maxTokens: parsed.max_tokens,
    stop: stopList(parsed.stop_sequences),
    choices: 1,
    tools,
    toolChoice: decodeToolChoice(parsed, tools),
    parallelToolCalls: parsed.tool_choice?.disable_parallel_tool_use !== true,
    responseFormat: decodeFormat(parsed),
    ...(reasoning ? { reasoning } : {}),
    continueFinalMessage: parsed.messages.at(-1)?.role === 'assistant',
    stream: parsed.stream ?? false,
    priority: priorityOf(source.headers),
    ...(user == null ? {} : { user }),
    ...(parsed.service_tier == null ? {} : { serviceTier: tierOf(parsed.service_tier) }),
    dialect: 'anthropic-messages',
    extensions: extensionsOf(body, modelled),
    ...(betas === undefined ? {} : { betas }),
    ...(leftOut.size === 0 ? {} : { leftOut: [...leftOut] }),
    ...(cited ? { onlyAsSent: cited } : {}),
    wire:
      said === parsed.messages
        ? wireOf('anthropic-messages', body, source)
        : wireOf('anthropic-messages', { ...objectOf(body), messages: said }, { headers: source.headers }),
  };
}

/** The citations that we gave for another upstream's answer have no index of Anthropic's own, so it would refuse them. */
function withoutOurCitations(messages: MessagesBody['messages']): MessagesBody['messages'] {
  const isOurs = (citation: unknown) => isJsonObject(citation) && citation['encrypted_index'] === '';
  const ours = messages.filter(
    ({ role, content }) =>
      role === 'assistant' &&
      Array.isArray(content) &&
      content.some(({ citations }) => Array.isArray(citations) && citations.some(isOurs)),
  );
  if (ours.length === 0) return messages;
  return messages.map((message) => {
    if (!ours.includes(message) || !Array.isArray(message.content)) return message;
    const content = message.content.map(({ citations, ...block }) => {
      const theirs = Array.isArray(citations) ? citations.filter((citation) => !isOurs(citation)) : [];
      return theirs.length > 0 ? { ...block, citations: theirs } : block;
    });
    return { ...message, content };
  });
}

/** A document that the answer is to cite: what it says of that has no words but Anthropic's. */
function findCited(messages: MessagesBody['messages']): Unsayable | undefined {
  for (const [i, { content }] of messages.entries()) {
    if (!Array.isArray(content)) continue;
    const j = content.findIndex(({ citations }) => isJsonObject(citations) && citations['enabled'] === true);
    if (j >= 0) return { param: `messages[${i}].content[${j}].citations`, what: 'citations', inAnswer: true };
  }
  return undefined;
}

/** No better than paid for, as OpenAI's APIs say it. */
const tierOf = (tier: string) => (tier === 'standard_only' ? 'default' : tier);

/** Tools with a schema; Anthropic's own server tools (`web_search_20250305` and others) run nowhere else. */
function decodeTool(tool: NonNullable<MessagesBody['tools']>[number], index: number, leftOut: Set<string>): Tool[] {
  if (tool.type != null && tool.type !== 'custom' && tool.input_schema == null) {
    leftOut.add(`tool type '${tool.type.slice(0, 60)}'`);
    return [];
  }
  if (tool.name == null) throw missingParameter(`tools[${index}].name`);
  const { cache_control: cacheControl, input_examples: examples } = tool;
  const schema = tool.input_schema as JsonObject | null | undefined; // out of JSON.parse
  // in JSON Schema's own word every target can read them
  const parameters = Array.isArray(examples) && examples.length > 0 ? { ...schema, examples } : schema;
  return [
    {
      kind: 'function',
      name: tool.name,
      ...(tool.description == null ? {} : { description: tool.description }),
      ...(parameters == null ? {} : { parameters }),
      ...(tool['strict'] === true ? { strict: true } : {}),
      ...(cacheControl == null ? {} : { cacheControl: cacheControl as JsonObject }), // out of JSON.parse
    },
  ];
}

function decodeToolChoice({ tool_choice: choice, tools: bodies }: MessagesBody, tools: readonly Tool[]): ToolChoice {
  if (choice == null || choice.type === 'auto') return tools.length === 0 ? 'none' : 'auto';
  if (choice.type === 'none') return 'none';
  const name = choice.name ?? '';
  const isMeant = (tool: { readonly name?: string | null | undefined }) => choice.type === 'any' || tool.name === name;
  // A choice among tools that were left out can't be kept, but by who gets the request as it was sent.
  if (!tools.some(isMeant) && bodies?.some(isMeant)) return tools.length === 0 ? 'none' : 'auto';
  return checkToolChoice(choice.type === 'any' ? 'required' : { type: 'named', name }, tools, 'tool_choice');
}

function decodeFormat({ output_config, output_format }: MessagesBody): ResponseFormat {
  const format = output_config?.format ?? output_format;
  if (format == null) return { type: 'text' };
  return { type: 'json-schema', name: 'response', schema: format.schema as JsonObject, strict: true }; // out of JSON.parse
}

function decodeReasoning({ thinking, output_config }: MessagesBody): ReasoningOptions | undefined {
  const effort = output_config?.effort;
  if (thinking == null && effort == null) return undefined;
  return {
    ...(effort == null ? {} : { effort }),
    ...(thinking == null ? {} : { enabled: thinking.type !== 'disabled' }),
    ...(thinking?.budget_tokens == null ? {} : { budgetTokens: thinking.budget_tokens }),
  };
}
