import { isJsonObject, type Json } from '../../core/json.ts';
import type { AssistantMessage, Message, Part } from '../../core/request.ts';
import { checkedUrl } from '../openai/messages.ts';
import { paramPath, parseBody } from '../validate.ts';
import {
  documentBlockSchema,
  imageBlockSchema,
  type MessagesBody,
  redactedThinkingSchema,
  searchResultSchema,
  textBlockSchema,
  thinkingSchema,
  toolResultSchema,
  toolUseSchema,
} from './schema.ts';

type Content = string | readonly { type: string; [key: string]: unknown }[] | null | undefined;
type At = readonly PropertyKey[];

/**
 * System text without the billing block that Claude Code puts first: its nonce changes with every request and would
 * keep every prefix cache from ever hitting (13.7 times slower turns, vllm-mlx#277).
 */
export function decodeSystem(system: MessagesBody['system'], leftOut: Set<string>): Part[] {
  const parts = decodeParts(system, ['system'], leftOut);
  const first = parts[0];
  return first?.type === 'text' && /^\s*x-anthropic-billing-header:/i.test(first.text) ? parts.slice(1) : parts;
}

/** Turns; tool results leave the user turn they came in, since ours are turns of their own. */
export function decodeMessages(bodies: MessagesBody['messages'], leftOut: Set<string>): Message[] {
  return bodies.flatMap(({ role, content }, index): Message[] => {
    const at = ['messages', index, 'content'];
    if (role === 'assistant') return [decodeAssistant(content, at, leftOut)];
    if (role === 'system') return [{ role, content: decodeParts(content, at, leftOut) }];
    return decodeUser(content, at, leftOut);
  });
}

function decodeUser(content: Content, at: At, leftOut: Set<string>): Message[] {
  if (content == null || typeof content === 'string') {
    return [{ role: 'user', content: decodeParts(content, at, leftOut) }];
  }
  const messages: Message[] = [];
  let parts: Part[] = [];
  const flush = () => {
    if (parts.length > 0) messages.push({ role: 'user', content: parts });
    parts = [];
  };
  for (const [index, block] of content.entries()) {
    if (block.type !== 'tool_result') {
      parts.push(...decodeBlock(block, [...at, index], leftOut));
      continue;
    }
    flush();
    const { tool_use_id, content: result, is_error } = parseBody(toolResultSchema(), block, [...at, index]);
    messages.push({
      role: 'tool',
      toolCallId: tool_use_id,
      content: decodeParts(result, [...at, index, 'content'], leftOut),
      ...(is_error == null ? {} : { isError: is_error }),
      ...cacheControlOf(block),
    });
  }
  flush();
  return messages.length > 0 ? messages : [{ role: 'user', content: [] }];
}

function decodeAssistant(content: Content, at: At, leftOut: Set<string>): AssistantMessage {
  const blocks = typeof content === 'string' || content == null ? [] : content;
  const parts: Part[] = typeof content === 'string' ? decodeParts(content, at, leftOut) : [];
  const toolCalls: AssistantMessage['toolCalls'][number][] = [];
  const reasoning: NonNullable<AssistantMessage['reasoning']>[number][] = [];
  for (const [index, block] of blocks.entries()) {
    const place = [...at, index];
    switch (block.type) {
      case 'tool_use': {
        const { id, name, input } = parseBody(toolUseSchema(), block, place);
        toolCalls.push({ id, kind: 'function', name, arguments: JSON.stringify(input ?? {}) });
        break;
      }
      case 'thinking': {
        const { thinking, signature } = parseBody(thinkingSchema(), block, place);
        reasoning.push({ text: thinking, ...(signature ? { signature } : {}) });
        break;
      }
      case 'redacted_thinking':
        reasoning.push({ text: '', redacted: parseBody(redactedThinkingSchema(), block, place).data });
        break;
      default:
        parts.push(...decodeBlock(block, place, leftOut));
    }
  }
  return { role: 'assistant', content: parts, toolCalls, ...(reasoning.length > 0 ? { reasoning } : {}) };
}

function decodeParts(content: Content, at: At, leftOut: Set<string>): Part[] {
  if (content == null || content === '') return [];
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.flatMap((block, index) => decodeBlock(block, [...at, index], leftOut));
}

const cacheControlOf = ({ cache_control: asked }: { readonly [key: string]: unknown }): { cacheControl?: Json } =>
  isJsonObject(asked) ? { cacheControl: asked } : {};

/** One block as parts; kinds we don't know (server tools' results and the like) say nothing to another model and are left out. */
function decodeBlock(block: { type: string; [key: string]: unknown }, at: At, leftOut: Set<string>): Part[] {
  const cacheControl = cacheControlOf(block);
  switch (block.type) {
    case 'text':
      return [{ type: 'text', text: parseBody(textBlockSchema(), block, at).text, ...cacheControl }];
    case 'image': {
      const { source } = parseBody(imageBlockSchema(), block, at);
      if (source.file_id != null) return [{ type: 'file', fileId: source.file_id }];
      const url = source.url ?? `data:${source.media_type ?? 'image/png'};base64,${source.data ?? ''}`;
      return [{ type: 'image', url: checkedUrl(url, paramPath([...at, 'source', 'url'])), ...cacheControl }];
    }
    case 'document': {
      const { source, title, context } = parseBody(documentBlockSchema(), block, at);
      const about: Part[] = context ? [{ type: 'text', text: `${context}\n\n` }] : [];
      const named: Part[] = title ? [{ type: 'text', text: `${title}\n\n` }, ...about] : about;
      if (source.type === 'text') return [...named, { type: 'text', text: source.data ?? '', ...cacheControl }];
      if (source.type === 'content') {
        return [...named, ...decodeParts(source.content, [...at, 'source', 'content'], leftOut)];
      }
      const inline = source.data == null ? undefined : `data:${source.media_type ?? ''};base64,${source.data}`;
      const address = source.url == null ? undefined : checkedUrl(source.url, paramPath([...at, 'source', 'url']));
      const data = inline ?? address; // a file's address stands where its data would
      const fileId = source.file_id == null ? {} : { fileId: source.file_id };
      return [
        ...about,
        {
          type: 'file',
          ...(data === undefined ? {} : { data }),
          ...fileId,
          ...(title == null ? {} : { filename: title }),
        },
      ];
    }
    case 'search_result': {
      const { title, source, content } = parseBody(searchResultSchema(), block, at);
      return [{ type: 'text', text: `${title}\n${source}\n\n` }, ...decodeParts(content, [...at, 'content'], leftOut)];
    }
    default:
      leftOut.add(`block type '${block.type.slice(0, 60)}'`);
      return [];
  }
}
