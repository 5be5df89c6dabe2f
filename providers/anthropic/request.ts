import { GatewayError } from '../../src/core/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../src/core/json.ts';
import type { Capabilities } from '../../src/core/provider.ts';
import { type ChatRequest, type Message, type Part, type ReasoningBlock, textOf } from '../../src/core/request.ts';
import { alternate, argumentsObject, offered, parseDataUrl, splitSystem, thinkingBudget } from '../shared/content.ts';
import { ignoredBy, thinkingField } from '../shared/ignored.ts';
import { adaptiveSince, claudeGeneration } from './models.ts';

/** What Anthropic wants to know even if the client did not say. */
const defaultMaxTokens = 4096;
const minThinkingTokens = 1024;

/** Our request as a Messages body (https://docs.anthropic.com/en/api/messages). */
export function encodeMessagesRequest(request: ChatRequest): JsonObject {
  const { user } = request;
  const own = isOwn(request);
  const { thinking: _, ...fields } = own ? request.extensions : {};
  const { system, turns } = splitSystem(request.messages);
  const thinking = thinkingOf(request);
  const maxTokens = request.maxTokens ?? defaultMaxTokens + (thinking ? (thinkingBudget(request) ?? 0) : 0);
  const effort = effortOf(request);
  return {
    ...fields,
    model: request.model,
    max_tokens: maxTokens,
    ...(system.length > 0 ? { system: system.map(encodePart) } : {}),
    messages: encodeTurns(turns, request.continueFinalMessage),
    ...(request.stop.length > 0 ? { stop_sequences: request.stop } : {}),
    ...(takesSamplers(request) ? encodeSamplers(request) : {}),
    ...(thinking ? { thinking } : {}),
    ...(effort === undefined ? {} : { output_config: { effort } }),
    ...encodeTools(request),
    ...(user === undefined ? {} : { metadata: { user_id: user } }),
    stream: true,
  };
}

const isOwn = ({ dialect }: ChatRequest): boolean => dialect === 'anthropic-messages';

export function thinkingOf(request: ChatRequest): JsonObject | undefined {
  const asked = request.extensions['thinking'];
  const written = isOwn(request) && isJsonObject(asked) ? asked : undefined;
  if (isOwn(request) && written?.['type'] !== 'enabled' && written?.['type'] !== 'adaptive') return written;
  const budget = thinkingBudget(request);
  if (!budget || budget <= 0 || request.continueFinalMessage) return undefined; // a given beginning comes after its thoughts
  const { toolChoice, maxTokens } = request;
  if (
    toolChoice === 'required' ||
    (typeof toolChoice === 'object' && (toolChoice.type === 'named' || toolChoice.mode === 'required'))
  ) {
    return undefined; // a forced call leaves no room for thinking
  }
  if (written) return written;
  if (claudeGeneration(request.model) >= adaptiveSince) return { type: 'adaptive' };
  const room = maxTokens === undefined ? budget : Math.min(budget, maxTokens - 1);
  return room < minThinkingTokens ? undefined : { type: 'enabled', budget_tokens: room };
}

/** How hard to think in words, where tokens are no longer taken. */
export function effortOf(request: ChatRequest): string | undefined {
  const { model, reasoning } = request;
  if (isOwn(request)) return reasoning?.effort;
  if (!thinkingOf(request)) return undefined;
  const generation = claudeGeneration(model);
  const budget = reasoning?.budgetTokens;
  if (generation < adaptiveSince) return undefined;
  if (budget !== undefined) return budget <= 2048 ? 'low' : budget <= 8192 ? 'medium' : 'high';
  const nearest: Readonly<Record<string, string>> = {
    minimal: 'low',
    ...(generation === adaptiveSince ? { xhigh: 'high' } : {}),
  };
  return reasoning?.effort && (nearest[reasoning.effort] ?? reasoning.effort);
}

/** Thinking allows no sampling of one's own, nor do the newer models; their own client is told so by the upstream itself. */
export const takesSamplers = (request: ChatRequest): boolean =>
  !thinkingOf(request) && (isOwn(request) || claudeGeneration(request.model) <= adaptiveSince);

/** From other dialects without what means nothing: many clients always send it, and few models take both kinds at once. */
function encodeSamplers(request: ChatRequest): JsonObject {
  const { temperature, topP, topK } = request.sampling;
  const asked = (value: number | undefined, usual: number): value is number =>
    value !== undefined && (isOwn(request) || value !== usual);
  return {
    ...(asked(temperature, 1) ? { temperature } : {}),
    ...(asked(topP, 1) ? { top_p: topP } : {}),
    ...(asked(topK, 0) ? { top_k: topK } : {}),
  };
}

const carried = ['top_k'];

