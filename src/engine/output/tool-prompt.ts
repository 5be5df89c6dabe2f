import { isJson, type JsonObject } from '../../core/json.ts';
import { type ChatRequest, type Message, type Tool, textOf } from '../../core/request.ts';
import type { EnginePrompt, TemplateMessage } from '../protocol.ts';
import { templateMessage } from '../request.ts';
import { regexOf } from './refused.ts';
import { wholePattern } from './string-texts.ts';
import { type CallSyntax, explainTools, writeCall } from './syntax.ts';

type ChatPrompt = EnginePrompt & { readonly kind: 'chat' };

/** The chat prompt with tools where the model's template, or our own words, put them. Calls of earlier turns are written out. */
export function toolPrompt(
  request: ChatRequest,
  base: ChatPrompt,
  syntax: CallSyntax,
  tools: readonly Tool[],
): ChatPrompt {
  const described = tools.map(describeTool);
  const { tools: _, ...rest } = base;
  const continueText = continuation(request, syntax);
  const prompt = { ...rest, ...(continueText === '' ? {} : { continueText }) };
  if (syntax.native) return { ...prompt, ...(described.length > 0 ? { tools: described } : {}) };

  const history = request.messages.slice(0, request.continueFinalMessage ? -1 : undefined);
  const messages = history.map((message) => plainMessage(message, syntax));
  if (described.length === 0) return { ...prompt, messages };
  const words = explainTools(syntax, described, request.parallelToolCalls);
  const [first, ...others] = messages;
  if (first?.role === 'system') {
    return { ...prompt, messages: [{ ...first, content: `${first.content}\n\n${words}` }, ...others] };
  }
  return { ...prompt, messages: [{ role: 'system', content: words }, ...messages] };
}

/** A tool as OpenAI's API and most templates describe it; a custom tool takes one text, by its expression if it has one. */
export function describeTool(tool: Tool): JsonObject {
  const regex = regexOf(tool.format);
  const input = { type: 'string', ...(regex === undefined ? {} : { pattern: wholePattern(regex) }) };
  const parameters: JsonObject =
    tool.kind === 'custom'
      ? { type: 'object', properties: { input }, required: ['input'] }
      : (tool.parameters ?? { type: 'object', properties: {} });
  return { type: 'function', function: { name: tool.name, description: tool.description ?? '', parameters } };
}

/** For templates without a notion of tools: calls as the text they were, results as the user's turn. */
function plainMessage(message: Message, syntax: CallSyntax): TemplateMessage {
  if (message.role === 'tool') {
    return { role: 'user', content: `<tool_response>\n${textOf(message.content)}\n</tool_response>` };
  }
  if (message.role !== 'assistant' || message.toolCalls.length === 0) return templateMessage(message);
  const calls = message.toolCalls.map((call) => writeCall(syntax, call));
  return { role: 'assistant', content: [textOf(message.content), ...calls].filter(Boolean).join('\n') };
}

/** The beginning of the answer that is to be continued, calls included; the last one may be open. */
export function continuation(request: ChatRequest, syntax: CallSyntax): string {
  const last = request.messages.at(-1);
  if (!request.continueFinalMessage || last?.role !== 'assistant') return '';
  const written = last.toolCalls.map((call, i) => {
    const whole = writeCall(syntax, call);
    const open = i === last.toolCalls.length - 1 && !isJson(call.arguments) && call.kind === 'function';
    if (!open) return whole;
    const head = writeCall(syntax, { ...call, arguments: '{}' });
    return head.slice(0, head.lastIndexOf('{}')) + call.arguments;
  });
  return [textOf(last.content), ...written].filter(Boolean).join('\n');
}
