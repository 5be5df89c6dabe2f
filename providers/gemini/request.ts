import { GatewayError } from '../../src/core/errors.ts';
import type { Json, JsonObject } from '../../src/core/json.ts';
import type { Capabilities } from '../../src/core/provider.ts';
import { type ChatRequest, type Message, type Part, textOf } from '../../src/core/request.ts';
import { withTextResults } from '../../src/core/tool-results.ts';
import { alternate, argumentsObject, offered, parseDataUrl, splitSystem, thinkingBudget } from '../shared/content.ts';
import { ignoredBy, thinkingField } from '../shared/ignored.ts';

/** Lets a call of another model's turn through where its signature is not known (ai.google.dev/gemini-api/docs/thought-signatures). */
const noSignature = 'skip_thought_signature_validator';

/** Our request as a generateContent body (https://ai.google.dev/api/generate-content). */
export function encodeGenerateRequest(request: ChatRequest): JsonObject {
  const { system, turns } = splitSystem(withTextResults(request.messages));
  const names = callNames(request.messages);
  return {
    contents: alternate(turns.map((turn) => encodeTurn(turn, names)))
      .filter(({ content }) => content.length > 0)
      .map(({ role, content }) => ({ role, parts: content })),
    ...(system.length > 0 ? { systemInstruction: { parts: system.map(encodePart) } } : {}),
    ...encodeTools(request),
    generationConfig: encodeConfig(request),
    ...(tiers.includes(request.serviceTier ?? '') ? { serviceTier: request.serviceTier ?? '' } : {}),
  };
}

const tiers: readonly string[] = ['flex', 'priority'];

/** What the body above says nothing of, in words for the client. */
export function ignoredByGenerate(request: ChatRequest, able: Capabilities): readonly string[] {
  const carried = tiers.includes(request.serviceTier ?? '') ? ['top_k', 'service_tier'] : ['top_k'];
  const ignored = ignoredBy(request, able, new Set(carried));
  const stillThinks = thinkingBudget(request) === 0 && thinksByLevel(request);
  return stillThinks ? [...ignored, `field '${thinkingField(request)}'`] : ignored;
}