/** What the body above says nothing of, in words for the client. */
export function ignoredByMessages(request: ChatRequest, able: Capabilities): readonly string[] {
  const fields = isOwn(request) ? ['service_tier', 'strict', ...Object.keys(request.extensions)] : [];
  const ignored = ignoredBy(request, able, new Set([...carried, ...fields]));
  return [...ignored, ...ignoredByClaude(request)];
}

/** What these models have no room for, whichever API they are asked by. */
export function ignoredByClaude(request: ChatRequest): string[] {
  const { temperature = 1, topP = 1, topK = 0 } = request.sampling;
  const samplers = { temperature: temperature !== 1, top_p: topP !== 1, top_k: topK !== 0 };
  const dropped = takesSamplers(request) ? [] : Object.entries(samplers).filter(([, asked]) => asked);
  const thoughtless = thinkingBudget(request) && !thinkingOf(request) ? [thinkingField(request)] : [];
  return [...thoughtless, ...dropped.map(([name]) => name)].map((name) => `field '${name}'`);
}

function encodeTools(request: ChatRequest): JsonObject {
  const { tools, choice } = offered(request);
  if (tools.length === 0) return {};
  const oneCall = request.parallelToolCalls ? {} : { disable_parallel_tool_use: true };
  const choices = { auto: { type: 'auto', ...oneCall }, required: { type: 'any', ...oneCall }, none: { type: 'none' } };
  return {
    tools: tools.map(({ name, description, parameters, strict, cacheControl }) => ({
      name,
      ...(description === undefined ? {} : { description }),
      input_schema: { type: 'object', ...(parameters ?? { properties: {} }) },
      ...(isOwn(request) && strict ? { strict } : {}),
      ...(cacheControl === undefined ? {} : { cache_control: cacheControl }),
    })),
    tool_choice: typeof choice === 'string' ? choices[choice] : { type: 'tool', name: choice.name, ...oneCall },
  };
}

type Turn = { readonly role: 'user' | 'assistant'; readonly content: readonly JsonObject[] };

function encodeTurns(turns: readonly Message[], continued: boolean): Json {
  const encoded = alternate(turns.map(encodeTurn)).filter(({ content }) => content.length > 0);
  const last = encoded.at(-1);
  const lastBlock = last?.content.at(-1);
  if (!continued || last?.role !== 'assistant' || typeof lastBlock?.['text'] !== 'string') return encoded;
  // A beginning that ends in white space is refused; the model makes it again.
  const trimmed = { ...lastBlock, text: lastBlock['text'].trimEnd() };
  return [...encoded.slice(0, -1), { ...last, content: [...last.content.slice(0, -1), trimmed] }];
}

function encodeTurn(message: Message): Turn {
  switch (message.role) {
    case 'tool':
      return {
        role: 'user',
        content: [
          {
            type: 'tool_result',
            tool_use_id: message.toolCallId,
            content: message.content.map(encodePart),
            ...(message.isError ? { is_error: true } : {}),
            ...(message.cacheControl === undefined ? {} : { cache_control: message.cacheControl }),
          },
        ],
      };
    case 'assistant':
      return {
        role: 'assistant',
        content: [
          ...(message.reasoning ?? []).flatMap(encodeReasoning),
          ...message.content.filter((part) => part.type !== 'text' || part.text !== '').map(encodePart),
          ...(message.refusal && textOf(message.content) === '' ? [{ type: 'text', text: message.refusal }] : []),
          ...message.toolCalls.map((call) => ({
            type: 'tool_use',
            id: call.id,
            name: call.name,
            input: argumentsObject(call.arguments),
          })),
        ],
      };
    default:
      return { role: 'user', content: message.content.map(encodePart) };
  }
}

/** Only what Anthropic signed can go back; other text would be refused, and so would what others signed, by an id. */
function encodeReasoning(block: ReasoningBlock): JsonObject[] {
  if (block.id !== undefined) return [];
  if (block.redacted !== undefined) return [{ type: 'redacted_thinking', data: block.redacted }];
  return block.signature === undefined ? [] : [{ type: 'thinking', thinking: block.text, signature: block.signature }];
}

function encodePart(part: Part): JsonObject {
  const cache = 'cacheControl' in part && part.cacheControl !== undefined ? { cache_control: part.cacheControl } : {};
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text, ...cache };
    case 'image':
      return { type: 'image', source: sourceOf(part.url), ...cache };
    case 'file': {
      if (part.fileId !== undefined) return { type: 'document', source: { type: 'file', file_id: part.fileId } };
      const data = part.data ?? '';
      return {
        type: 'document',
        source: sourceOf(data),
        ...(part.filename === undefined ? {} : { title: part.filename }),
      };
    }
    case 'audio':
      throw new GatewayError('unsupported', 'Anthropic does not support audio.', { param: 'messages' });
    default:
      return part satisfies never;
  }
}

function sourceOf(url: string): JsonObject {
  const data = parseDataUrl(url);
  return data ? { type: 'base64', media_type: data.mediaType, data: data.data } : { type: 'url', url };
}
