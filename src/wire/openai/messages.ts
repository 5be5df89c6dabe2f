import type { z } from 'zod';
import type { Json } from '../../core/json.ts';
import type { AssistantMessage, Message, Part, ToolCall } from '../../core/request.ts';
import { invalidValue } from '../validate.ts';
import type { MessageBody, toolCallSchema } from './schema.ts';

/** Turns as the vocabulary has them. Null, empty and missing assistant content are all the same here. */
export function decodeMessages(bodies: readonly MessageBody[]): Message[] {
  const messages: Message[] = [];
  let legacyCalls = 0;
  for (const [index, body] of bodies.entries()) {
    switch (body.role) {
      case 'system':
      case 'developer':
        messages.push(withName({ role: body.role, content: textContent(body.content) }, body.name));
        break;
      case 'user':
        messages.push(withName({ role: 'user', content: userContent(body.content, index) }, body.name));
        break;
      case 'assistant':
        messages.push(decodeAssistant(body, () => `call_legacy_${legacyCalls++}`));
        break;
      case 'tool':
        messages.push(
          withName(
            { role: 'tool', toolCallId: body.tool_call_id, content: userContent(body.content ?? [], index) },
            body.name,
          ),
        );
        break;
      case 'function':
        messages.push({
          role: 'tool',
          toolCallId: `call_legacy_${Math.max(0, legacyCalls - 1)}`,
          content: textContent(body.content ?? []),
          name: body.name,
        });
        break;
      default:
        body satisfies never;
    }
  }
  return messages;
}

function decodeAssistant(body: Extract<MessageBody, { role: 'assistant' }>, legacyId: () => string): AssistantMessage {
  const content: Part[] = [];
  let refusal = body.refusal ?? undefined;
  if (typeof body.content === 'string') content.push(...textContent(body.content));
  else {
    for (const part of body.content ?? []) {
      if (part.type === 'text') content.push(textPart(part));
      else refusal = (refusal ?? '') + part.refusal;
    }
  }
  const toolCalls = (body.tool_calls ?? []).map(decodeToolCall);
  if (body.function_call) {
    const { name, arguments: text } = body.function_call;
    toolCalls.push({ id: legacyId(), kind: 'function', name, arguments: text });
  }
  const reasoning = body.reasoning_content ?? body.reasoning;
  const message: { -readonly [K in keyof AssistantMessage]: AssistantMessage[K] } = {
    role: 'assistant',
    content,
    toolCalls,
  };
  if (reasoning) message.reasoning = [{ text: reasoning }];
  if (refusal) message.refusal = refusal;
  return withName(message, body.name);
}

function decodeToolCall(call: z.output<ReturnType<typeof toolCallSchema>>): ToolCall {
  if (call.type === 'custom') {
    return { id: call.id, kind: 'custom', name: call.custom.name, arguments: call.custom.input };
  }
  const { name, arguments: text } = call.function;
  return {
    id: call.id,
    kind: 'function',
    name,
    arguments: text == null ? '{}' : typeof text === 'string' ? text : JSON.stringify(text),
  };
}

const withName = <T extends Message>(message: T, name: string | null | undefined): T =>
  name == null ? message : { ...message, name };

const textPart = (part: { text: string; [key: string]: unknown }): Part => {
  const cacheControl = part['cache_control'] as Json | undefined; // out of JSON.parse
  return { type: 'text', text: part.text, ...(cacheControl == null ? {} : { cacheControl }) };
};

function textContent(content: string | readonly { text: string; [key: string]: unknown }[]): Part[] {
  if (typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }];
  return content.map(textPart);
}

function userContent(content: Extract<MessageBody, { role: 'user' }>['content'], message: number): Part[] {
  if (typeof content === 'string') return textContent(content);
  const param = `messages[${message}].content`;
  return content.map((part, index): Part => {
    switch (part.type) {
      case 'text':
        return textPart(part);
      case 'image_url': {
        const image = typeof part.image_url === 'string' ? { url: part.image_url } : part.image_url;
        return { type: 'image', url: checkedUrl(image.url, `${param}[${index}].image_url.url`), ...detailOf(image) };
      }
      case 'input_audio':
        return { type: 'audio', data: part.input_audio.data, format: part.input_audio.format };
      case 'file': {
        const { file_data: data, file_id: fileId, filename } = part.file;
        return {
          type: 'file',
          ...(data == null ? {} : { data }),
          ...(fileId == null ? {} : { fileId }),
          ...(filename == null ? {} : { filename }),
        };
      }
      default:
        return part satisfies never;
    }
  });
}

const detailOf = (image: { detail?: string | null | undefined }) =>
  image.detail == null ? {} : { detail: image.detail };

/** Pictures come by web address or inline; other schemes (`file:`) have no business in a request. */
export function checkedUrl(url: string, param: string): string {
  if (/^(https?:\/\/|data:)/i.test(url)) return url;
  throw invalidValue(param, `Invalid '${param}': expected an http(s) or data: URL.`);
}