function encodeConfig(request: ChatRequest): JsonObject {
  const { sampling, responseFormat: format, logprobs } = request;
  const fields: Readonly<Record<string, Json | undefined>> = {
    temperature: sampling.temperature,
    topP: sampling.topP,
    topK: sampling.topK,
    seed: sampling.seed,
    presencePenalty: sampling.presencePenalty,
    frequencyPenalty: sampling.frequencyPenalty,
    maxOutputTokens: request.maxTokens,
    stopSequences: request.stop.length > 0 ? request.stop : undefined,
    candidateCount: request.choices > 1 ? request.choices : undefined,
    responseMimeType: format.type === 'json-schema' || format.type === 'json-object' ? 'application/json' : undefined,
    responseJsonSchema: format.type === 'json-schema' ? format.schema : undefined,
    responseLogprobs: logprobs ? true : undefined,
    logprobs: logprobs && logprobs.top > 0 ? logprobs.top : undefined,
    thinkingConfig: encodeThinking(request),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** From Gemini 3 on an effort is a level, and a number of tokens only what older clients say (https://ai.google.dev/gemini-api/docs/thinking). */
function encodeThinking(request: ChatRequest): JsonObject | undefined {
  const { model, reasoning } = request;
  const budget = thinkingBudget(request);
  if (budget === undefined) return undefined;
  const includeThoughts = budget !== 0 && (reasoning?.summary ?? 'auto') !== 'none';
  if (!thinksByLevel(request)) return { thinkingBudget: budget, includeThoughts };
  const effort = budget === 0 ? 'none' : reasoning?.effort;
  return { ...(effort === undefined ? {} : { thinkingLevel: levelOf(effort, model) }), includeThoughts };
}

const thinksByLevel = ({ model, reasoning }: ChatRequest): boolean =>
  !reasoning?.budgetTokens && /gemini-(?:[3-9]|\d\d)/.test(model);

/** The nearest one that the model has: none at all is not to be had, and some lack the lowest or the middle. */
function levelOf(effort: string, model: string): string {
  if (effort === 'none' || effort === 'minimal') return /gemini-3(?:\.[0-7])?-flash/.test(model) ? 'MINIMAL' : 'LOW';
  if (effort === 'low') return 'LOW';
  return effort === 'medium' && !model.includes('gemini-3-pro') ? 'MEDIUM' : 'HIGH';
}

function encodeTools(request: ChatRequest): JsonObject {
  const { tools, choice } = offered(request);
  if (tools.length === 0) return {};
  const modes = { auto: 'AUTO', required: 'ANY', none: 'NONE' } as const;
  return {
    tools: [
      {
        functionDeclarations: tools.map(({ name, description, parameters }) => ({
          name,
          ...(description === undefined ? {} : { description }),
          ...(parameters === undefined ? {} : { parametersJsonSchema: parameters }),
        })),
      },
    ],
    toolConfig: {
      functionCallingConfig:
        typeof choice === 'string' ? { mode: modes[choice] } : { mode: 'ANY', allowedFunctionNames: [choice.name] },
    },
  };
}

/** Answers to calls are matched by name there, so the name of each call id is looked up. */
function callNames(messages: readonly Message[]): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const message of messages) {
    if (message.role === 'assistant') for (const { id, name } of message.toolCalls) names.set(id, name);
  }
  return names;
}

type Turn = { readonly role: 'user' | 'model'; readonly content: readonly JsonObject[] };

function encodeTurn(message: Message, names: ReadonlyMap<string, string>): Turn {
  switch (message.role) {
    case 'tool': {
      const name = names.get(message.toolCallId) ?? message.name;
      if (name === undefined) {
        throw new GatewayError('invalid_request', `No tool call has the id '${message.toolCallId}'.`, {
          param: 'messages',
        });
      }
      return {
        role: 'user',
        content: [{ functionResponse: { name, response: resultObject(textOf(message.content)) } }],
      };
    }
    case 'assistant': {
      const signatures = new Map(
        message.reasoning?.flatMap(({ id, signature }) => (id && signature ? [[id, signature]] : [])),
      );
      const text = textOf(message.content) || (message.toolCalls.length === 0 ? (message.refusal ?? '') : '');
      return {
        role: 'model',
        content: [
          ...(text === '' ? [] : [{ text }]),
          ...message.toolCalls.map(({ id, name, arguments: json }, index) => {
            const signature = signatures.get(id) ?? (index === 0 ? noSignature : undefined);
            return {
              functionCall: { name, args: argumentsObject(json) },
              ...(signature === undefined ? {} : { thoughtSignature: signature }),
            };
          }),
        ],
      };
    }
    default:
      return { role: 'user', content: message.content.map(encodePart) };
  }
}

function resultObject(text: string): JsonObject {
  const parsed = argumentsObject(text);
  return 'arguments' in parsed && parsed['arguments'] === text ? { result: text } : parsed;
}

function encodePart(part: Part): JsonObject {
  switch (part.type) {
    case 'text':
      return { text: part.text };
    case 'image':
      return dataPart(part.url, imageType(part.url));
    case 'audio':
      return { inlineData: { mimeType: `audio/${part.format}`, data: part.data } };
    case 'file':
      return part.fileId === undefined
        ? dataPart(part.data ?? '', 'application/pdf')
        : { fileData: { fileUri: part.fileId, mimeType: 'application/octet-stream' } };
    default:
      return part satisfies never;
  }
}

function dataPart(url: string, mimeType: string): JsonObject {
  const data = parseDataUrl(url);
  return data
    ? { inlineData: { mimeType: data.mediaType, data: data.data } }
    : { fileData: { fileUri: url, mimeType } };
}

const imageType = (url: string) => {
  const extension = /\.(png|jpe?g|webp|gif|heic)(\?|$)/i.exec(url)?.[1]?.toLowerCase() ?? 'jpeg';
  return `image/${extension === 'jpg' ? 'jpeg' : extension}`;
};
