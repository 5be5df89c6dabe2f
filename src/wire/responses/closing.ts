import { encodePart, type Item, type MessageItem, type ReasoningItem, reasoningPart } from './output.ts';

export interface CloserOptions {
  /** An event of this type, numbered. */
  readonly send: (type: string, fields: object) => string;
  readonly itemNow: (item: Item) => object;
  /** Reasoning goes out as a summary. */
  readonly summarise: boolean;
}

/** The events that end parts and items, each once, as far as the client has not been told already. */
export function createCloser({ send, itemNow, summarise }: CloserOptions) {
  const closePart = (item: MessageItem): string => {
    const part = item.parts.at(-1);
    if (!part || part.closed === 'part') return '';
    const place = { item_id: item.id, output_index: item.index, content_index: item.parts.length - 1 };
    const done = part.closed
      ? ''
      : part.type === 'refusal'
        ? send('response.refusal.done', { ...place, refusal: part.text })
        : send('response.output_text.done', { ...place, text: part.text, logprobs: part.logprobs });
    part.closed = 'part';
    return done + send('response.content_part.done', { ...place, part: encodePart(part) });
  };

  const closeReasoning = (item: ReasoningItem): string => {
    if (!item.opened) return '';
    const at = item.before.length;
    const place = { item_id: item.id, output_index: item.index, [summarise ? 'summary_index' : 'content_index']: at };
    const part = reasoningPart(item.text, summarise);
    const textDone = summarise ? 'response.reasoning_summary_text.done' : 'response.reasoning_text.done';
    const partDone = summarise ? 'response.reasoning_summary_part.done' : 'response.content_part.done';
    return (item.closed ? '' : send(textDone, { ...place, text: item.text })) + send(partDone, { ...place, part });
  };

  const closeItem = (item: Item): string => {
    if (item.done) return '';
    let out = '';
    const place = { item_id: item.id, output_index: item.index };
    if (item.kind === 'message') out = closePart(item);
    else if (item.kind === 'reasoning') out = closeReasoning(item);
    else if (item.kind === 'function' && !item.closed) {
      out = send('response.function_call_arguments.done', { ...place, name: item.name, arguments: item.text });
    } else if (item.kind === 'custom' && !item.closed)
      out = send('response.custom_tool_call_input.done', { ...place, input: item.text });
    item.done = true;
    return out + send('response.output_item.done', { output_index: item.index, item: itemNow(item) });
  };

  return { closePart, closeItem };
}
