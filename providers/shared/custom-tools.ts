import type { CompletionEvent } from '../../src/core/event.ts';
import { type JsonObject, objectOf, parseObject, stringOf } from '../../src/core/json.ts';
import type { Provider } from '../../src/core/provider.ts';
import { type ChatRequest, type Message, readable, type Tool } from '../../src/core/request.ts';

/**
 * Custom tools, whose input is free text, for a server that knows functions alone: each is a function of one text. What
 * binds that text can only be described then, and is told to the client as left out, as `strict` is.
 */
export function customToolsAsFunctions(provider: Provider): Provider {
  const { capabilities, stream, ignores, countTokens } = provider;
  if (!capabilities.tools || capabilities.customTools) return provider;
  return {
    ...provider,
    stream(request, options) {
      if (!saysCustom(request)) return stream(request, options);
      const names = new Set(request.tools.filter(isCustom).map(({ name }) => name));
      return readInputs(stream(withFunctions(request), options), names);
    },
    ignores: (request) => [
      ...(ignores?.(request) ?? []),
      ...request.tools.filter(grammarOf).map(({ name }) => `grammar of tool '${name.slice(0, 60)}'`),
    ],
    ...(countTokens && {
      countTokens: (request, options) => countTokens(saysCustom(request) ? withFunctions(request) : request, options),
    }),
  };
}

const saysCustom = ({ tools, messages }: ChatRequest): boolean => tools.some(isCustom) || messages.some(callsCustom);
const isCustom = ({ kind }: { readonly kind: string }): boolean => kind === 'custom';
const callsCustom = (message: Message): boolean => message.role === 'assistant' && message.toolCalls.some(isCustom);

const withFunctions = (request: ChatRequest): ChatRequest => ({
  ...readable(request),
  tools: request.tools.map((tool) => (isCustom(tool) ? functionOf(tool) : tool)),
  messages: request.messages.map((message) =>
    callsCustom(message) && message.role === 'assistant'
      ? {
          ...message,
          toolCalls: message.toolCalls.map((call) =>
            isCustom(call) ? { ...call, kind: 'function', arguments: JSON.stringify({ input: call.arguments }) } : call,
          ),
        }
      : message,
  ),
});

function functionOf(tool: Tool): Tool {
  const grammar = grammarOf(tool);
  const bound = grammar && `The input must match this ${grammar.syntax} grammar:\n${grammar.definition}`;
  const description = [tool.description, bound].filter(Boolean).join('\n\n');
  return {
    kind: 'function',
    name: tool.name,
    ...(description === '' ? {} : { description }),
    parameters: {
      type: 'object',
      properties: { input: { type: 'string', description: 'The whole input, as it is.' } },
      required: ['input'],
      additionalProperties: false,
    },
    ...(tool.cacheControl === undefined ? {} : { cacheControl: tool.cacheControl }),
  };
}

/** As chat writes it, in an object of its own, or flat, as Responses do. */
function grammarOf({ kind, format }: Tool): { readonly syntax: string; readonly definition: string } | undefined {
  if (kind !== 'custom' || format?.['type'] !== 'grammar') return undefined;
  const { syntax, definition }: JsonObject = { ...format, ...objectOf(format['grammar']) };
  return { syntax: stringOf(syntax) ?? 'given', definition: stringOf(definition) ?? '' };
}

/** The calls of these names with their text in place of their arguments; it is known when the answer is over. */
async function* readInputs(
  events: AsyncIterable<CompletionEvent>,
  names: ReadonlySet<string>,
): AsyncGenerator<CompletionEvent> {
  const inputs = new Map<string, { readonly choice: number; readonly index: number; json: string }>();
  for await (const event of events) {
    if (event.type === 'tool-call-start' && names.has(event.name)) {
      const { choice, index } = event;
      inputs.set(`${choice} ${index}`, { choice, index, json: '' });
      yield { ...event, kind: 'custom' };
      continue;
    }
    const input = event.type === 'tool-call-delta' ? inputs.get(`${event.choice} ${event.index}`) : undefined;
    if (input && event.type === 'tool-call-delta') {
      input.json += event.arguments;
      continue;
    }
    if (event.type === 'finish') {
      for (const { choice, index, json } of inputs.values()) {
        if (choice === event.choice) yield { type: 'tool-call-delta', choice, index, arguments: textOf(json) };
      }
    }
    yield event;
  }
}

/** Of arguments that were cut, what is there; other arguments than the one asked for, as they are. */
function textOf(json: string): string {
  const { input } = parseObject(json) ?? parseObject(`${json}"}`) ?? {};
  return stringOf(input) ?? json;
}
