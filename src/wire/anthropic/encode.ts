import type { CompletionEvent, FinishReason, Usage } from '../../core/event.ts';
import { isJson, isJsonObject, type Json, type JsonObject, objectOf, parseObject } from '../../core/json.ts';
import type { ReasoningBlock } from '../../core/request.ts';
import type { Collected } from '../../core/streams.ts';
import type { StreamEncoder } from '../format.ts';
import { imageNote, imageNotes, isImage } from '../openai/images.ts';
import { encodeParts } from '../openai/usage.ts';
import { encodeNamedSse } from '../sse.ts';
import { encodeMessageError } from './errors.ts';
import { readSentMessage } from './sent.ts';

export interface MessageAnswer {
  /** `msg_…` */
  readonly id: string;
  readonly model: string;
  readonly requestId: string;
}

type OpenBlock =
  | { readonly type: 'text' | 'thinking' | 'redacted_thinking' }
  | { readonly type: 'tool_use'; readonly call: PendingCall };

interface PendingCall {
  readonly id: string;
  readonly name: string;
  /** All arguments so far, to tell whether the call is whole. */
  text: string;
  /** Arguments not sent yet, because another call is still open. */
  unsent: string;
  state: 'waiting' | 'open' | 'closed';
}

/** Anthropic's event stream: one block at a time, opened, filled and closed; no `[DONE]`. */
export function createMessageEncoder(answer: MessageAnswer): StreamEncoder {
  const calls: PendingCall[] = [];
  let open: OpenBlock | undefined;
  let index = -1;
  let begun = false;
  let prompt: Usage = { promptTokens: 0, completionTokens: 0 };
  let finish: Extract<CompletionEvent, { type: 'finish' }> | undefined;
  let usage: Usage | undefined;
  let stopTold = false;

  const send = (type: string, fields: object): string => encodeNamedSse(type, JSON.stringify({ type, ...fields }));

  const begin = (): string => {
    if (begun) return '';
    begun = true;
    return send('message_start', {
      message: {
        id: answer.id,
        type: 'message',
        role: 'assistant',
        model: answer.model,
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: encodeUsage(prompt),
      },
    });
  };
  const delta = (fields: object): string => send('content_block_delta', { index, delta: fields });
  const close = (): string => {
    if (!open) return '';
    if (open.type === 'tool_use') open.call.state = 'closed';
    open = undefined;
    return send('content_block_stop', { index });
  };
  const start = (block: OpenBlock, content_block: object): string => {
    const out = close();
    open = block;
    index++;
    return out + send('content_block_start', { index, content_block });
  };
  const openCall = (call: PendingCall): string => {
    const out = start({ type: 'tool_use', call }, { type: 'tool_use', id: call.id, name: call.name, input: {} });
    call.state = 'open';
    const text = call.unsent;
    call.unsent = '';
    return out + (text === '' ? '' : delta({ type: 'input_json_delta', partial_json: text }));
  };
  /** Calls that had to wait for an unfinished one. */
  const flushCalls = (): string => calls.map((call) => (call.state === 'waiting' ? openCall(call) : '')).join('');

  const handle = (event: CompletionEvent): string => {
    switch (event.type) {
      case 'progress':
        prompt = { ...prompt, promptTokens: event.totalTokens };
        return '';
      case 'text-delta':
      case 'refusal-delta': {
        if (event.text === '') return '';
        const opened = open?.type === 'text' ? '' : flushCalls() + start({ type: 'text' }, { type: 'text', text: '' });
        const json = `{"type":"content_block_delta","index":${index},"delta":{"type":"text_delta","text":${JSON.stringify(event.text)}}}`;
        return opened + encodeNamedSse('content_block_delta', json);
      }
      case 'reasoning-delta': {
        if (event.text === '') return '';
        const block = { type: 'thinking', thinking: '', signature: '' };
        const opened = open?.type === 'thinking' ? '' : flushCalls() + start({ type: 'thinking' }, block);
        return opened + delta({ type: 'thinking_delta', thinking: event.text });
      }
      case 'reasoning-end': {
        if (event.redacted !== undefined) {
          const block = { type: 'redacted_thinking', data: event.redacted };
          return start({ type: 'redacted_thinking' }, block) + close();
        }
        if (open?.type !== 'thinking') return '';
        return delta({ type: 'signature_delta', signature: signatureOf(event) }) + close();
      }
      case 'tool-call-start': {
        const call: PendingCall = { id: event.id, name: event.name, text: '', unsent: '', state: 'waiting' };
        calls[event.index] = call;
        const unfinished = open?.type === 'tool_use' && !isJson(open.call.text);
        return unfinished ? '' : openCall(call);
      }
      case 'tool-call-delta': {
        const call = calls[event.index];
        if (!call || event.arguments === '') return '';
        call.text += event.arguments;
        if (call.state === 'open') return delta({ type: 'input_json_delta', partial_json: event.arguments });
        if (call.state === 'waiting') call.unsent += event.arguments;
        return '';
      }
      case 'finish':
        finish = event;
        return flushCalls() + close();
      case 'usage':
        usage = event.usage;
        return '';
      case 'takeover': // the next one thinks for itself, and signs only that
        return open?.type === 'thinking' || open?.type === 'redacted_thinking' ? close() : '';
      case 'start':
        prompt = { ...prompt, ...event.prompt };
        return '';
      case 'annotation': {
        if (isImage(event.annotation)) return handle({ type: 'text-delta', choice: event.choice, text: imageNote });
        const citation = open?.type === 'text' ? citationOf(event.annotation) : undefined;
        return citation ? delta({ type: 'citations_delta', citation }) : '';
      }
      case 'wire':
        return '';
      default:
        return event satisfies never;
    }
  };

  /** The upstream's own events went out: what they said is remembered, not sent; blocks are counted on from theirs. */
  const resume = (delivered: readonly CompletionEvent[], sent: Uint8Array = new Uint8Array()) => {
    begun = true;
    for (const said of delivered) encoder.push(said);
    const message = readSentMessage(sent);
    const call = calls.at(-1);
    index = message.index;
    stopTold = message.stopped;
    for (const one of calls) one.state = 'closed';
    if (message.open === 'text' || message.open === 'thinking' || message.open === 'redacted_thinking')
      open = { type: message.open };
    else if (message.open === 'tool_use' && call) {
      call.state = 'open';
      open = { type: 'tool_use', call };
    } else open = undefined;
  };

  const encoder: StreamEncoder = {
    push(event) {
      if (event.type === 'takeover' && event.delivered) resume(event.delivered, event.sent);
      if ('choice' in event && event.choice !== 0) return '';
      // `message_start` tells the prompt's size where the first events say it
      if (event.type === 'progress' || event.type === 'start') return handle(event);
      return begin() + handle(event);
    },
    end() {
      const counts = usage ?? prompt;
      if (stopTold) return send('message_stop', {});
      return (
        begin() +
        close() +
        send('message_delta', {
          delta: stopFields(finish, calls.length),
          usage: encodeUsage(counts),
        }) +
        send('message_stop', {})
      );
    },
    error: (error) => encodeNamedSse('error', JSON.stringify(encodeMessageError(error, answer.requestId))),
  };
  return encoder;
}

