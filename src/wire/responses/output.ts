import type { FinishReason } from '../../core/event.ts';
import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts';
import type { encodeLogprobs } from '../openai/encode.ts';

/** How far the end of a part is told: its text is over, or the part with it. */
export type Closed = 'text' | 'part';

export interface TextPart {
  readonly type: 'output_text' | 'refusal';
  text: string;
  readonly annotations: unknown[];
  readonly logprobs: ReturnType<typeof encodeLogprobs>['content'];
  closed?: Closed;
}
interface ItemBase {
  readonly id: string;
  /** `output_index` */
  readonly index: number;
  done: boolean;
  /** As an upstream told it when it was done: given again as it is. */
  raw?: JsonObject;
}
export interface MessageItem extends ItemBase {
  readonly kind: 'message';
  readonly parts: TextPart[];
}
export interface ReasoningItem extends ItemBase {
  readonly kind: 'reasoning';
  /** Parts that are over. */
  readonly before: JsonObject[];
  /** The part after them is begun, and holds this. */
  opened: boolean;
  text: string;
  closed?: Closed;
  encrypted?: string;
}
export interface CallItem extends ItemBase {
  readonly kind: 'function' | 'custom';
  readonly callId: string;
  readonly name: string;
  text: string;
  closed?: Closed;
}
/** What only its upstream knows: a hosted tool's call. */
export interface OtherItem extends ItemBase {
  readonly kind: 'other';
}
export type Item = MessageItem | ReasoningItem | CallItem | OtherItem;

export interface ItemView {
  /** Reasoning goes out as a summary. */
  readonly summarise: boolean;
  readonly namespaceOf: (name: string) => object;
  readonly status: 'in_progress' | 'incomplete' | 'completed';
}

/** An item of a Response's `output`. */
export function encodeItem(item: Item, { summarise, namespaceOf, status }: ItemView): object {
  if (item.raw && (item.done || item.kind === 'other')) return item.raw;
  switch (item.kind) {
    case 'message':
      return { id: item.id, type: 'message', status, role: 'assistant', content: item.parts.map(encodePart) };
    case 'reasoning': {
      const last = item.text === '' ? [] : [reasoningPart(item.text, summarise)];
      const parts = [...item.before, ...last];
      return {
        id: item.id,
        type: 'reasoning',
        summary: summarise ? parts : [],
        ...(summarise ? {} : { content: parts }),
        ...(item.encrypted === undefined ? {} : { encrypted_content: item.encrypted }),
        status,
      };
    }
    case 'function':
      return {
        id: item.id,
        type: 'function_call',
        status,
        call_id: item.callId,
        name: item.name,
        arguments: item.text,
        ...namespaceOf(item.name),
      };
    case 'custom':
      return {
        id: item.id,
        type: 'custom_tool_call',
        status,
        call_id: item.callId,
        name: item.name,
        input: item.text,
        ...namespaceOf(item.name),
      };
    case 'other':
      return { id: item.id };
    default:
      return item satisfies never;
  }
}

/** Thoughts as a summary, or as they are. */
export const reasoningPart = (text: string, summarise: boolean): JsonObject => ({
  type: summarise ? 'summary_text' : 'reasoning_text',
  text,
});

/** A part of a message, complete or as far as it is. */
export function encodePart(part: TextPart): object {
  if (part.type === 'refusal') return { type: 'refusal', refusal: part.text };
  return { type: 'output_text', text: part.text, annotations: [...part.annotations], logprobs: [...part.logprobs] };
}

/** A citation of chat's form in that of Responses, which has no object inside it. */
export function flatCitation(annotation: Json): Json {
  if (!isJsonObject(annotation) || !isJsonObject(annotation['url_citation'])) return annotation;
  return { type: 'url_citation', title: '', start_index: 0, end_index: 0, ...annotation['url_citation'] };
}

/** What is only there when the answer was cut. */
export const wasCut = (finish: FinishReason | undefined, failed: boolean): boolean =>
  finish === 'length' || finish === 'content-filter' || failed;

/** An item's id says which response it is of and where, so that a later turn's `item_reference` can be found without an index. */
export const itemId = (prefix: string, responseId: string, index: number): string =>
  `${prefix}${responseId.replace(/^resp_/, '')}_${index}`;

/** The id of the response that an item is of; undefined where it was not named by `itemId`. */
export function responseOfItem(id: string): string | undefined {
  const named = /^[a-z]+_(.+)_\d+$/.exec(id)?.[1];
  return named && `resp_${named}`;
}
