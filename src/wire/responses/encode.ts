import { nowSeconds } from '../../core/clock.ts';
import type { GatewayError } from '../../core/errors.ts';
import type { CompletionEvent, FinishReason, TokenLogprob, Usage } from '../../core/event.ts';
import type { JsonObject } from '../../core/json.ts';
import { createTextBound } from '../../core/streams.ts';
import type { StreamEncoder } from '../format.ts';
import { encodeLogprobs } from '../openai/encode.ts';
import { imageNote, isImage } from '../openai/images.ts';
import { encodeNamedSse } from '../sse.ts';
import { createCloser } from './closing.ts';
import { encodeResponseUsage, errorFields, failureCode, incompleteReason } from './ending.ts';
import {
  type CallItem,
  encodeItem,
  encodePart,
  flatCitation,
  type Item,
  itemId,
  type MessageItem,
  type ReasoningItem,
  type TextPart,
  wasCut,
} from './output.ts';
import { seal } from './sealed.ts';
import { readSentResponse } from './sent.ts';

export interface ResponseAnswer {
  /** `resp_…` */
  readonly id: string;
  /** Unix seconds. */
  readonly createdAt: number;
  readonly model: string;
  /** What the Response object repeats of its request. */
  readonly echo: JsonObject;
  /** Tool name → the namespace it was declared in. */
  readonly namespaces?: JsonObject;
  /** Reasoning goes out as a summary, because the client asked for one. */
  readonly summarise?: boolean;
  /** The `queued` event comes first: the answer is made in the background. */
  readonly queued?: boolean;
}

export interface ResponseEncoder extends StreamEncoder {
  /** The Response object as it is now. */
  response(): JsonObject;
}

type Status = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

/**
 * The events of a Response, numbered from 0, in the order that openai-node's and the AI SDK's readers demand: items are
 * opened without gaps in their index, filled, closed, and the last event carries the whole Response. `push` throws
 * `upstream_failed` when there is no end to it.
 */
