import { GatewayError } from '../../src/core/errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../../src/core/json.ts';
import type { Capabilities } from '../../src/core/provider.ts';
import { type ChatRequest, type Message, type Part, type ReasoningBlock, textOf } from '../../src/core/request.ts';
import { alternate, argumentsObject, offered, parseDataUrl, splitSystem } from '../shared/content.ts';
import { ignoredBy } from '../shared/ignored.ts';
import { cachesPrompts, ignoredByModel, isClaude, modelFields, samplersOf, samplesTopK } from './models.ts';

/** Our request as a Converse body (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html). */
export function encodeConverse(request: ChatRequest): JsonObject {
  const { maxTokens, stop, serviceTier } = request;
  const { system, turns } = splitSystem(request.messages);
  const caches = cachesPrompts(request.model);
  const extra = modelFields(request);
  const inferenceConfig = defined({
    maxTokens,
    ...samplersOf(request),
    stopSequences: stop.length > 0 ? stop : undefined,
  });
  return {
    messages: alternate(withNames(turns.map((turn) => encodeTurn(turn, caches)))).filter(
      ({ content }) => content.length > 0,
    ),
    ...(system.length > 0 ? { system: system.flatMap((part) => encodePart(part, caches)) } : {}),
    ...(Object.keys(inferenceConfig).length > 0 ? { inferenceConfig } : {}),
    ...encodeTools(request),
    ...(Object.keys(extra).length > 0 ? { additionalModelRequestFields: extra } : {}),
    // the first is of a whole answer, the second of a stream's last event
    ...(stop.length > 0 && isClaude(request.model)
      ? { additionalModelResponseFieldPaths: ['/stop_sequence', '/delta/stop_sequence'] }
      : {}),
    ...(isTier(serviceTier) ? { serviceTier: { type: serviceTier } } : {}),
  };
}

const defined = (fields: Readonly<Record<string, Json | undefined>>): JsonObject =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as JsonObject; // just filtered

const tiers: readonly unknown[] = ['flex', 'priority', 'reserved'];
const isTier = (tier: string | undefined): tier is string => tiers.includes(tier);

/** What the body above says nothing of, in words for the client. */
export function ignoredByConverse(request: ChatRequest, able: Capabilities): string[] {
  const top = samplesTopK(request) ? ['top_k'] : [];
  const ignored = ignoredBy(request, able, new Set([...top, ...(isTier(request.serviceTier) ? ['service_tier'] : [])]));
  return [...ignored, ...ignoredByModel(request)];
}

function encodeTools(request: ChatRequest): JsonObject {
  const { tools, choice } = offered(request);
  if (tools.length === 0) return {};
  if (choice === 'none') {
    if (!request.messages.some(({ role }) => role === 'tool')) return {};
    throw new GatewayError('unsupported', "Bedrock has no tool_choice 'none' once tools were used.", {
      param: 'tool_choice',
    });
  }
  const choices = { auto: { auto: {} }, required: { any: {} } } as const;
  return {
    toolConfig: {
      tools: tools.flatMap(({ name, description, parameters, cacheControl }): JsonObject[] => [
        {
          toolSpec: {
            name,
            ...(description === undefined ? {} : { description }),
            inputSchema: { json: { type: 'object', ...(parameters ?? { properties: {} }) } },
          },
        },
        ...cachePoint(cacheControl, isClaude(request.model)),
      ]),
      toolChoice: typeof choice === 'string' ? choices[choice] : { tool: { name: choice.name } },
    },
  };
}

/** The cache point behind what was marked, for as long as was asked. */
function cachePoint(cacheControl: Json | undefined, caches: boolean): JsonObject[] {
  if (cacheControl === undefined || !caches) return [];
  const ttl = isJsonObject(cacheControl) && cacheControl['ttl'] === '1h' ? { ttl: '1h' } : {};
  return [{ cachePoint: { type: 'default', ...ttl } }];
}

type Turn = { readonly role: 'user' | 'assistant'; readonly content: readonly JsonObject[] };

function encodeTurn(message: Message, caches: boolean): Turn {
  switch (message.role) {
    case 'tool':
      return {
        role: 'user',
        content: [
          {
            toolResult: {
              toolUseId: message.toolCallId,
              content: message.content.flatMap((part) => encodePart(part, false)),
              ...(message.isError ? { status: 'error' } : {}),
            },
          },
          ...cachePoint(message.cacheControl ?? message.content.findLast(isMarked)?.cacheControl, caches),
        ],
      };
    case 'assistant':
      return {
        role: 'assistant',
        content: [
          ...(message.reasoning ?? []).flatMap(encodeReasoning),
          ...message.content.flatMap((part) => encodePart(part, caches)),
          ...(message.refusal && textOf(message.content) === '' ? [{ text: message.refusal }] : []),
          ...message.toolCalls.map(({ id, name, arguments: json }) => ({
            toolUse: { toolUseId: id, name, input: argumentsObject(json) },
          })),
        ],
      };
    default:
      return { role: 'user', content: message.content.flatMap((part) => encodePart(part, caches)) };
  }
}

function encodeReasoning({ text, signature, redacted, id }: ReasoningBlock): JsonObject[] {
  if (id !== undefined) return []; // another maker's
  if (redacted !== undefined) return [{ reasoningContent: { redactedContent: redacted } }];
  return signature === undefined ? [] : [{ reasoningContent: { reasoningText: { text, signature } } }];
}

const isMarked = (part: Part): part is Extract<Part, { readonly type: 'text' | 'image' }> =>
  (part.type === 'text' || part.type === 'image') && part.cacheControl !== undefined;

/** A part, and the cache point behind it where one was marked. Empty text is refused, so it is left out. */
function encodePart(part: Part, caches: boolean): JsonObject[] {
  const cache = cachePoint(isMarked(part) ? part.cacheControl : undefined, caches);
  switch (part.type) {
    case 'text':
      return part.text === '' ? cache : [{ text: part.text }, ...cache];
    case 'image': {
      const { mediaType, data } = dataOf(part.url, 'images');
      const format = mediaType.replace('image/', '').replace(/^jpg$/, 'jpeg');
      return [{ image: { format, source: { bytes: data } } }, ...cache];
    }
    case 'file': {
      const { mediaType, data } = dataOf(part.data ?? '', 'files');
      const extension = /\.(\w+)$/.exec(part.filename ?? '')?.[1]?.toLowerCase();
      const format = formats[mediaType] ?? (extension === undefined || !isFormat(extension) ? 'txt' : extension);
      const name = (part.filename ?? '').replace(/\.\w+$/, '').replace(/[^A-Za-z0-9()[\]-]+/g, ' ');
      return [{ document: { format, name: name.trim().slice(0, 190) || 'document', source: { bytes: data } } }];
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

/** https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html */
const formats: Readonly<Record<string, string>> = {
  'application/pdf': 'pdf',
  'text/csv': 'csv',
  'text/html': 'html',
  'text/markdown': 'md',
  'application/msword': 'doc',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  'application/vnd.ms-excel': 'xls',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
};
const isFormat = (extension: string): boolean => Object.values(formats).includes(extension);

/** Documents of one name are refused, so each further one is counted. */
function withNames(turns: readonly Turn[]): Turn[] {
  const seen = new Map<string, number>();
  const named = (block: JsonObject): JsonObject => {
    const { document } = block;
    if (!isJsonObject(document)) return block;
    const name = String(document['name']);
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? block : { document: { ...document, name: `${name} (${count})` } };
  };
  return turns.map(({ role, content }) => ({ role, content: content.map(named) }));
}
