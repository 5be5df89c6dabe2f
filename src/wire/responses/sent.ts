import type { CompletionEvent } from '../../core/event.ts';
import { type JsonObject, numberOf, objectOf } from '../../core/json.ts';
import { createSseDecoder } from '../sse.ts';
import type { CallItem, Item, MessageItem, ReasoningItem } from './output.ts';

/** A Response's stream as far as an upstream's own events went out: what they said, and where its numbers are. */
export interface SentResponse {
  /** As it was when it was created: id, model, and what it repeats of its request. */
  readonly response: JsonObject;
  readonly nextSequence: number;
  readonly items: readonly Item[];
  readonly events: readonly CompletionEvent[];
}

/** Reads whole events back (https://platform.openai.com/docs/api-reference/responses-streaming). */
export function readSentResponse(bytes: Uint8Array): SentResponse {
  let response: JsonObject = {};
  let nextSequence = 0;
  let calls = 0;
  const items: Item[] = [];
  const events: CompletionEvent[] = [];
  const callIndex = new Map<Item, number>();

  const add = (index: number, raw: JsonObject) => {
    const item = itemOf(index, raw);
    items.push(item);
    if (item.kind !== 'function' && item.kind !== 'custom') return;
    callIndex.set(item, calls);
    const { kind, callId: id, name, text } = item;
    events.push({ type: 'tool-call-start', choice: 0, index: calls, id, name, kind });
    if (text !== '') events.push({ type: 'tool-call-delta', choice: 0, index: calls, arguments: text });
    calls += 1;
  };
  const think = (item: Item | undefined, text: string) => {
    if (item?.kind !== 'reasoning') return;
    item.opened = true;
    item.text += text;
    events.push({ type: 'reasoning-delta', choice: 0, text });
  };
  const argue = (item: Item | undefined, text: string) => {
    if (item?.kind !== 'function' && item?.kind !== 'custom') return;
    item.text += text;
    events.push({ type: 'tool-call-delta', choice: 0, index: callIndex.get(item) ?? 0, arguments: text });
  };
  const partOver = (item: Item | undefined, event: JsonObject) => {
    if (item?.kind === 'message') {
      const part = item.parts[numberOf(event['content_index']) ?? item.parts.length - 1];
      if (part) part.closed = 'part';
    } else if (item?.kind === 'reasoning') {
      item.before.push(objectOf(event['part']));
      item.opened = false;
      item.text = '';
      delete item.closed;
    }
  };
  const itemOver = (item: Item | undefined, raw: JsonObject) => {
    if (!item) return;
    item.done = true;
    item.raw = raw;
    if (item.kind !== 'reasoning') return;
    const { encrypted_content: redacted } = raw;
    events.push({ type: 'reasoning-end', choice: 0, ...(typeof redacted === 'string' && { redacted }) });
  };

  const read = (event: JsonObject) => {
    nextSequence = (numberOf(event['sequence_number']) ?? nextSequence - 1) + 1;
    const outputIndex = numberOf(event['output_index']);
    const item = outputIndex === undefined ? items.at(-1) : items.findLast(({ index }) => index === outputIndex);
    const delta = typeof event['delta'] === 'string' ? event['delta'] : '';
    switch (event['type']) {
      case 'response.created':
        response = objectOf(event['response']);
        events.push(startOf(response));
        return;
      case 'response.output_item.added':
        add(outputIndex ?? items.length, objectOf(event['item']));
        return;
      case 'response.content_part.added': {
        const { type } = objectOf(event['part']);
        if (item?.kind === 'message') addPart(item, type === 'refusal' ? 'refusal' : 'output_text');
        else if (item?.kind === 'reasoning') item.opened = true;
        return;
      }
      case 'response.reasoning_summary_part.added':
        if (item?.kind === 'reasoning') item.opened = true;
        return;
      case 'response.output_text.delta':
      case 'response.refusal.delta': {
        if (item?.kind !== 'message') return;
        const refusal = event['type'] === 'response.refusal.delta';
        const type = refusal ? 'refusal' : 'output_text';
        const last = item.parts.at(-1);
        const part = last?.type === type ? last : addPart(item, type);
        part.text += delta;
        if (Array.isArray(event['logprobs']) && !refusal) {
          part.logprobs.push(...(event['logprobs'] as unknown as typeof part.logprobs)); // as we write them
        }
        events.push({ type: refusal ? 'refusal-delta' : 'text-delta', choice: 0, text: delta });
        return;
      }
      case 'response.output_text.annotation.added':
        if (item?.kind === 'message') item.parts.at(-1)?.annotations.push(event['annotation']);
        events.push({ type: 'annotation', choice: 0, annotation: event['annotation'] ?? null });
        return;
      case 'response.output_text.done':
      case 'response.refusal.done': {
        const part = item?.kind === 'message' ? item.parts.at(-1) : undefined;
        if (part) part.closed = 'text';
        return;
      }
      case 'response.reasoning_text.delta':
      case 'response.reasoning_summary_text.delta':
        think(item, delta);
        return;
      case 'response.reasoning_text.done':
      case 'response.reasoning_summary_text.done':
        if (item?.kind === 'reasoning') item.closed = 'text';
        return;
      case 'response.content_part.done':
      case 'response.reasoning_summary_part.done':
        partOver(item, event);
        return;
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        argue(item, delta);
        return;
      case 'response.function_call_arguments.done':
      case 'response.custom_tool_call_input.done': {
        if (item?.kind !== 'function' && item?.kind !== 'custom') return;
        const whole = event['arguments'] ?? event['input'];
        if (item.text === '' && typeof whole === 'string' && whole !== '') argue(item, whole);
        item.closed = 'text';
        return;
      }
      case 'response.output_item.done':
        itemOver(item, objectOf(event['item']));
        return;
      default: // progress of hosted tools, and whatever comes next year
    }
  };

  for (const { data } of createSseDecoder().push(bytes)) {
    if (data === '[DONE]') break;
    read(objectOf(JSON.parse(data)));
  }
  return { response, nextSequence, items, events };
}

function itemOf(index: number, raw: JsonObject): Item {
  const text = (name: string) => (typeof raw[name] === 'string' ? raw[name] : '');
  const base = { id: text('id'), index, done: false };
  const callId = text('call_id');
  switch (raw['type']) {
    case 'message':
      return { ...base, kind: 'message', parts: [] } satisfies MessageItem;
    case 'reasoning':
      return { ...base, kind: 'reasoning', before: [], opened: false, text: '' } satisfies ReasoningItem;
    case 'function_call':
      return { ...base, kind: 'function', callId, name: text('name'), text: text('arguments') } satisfies CallItem;
    case 'custom_tool_call':
      return { ...base, kind: 'custom', callId, name: text('name'), text: text('input') } satisfies CallItem;
    default:
      return { ...base, kind: 'other', raw };
  }
}

function addPart(item: MessageItem, type: 'output_text' | 'refusal') {
  const part: MessageItem['parts'][number] = { type, text: '', annotations: [], logprobs: [] };
  item.parts.push(part);
  return part;
}

function startOf({ id, model, created_at: created }: JsonObject): CompletionEvent {
  return {
    type: 'start',
    ...(typeof id === 'string' && { id }),
    ...(typeof model === 'string' && { model }),
    ...(typeof created === 'number' && { created }),
  };
}