export function createResponseEncoder(given: ResponseAnswer): ResponseEncoder {
  let answer = given;
  const items: Item[] = [];
  const calls = new Map<number, CallItem>();
  const count = createTextBound();
  let sequence = 0;
  let begun = false;
  let status: Status = given.queued ? 'queued' : 'in_progress';
  let finish: FinishReason | undefined;
  let why: { readonly message?: string } = {};
  let usage: Usage | undefined;
  let failure: GatewayError | undefined;
  let completedAt: number | null = null;

  const send = (type: string, fields: object): string =>
    encodeNamedSse(type, JSON.stringify({ type, sequence_number: sequence++, ...fields }));

  const response = (): JsonObject =>
    ({
      id: answer.id,
      object: 'response',
      created_at: answer.createdAt,
      completed_at: completedAt,
      status,
      error: failure ? { code: failureCode(failure), message: failure.message } : null,
      incomplete_details: status === 'incomplete' ? { reason: incompleteReason(finish), ...why } : null,
      model: answer.model,
      output: items.map((item) => itemNow(item, item.done ? undefined : 'in_progress')),
      usage: usage ? encodeResponseUsage(usage) : null,
      ...answer.echo,
    }) as JsonObject; // plain data

  const begin = (): string => {
    if (begun) return '';
    begun = true;
    const queued =
      status === 'queued'
        ? send('response.created', { response: response() }) + send('response.queued', { response: response() })
        : '';
    status = 'in_progress';
    const created = queued === '' ? send('response.created', { response: response() }) : queued;
    return created + send('response.in_progress', { response: response() });
  };

  const namespaceOf = (name: string) => {
    const namespace = answer.namespaces && Object.hasOwn(answer.namespaces, name) ? answer.namespaces[name] : undefined;
    return namespace === undefined ? {} : { namespace };
  };
  const itemNow = (item: Item, state?: 'in_progress') => {
    const cut = wasCut(finish, failure !== undefined) && item === items.at(-1);
    return encodeItem(item, {
      summarise: answer.summarise === true,
      namespaceOf,
      status: state ?? (cut ? 'incomplete' : 'completed'),
    });
  };
  const nextPlace = (prefix: string): { id: string; index: number } => {
    const index = (items.at(-1)?.index ?? -1) + 1;
    return { id: itemId(prefix, answer.id, index), index };
  };

  const added = (item: Item): string => {
    items.push(item);
    return send('response.output_item.added', { output_index: item.index, item: itemNow(item, 'in_progress') });
  };

  const { closePart, closeItem } = createCloser({ send, itemNow, summarise: given.summarise === true });
  const closeAll = (): string => items.map(closeItem).join('');
  /** Calls may grow side by side; all else is closed before the next item begins. */
  const closeOthers = (): string =>
    items.map((item) => (item.kind === 'function' || item.kind === 'custom' ? '' : closeItem(item))).join('');

  const openMessage = (): { item: MessageItem; out: string } => {
    const last = items.at(-1);
    if (last?.kind === 'message' && !last.done) return { item: last, out: '' };
    const out = closeAll();
    const item: MessageItem = { kind: 'message', ...nextPlace('msg_'), parts: [], done: false };
    return { item, out: out + added(item) };
  };
  const openPart = (type: TextPart['type']): { item: MessageItem; part: TextPart; out: string } => {
    const { item, out } = openMessage();
    const last = item.parts.at(-1);
    if (last?.type === type && !last.closed) return { item, part: last, out };
    const closed = closePart(item);
    const part: TextPart = { type, text: '', annotations: [], logprobs: [] };
    item.parts.push(part);
    const place = { item_id: item.id, output_index: item.index, content_index: item.parts.length - 1 };
    return {
      item,
      part,
      out: out + closed + send('response.content_part.added', { ...place, part: encodePart(part) }),
    };
  };
  const openReasoning = (): { item: ReasoningItem; out: string } => {
    const last = items.at(-1);
    if (last?.kind === 'reasoning' && !last.done) return { item: last, out: '' };
    const out = closeAll();
    const item: ReasoningItem = {
      kind: 'reasoning',
      ...nextPlace('rs_'),
      before: [],
      opened: false,
      text: '',
      done: false,
    };
    return { item, out: out + added(item) };
  };

  const textDelta = (text: string, logprobs: readonly TokenLogprob[] | undefined): string => {
    const { item, part, out } = openPart('output_text');
    count(text);
    part.text += text;
    const entries = logprobs ? encodeLogprobs(logprobs).content : [];
    part.logprobs.push(...entries);
    const place = `"item_id":"${item.id}","output_index":${item.index},"content_index":${item.parts.length - 1}`;
    const type = 'response.output_text.delta';
    const json = `{"type":"${type}","sequence_number":${sequence++},${place},"delta":${JSON.stringify(text)},"logprobs":${logprobs ? JSON.stringify(entries) : '[]'}}`;
    return out + encodeNamedSse(type, json);
  };
  const reasoningDelta = (text: string): string => {
    const { item, out } = openReasoning();
    const place = { item_id: item.id, output_index: item.index };
    const first = !item.opened;
    item.opened = true;
    count(text);
    item.text += text;
    if (answer.summarise) {
      const part = { type: 'summary_text', text: '' };
      const opened = first ? send('response.reasoning_summary_part.added', { ...place, summary_index: 0, part }) : '';
      return out + opened + send('response.reasoning_summary_text.delta', { ...place, summary_index: 0, delta: text });
    }
    const part = { type: 'reasoning_text', text: '' };
    const opened = first ? send('response.content_part.added', { ...place, content_index: 0, part }) : '';
    return out + opened + send('response.reasoning_text.delta', { ...place, content_index: 0, delta: text });
  };

  const handle = (event: CompletionEvent): string => {
    switch (event.type) {
      case 'text-delta':
        return event.text === '' && !event.logprobs ? '' : textDelta(event.text, event.logprobs);
      case 'reasoning-delta':
        return event.text === '' ? '' : reasoningDelta(event.text);
      case 'reasoning-end': {
        if (event.redacted === undefined && event.signature === undefined) return '';
        const { item, out } = openReasoning();
        item.encrypted = seal(event);
        return out + closeItem(item);
      }
      case 'refusal-delta': {
        const { item, part, out } = openPart('refusal');
        count(event.text);
        part.text += event.text;
        const place = { item_id: item.id, output_index: item.index, content_index: item.parts.length - 1 };
        return out + send('response.refusal.delta', { ...place, delta: event.text });
      }
      case 'annotation': {
        if (isImage(event.annotation)) return textDelta(imageNote, undefined);
        const { item, part, out } = openPart('output_text');
        const annotation = flatCitation(event.annotation);
        part.annotations.push(annotation);
        return (
          out +
          send('response.output_text.annotation.added', {
            item_id: item.id,
            output_index: item.index,
            content_index: item.parts.length - 1,
            annotation_index: part.annotations.length - 1,
            annotation,
          })
        );
      }
      case 'tool-call-start': {
        const out = closeOthers();
        const item: CallItem = {
          kind: event.kind,
          ...nextPlace(event.kind === 'custom' ? 'ctc_' : 'fc_'),
          callId: event.id,
          name: event.name,
          text: '',
          done: false,
        };
        calls.set(event.index, item);
        return out + added(item);
      }
      case 'tool-call-delta': {
        const item = calls.get(event.index);
        if (!item || item.done || event.arguments === '') return '';
        count(event.arguments);
        item.text += event.arguments;
        const type =
          item.kind === 'custom' ? 'response.custom_tool_call_input.delta' : 'response.function_call_arguments.delta';
        return send(type, { item_id: item.id, output_index: item.index, delta: event.arguments });
      }
      case 'finish':
        // a refusal without words of its own is an answer that was stopped, as in chat
        finish = event.reason === 'refusal' && !items.some(isRefusal) ? 'content-filter' : event.reason;
        why = event.detail === undefined ? {} : { message: event.detail };
        return closeAll();
      case 'usage':
        usage = event.usage;
        return '';
      case 'takeover': {
        const last = items.at(-1);
        return last?.kind === 'reasoning' ? closeItem(last) : ''; // the next one thinks for itself
      }
      case 'start':
      case 'progress':
      case 'wire':
        return '';
      default:
        return event satisfies never;
    }
  };

  /** The client has an upstream's own events so far: ids, indices, numbers and the Response itself go on from them. */
  const resume = (bytes: Uint8Array) => {
    const sent = readSentResponse(bytes);
    const { id, created_at, model, output: _, usage: __, status: ___, ...echo } = sent.response;
    answer = {
      ...answer,
      id: typeof id === 'string' ? id : answer.id,
      createdAt: typeof created_at === 'number' ? created_at : answer.createdAt,
      model: typeof model === 'string' ? model : answer.model,
      echo: withoutEnd(echo),
    };
    begun = true;
    status = 'in_progress';
    sequence = sent.nextSequence;
    items.push(...sent.items);
    let call = 0;
    for (const item of sent.items) if (item.kind === 'function' || item.kind === 'custom') calls.set(call++, item);
  };

  return {
    response,
    push(event) {
      if ('choice' in event && event.choice !== 0) return '';
      if (event.type === 'start' && !answer.queued) return ''; // an upstream's own events may follow
      if (event.type === 'takeover' && event.sent) resume(event.sent);
      return begin() + handle(event);
    },
    end() {
      const out = begin() + closeAll();
      status = finish === 'length' || finish === 'content-filter' ? 'incomplete' : 'completed';
      completedAt = status === 'completed' ? nowSeconds() : null;
      return out + send(`response.${status}`, { response: response() });
    },
    error(error) {
      const out = begin(); // tells of no failure yet
      failure = error;
      status = error.kind === 'cancelled' ? 'cancelled' : 'failed';
      for (const item of items) item.done = true;
      const event = send('error', errorFields(error));
      return out + event + send('response.failed', { response: { ...response(), status: 'failed' } });
    },
  };
}

const isRefusal = (item: Item): boolean => item.kind === 'message' && item.parts.some(({ type }) => type === 'refusal');

/** What a Response says of its end is ours to say. */
function withoutEnd({ object: _, completed_at: __, error: ___, incomplete_details: ____, ...echo }: JsonObject) {
  return echo;
}
