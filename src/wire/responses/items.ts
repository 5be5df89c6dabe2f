import { GatewayError } from '../../core/errors.ts';
import { isJsonObject, type JsonObject } from '../../core/json.ts';
import type { AssistantMessage, Message, Part, ReasoningBlock, ToolCall, Unsayable } from '../../core/request.ts';
import { checkedUrl } from '../openai/messages.ts';
import { parseBody } from '../validate.ts';
import { readCompaction } from './compaction.ts';
import {
  callOutputSchema,
  customCallSchema,
  functionCallSchema,
  messageItemSchema,
  reasoningItemSchema,
} from './schema.ts';
import { unseal } from './sealed.ts';

/** Input as the client or a stored turn has it: one text, or items. */
export type Input = string | readonly JsonObject[] | null | undefined;

/** What of a request we have no words for; see `ChatRequest`. */
export interface Unsaid {
  readonly leftOut: Set<string>;
  onlyAsSent?: Unsayable;
}

/** The input always as items, as they are stored and listed. */
export function inputItems(input: Input): readonly JsonObject[] {
  if (input == null) return [];
  if (typeof input !== 'string') return input;
  return [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: input }] }];
}

/**
 * Items as turns: what one assistant turn was split into (reasoning, message, calls) becomes one message again. Items we
 * can't give to a model (hosted tools' calls) are left out and named in `unsaid`.
 */
export function decodeItems(items: readonly JsonObject[], unsaid: Unsaid): Message[] {
  const messages: Message[] = [];
  const assistant = (fits: (last: AssistantMessage) => boolean): AssistantMessage => {
    const last = messages.at(-1);
    if (last?.role === 'assistant' && fits(last)) {
      messages.pop();
      return last;
    }
    return { role: 'assistant', content: [], toolCalls: [] };
  };
  const addCall = (call: ToolCall) => {
    const message = assistant(() => true);
    messages.push({ ...message, toolCalls: [...message.toolCalls, call] });
  };
  for (const [index, item] of items.entries()) {
    const at = ['input', index];
    const type = item['type'] ?? 'message';
    switch (type) {
      case 'message': {
        const { role, content } = parseBody(messageItemSchema(), item, at);
        const parts = decodeContent(content, `input[${index}].content`, unsaid);
        if (role !== 'assistant') messages.push({ role, content: parts.content });
        else {
          const message = assistant((last) => last.content.length === 0 && last.toolCalls.length === 0);
          messages.push({ ...message, ...parts });
        }
        break;
      }
      case 'function_call': {
        const { call_id, name, arguments: text } = parseBody(functionCallSchema(), item, at);
        const json = typeof text === 'string' ? text : JSON.stringify(text);
        addCall({ id: call_id, kind: 'function', name, arguments: json });
        break;
      }
      case 'custom_tool_call': {
        const { call_id, name, input } = parseBody(customCallSchema(), item, at);
        addCall({ id: call_id, kind: 'custom', name, arguments: input });
        break;
      }
      case 'function_call_output':
      case 'custom_tool_call_output': {
        const { call_id, output } = parseBody(callOutputSchema(), item, at);
        const { content } = decodeContent(output, `input[${index}].output`, unsaid);
        messages.push({ role: 'tool', toolCallId: call_id, content });
        break;
      }
      case 'reasoning': {
        const message = assistant((last) => last.content.length === 0 && last.toolCalls.length === 0);
        messages.push({ ...message, reasoning: [...(message.reasoning ?? []), decodeReasoning(item, at)] });
        break;
      }
      case 'compaction': {
        const text = readCompaction(item);
        if (text === undefined) unsaid.leftOut.add('compaction of another provider');
        else messages.push({ role: 'developer', content: [{ type: 'text', text }] });
        break;
      }
      default:
        unsaid.leftOut.add(`input item '${String(type).slice(0, 60)}'`);
    }
  }
  return messages.filter((message) => message.role !== 'assistant' || !isEmpty(message));
}

const isEmpty = (message: AssistantMessage): boolean =>
  message.content.length === 0 && message.toolCalls.length === 0 && message.refusal === undefined;

function decodeReasoning(item: JsonObject, at: readonly PropertyKey[]): ReasoningBlock {
  const { id, summary, content, encrypted_content } = parseBody(reasoningItemSchema(), item, at);
  const parts = content && content.length > 0 ? content : (summary ?? []);
  return {
    text: parts.map((part) => part.text ?? '').join(''),
    ...(encrypted_content == null ? (id == null ? {} : { id }) : unseal(encrypted_content, id ?? undefined)),
  };
}

/** Parts by any of the names that clients use for them. */
function decodeContent(
  content: string | readonly { type: string; [key: string]: unknown }[] | null | undefined,
  param: string,
  unsaid: Unsaid,
): { content: Part[]; refusal?: string } {
  if (content == null || content === '') return { content: [] };
  if (typeof content === 'string') return { content: [{ type: 'text', text: content }] };
  const parts: Part[] = [];
  let refusal: string | undefined;
  for (const [index, part] of content.entries()) {
    const path = `${param}[${index}]`;
    const text = (key: string): string => requiredText(part[key], `${path}.${key}`);
    switch (part.type) {
      case 'input_text':
      case 'output_text':
      case 'text':
      case 'summary_text':
        parts.push({ type: 'text', text: text('text') });
        break;
      case 'refusal':
        refusal = (refusal ?? '') + text('refusal');
        break;
      case 'input_image':
      case 'image_url': {
        if (part['image_url'] == null && typeof part['file_id'] === 'string') {
          parts.push({ type: 'file', fileId: part['file_id'] });
          break;
        }
        const source = part['image_url'];
        const url = requiredText(isJsonObject(source) ? source['url'] : source, `${path}.image_url`);
        const { detail } = part;
        parts.push({
          type: 'image',
          url: checkedUrl(url, `${path}.image_url`),
          ...(typeof detail === 'string' ? { detail } : {}),
        });
        break;
      }
      case 'input_audio': {
        const audio = isJsonObject(part['input_audio']) ? part['input_audio'] : {};
        parts.push({
          type: 'audio',
          data: requiredText(audio['data'], `${path}.input_audio.data`),
          format: requiredText(audio['format'], `${path}.input_audio.format`),
        });
        break;
      }
      case 'input_file': {
        const { file_id: fileId, filename } = part;
        const data = part['file_data'] ?? part['file_url']; // a file's address stands where its data would
        parts.push({
          type: 'file',
          ...(typeof data === 'string' ? { data } : {}),
          ...(typeof fileId === 'string' ? { fileId } : {}),
          ...(typeof filename === 'string' ? { filename } : {}),
        });
        break;
      }
      default:
        unsaid.onlyAsSent ??= { param: `${path}.type`, what: `a part of type '${part.type.slice(0, 40)}'` };
    }
  }
  return { content: parts, ...(refusal === undefined ? {} : { refusal }) };
}

function requiredText(value: unknown, param: string): string {
  if (typeof value === 'string') return value;
  const missing = value === undefined || value === null;
  throw new GatewayError(
    'invalid_request',
    missing ? `Missing required parameter: '${param}'.` : `Invalid type for '${param}': expected a string.`,
    { code: missing ? 'missing_required_parameter' : 'invalid_type', param },
  );
}