/** Another maker's is of a call, not of a thought, and would be refused where this one's own is wanted back. */
const signatureOf = ({ signature, id }: Pick<ReasoningBlock, 'signature' | 'id'>): string =>
  id === undefined ? (signature ?? '') : '';

/** A page that an answer names, as the results of Anthropic's own search are named; other kinds have no words here. */
function citationOf(annotation: unknown): JsonObject | undefined {
  const { url_citation: cited } = objectOf(annotation);
  if (!isJsonObject(cited) || typeof cited['url'] !== 'string') return undefined;
  const { url, title } = cited;
  const titled = typeof title === 'string' && title !== '' ? title : null;
  return { type: 'web_search_result_location', url, title: titled, cited_text: '', encrypted_index: '' };
}

interface Ending {
  readonly reason: FinishReason;
  readonly stopSequence?: string | undefined;
  readonly detail?: string | undefined;
}

function stopFields({ reason, stopSequence, detail }: Ending = { reason: 'stop' }, calls: number) {
  const matched = reason === 'stop' && stopSequence !== undefined && calls === 0;
  const stopReason = matched ? 'stop_sequence' : encodeStopReason(reason, calls);
  return {
    stop_reason: stopReason,
    stop_sequence: matched ? stopSequence : null,
    ...(stopReason === 'refusal' && detail !== undefined ? { stop_details: detailsOf(detail) } : {}),
  };
}

/** Why, as Anthropic tells it: by one of its categories, or in words. */
const detailsOf = (detail: string) => {
  const named = /^(?:cyber|bio|frontier_llm|reasoning_extraction|general_harms)$/.test(detail);
  return { type: 'refusal', category: named ? detail : null, explanation: named ? null : detail };
};

function encodeStopReason(reason: FinishReason, calls: number): string {
  switch (reason) {
    case 'stop':
    case 'tool-calls':
      return calls > 0 ? 'tool_use' : 'end_turn';
    case 'length':
      return 'max_tokens';
    case 'content-filter':
    case 'refusal':
      return 'refusal';
    case 'pause':
      return 'pause_turn';
    default:
      return reason satisfies never;
  }
}

/** Anthropic counts cached tokens apart from `input_tokens`. */
function encodeUsage(usage: Usage) {
  const { promptTokens, completionTokens, cachedTokens = 0, cacheWriteTokens = 0 } = usage;
  return {
    input_tokens: Math.max(0, promptTokens - cachedTokens - cacheWriteTokens),
    output_tokens: completionTokens,
    cache_creation_input_tokens: cacheWriteTokens,
    cache_read_input_tokens: cachedTokens,
    ...(usage.reasoningTokens === undefined
      ? {}
      : { output_tokens_details: { thinking_tokens: usage.reasoningTokens } }),
    ...encodeParts(usage),
  };
}

/** A whole answer as a Message. */
export function encodeMessage(collected: Collected, answer: MessageAnswer) {
  const choice = collected.choices[0];
  const content: object[] = [];
  for (const block of choice?.reasoning ?? []) {
    content.push(
      block.redacted === undefined
        ? { type: 'thinking', thinking: block.text, signature: signatureOf(block) }
        : { type: 'redacted_thinking', data: block.redacted },
    );
  }
  const text = (choice?.text ?? '') + imageNotes(choice?.annotations) + (choice?.refusal ?? '');
  const citations = (choice?.annotations ?? []).flatMap((annotation) => citationOf(annotation) ?? []);
  if (text !== '') content.push({ type: 'text', text, ...(citations.length > 0 ? { citations } : {}) });
  const calls = choice?.toolCalls ?? [];
  for (const call of calls) {
    content.push({ type: 'tool_use', id: call.id, name: call.name, input: inputOf(call.arguments) });
  }
  return {
    id: answer.id,
    type: 'message',
    role: 'assistant',
    model: answer.model,
    content,
    ...stopFields(choice && { ...choice, reason: choice.finishReason ?? 'stop' }, calls.length),
    usage: encodeUsage(collected.usage ?? { promptTokens: 0, completionTokens: 0 }),
  };
}

/** The arguments as the object that Anthropic's clients want; text that is no JSON object stays visible. */
const inputOf = (text: string): Json => (text === '' ? {} : (parseObject(text) ?? { input: text }));
