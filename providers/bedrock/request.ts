import { GatewayError } from '../../src/core/errors.ts';
import type { Json, JsonObject } from '../../src/core/json.ts';
import { type ChatRequest, type Message, type Part, type ReasoningBlock, textOf } from '../../src/core/request.ts';
import {
  alternate,
  argumentsObject,
  assertFunctions,
  offered,
  parseDataUrl,
  splitSystem,
  thinkingBudget,
} from '../shared/content.ts';

/** Our request as a Converse body (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html). */
export function encodeConverse(request: ChatRequest): JsonObject {
  const { sampling, maxTokens, stop } = request;
  const { system, turns } = splitSystem(request.messages);
  const config: Readonly<Record<string, Json | undefined>> = {
    maxTokens,
    temperature: sampling.temperature,
    topP: sampling.topP,
    stopSequences: stop.length > 0 ? stop : undefined,
  };
  const budget = thinkingBudget(request);
  const extra: Record<string, Json> = {};
  if (sampling.topK !== undefined) extra['top_k'] = sampling.topK;
  if (budget !== undefined && budget > 0 && !request.model.includes('amazon.nova')) {
    extra['thinking'] = { type: 'enabled', budget_tokens: Math.max(1024, budget) };
  }
  const inferenceConfig = Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined));
  return {
    messages: alternate(turns.map(encodeTurn)).filter(({ content }) => content.length > 0),
    ...(system.length > 0 ? { system: system.flatMap(encodePart) } : {}),
    ...(Object.keys(inferenceConfig).length > 0 ? { inferenceConfig } : {}),
    ...encodeTools(request),
    ...(Object.keys(extra).length > 0 ? { additionalModelRequestFields: extra } : {}),
  };
}

function encodeTools(request: ChatRequest): JsonObject {
  const { tools, choice } = offered(request);
  if (tools.length === 0) return {};
  assertFunctions(tools, 'Bedrock');
  if (choice === 'none') {
    if (!request.messages.some(({ role }) => role === 'tool')) return {};
    throw new GatewayError('unsupported', "Bedrock has no tool_choice 'none' once tools were used.", {
      param: 'tool_choice',
    });
  }
  const choices = { auto: { auto: {} }, required: { any: {} } } as const;
  return {
    toolConfig: {
      tools: tools.map(({ name, description, parameters }) => ({
        toolSpec: {
          name,
          ...(description === undefined ? {} : { description }),
          inputSchema: { json: { type: 'object', ...(parameters ?? { properties: {} }) } },
        },
      })),
      toolChoice: typeof choice === 'string' ? choices[choice] : { tool: { name: choice.name } },
    },
  };
}

type Turn = { readonly role: 'user' | 'assistant'; readonly content: readonly JsonObject[] };

function encodeTurn(message: Message): Turn {
  switch (message.role) {
    case 'tool':
      return {
        role: 'user',
        content: [
          {
            toolResult: {
              toolUseId: message.toolCallId,
              content: message.content.flatMap(encodePart),
              ...(message.isError ? { status: 'error' } : {}),
            },
          },
        ],
      };
    case 'assistant':
      return {
        role: 'assistant',
        content: [
          ...(message.reasoning ?? []).flatMap(encodeReasoning),
          ...message.content.flatMap(encodePart),
          ...(message.refusal && textOf(message.content) === '' ? [{ text: message.refusal }] : []),
          ...message.toolCalls.map(({ id, name, arguments: json }) => ({
            toolUse: { toolUseId: id, name, input: argumentsObject(json) },
          })),
        ],
      };
    default:
      return { role: 'user', content: message.content.flatMap(encodePart) };
  }
}

function encodeReasoning({ text, signature, redacted }: ReasoningBlock): JsonObject[] {
  if (redacted !== undefined) return [{ reasoningContent: { redactedContent: redacted } }];
  return signature === undefined ? [] : [{ reasoningContent: { reasoningText: { text, signature } } }];
}

/** A part, and the cache point behind it where one was marked. Empty text is refused, so it is left out. */
function encodePart(part: Part): JsonObject[] {
  const cache = 'cacheControl' in part && part.cacheControl !== undefined ? [{ cachePoint: { type: 'default' } }] : [];
  switch (part.type) {
    case 'text':
      return part.text === '' ? cache : [{ text: part.text }, ...cache];
    case 'image': {
      const { mediaType, data } = dataOf(part.url, 'images');
      return [{ image: { format: mediaType.replace('image/', ''), source: { bytes: data } } }, ...cache];
    }
    case 'file': {
      const { mediaType, data } = dataOf(part.data ?? '', 'files');
      const format = mediaType === 'application/pdf' ? 'pdf' : (/\.(\w+)$/.exec(part.filename ?? '')?.[1] ?? 'txt');
      const name = (part.filename ?? 'document').replace(/\.\w+$/, '').replace(/[^\w\s()[\]-]/g, '-');
      return [{ document: { format, name, source: { bytes: data } } }];
    }
    case 'audio':
      throw new GatewayError('unsupported', 'Bedrock does not support audio.', { param: 'messages' });
    default:
      return part satisfies never;
  }
}

function dataOf(url: string, what: string) {
  const data = parseDataUrl(url);
  if (data) return data;
  throw new GatewayError('unsupported', `Bedrock takes ${what} as data: URLs alone.`, { param: 'messages' });
}
