import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent, FinishReason, Usage } from '../../src/core/event.ts';
import { type Json, type JsonObject, objectOf, stringOf } from '../../src/core/json.ts';
import { streamError } from '../../src/wire/upstream-error.ts';
import { usageBesideCache } from '../shared/cached-usage.ts';
import { parseEvent } from '../shared/pass-through.ts';
import type { StreamObserver } from '../shared/see-events.ts';

/** Reads a Messages stream; one per answer (https://docs.anthropic.com/en/docs/build-with-claude/streaming). */
export interface MessagesDecoder {
  push(event: JsonObject): CompletionEvent[];
  /** Throws `upstream_failed` when the message never stopped. */
  end(): CompletionEvent[];
}

interface Block {
  readonly type: string;
  /** Number of the tool call, for tool_use. */
  readonly call: number;
  /** A tool's input that came whole. */
  readonly input: Json | undefined;
  signature: string;
  silent: boolean;
}

export function createMessagesDecoder(): MessagesDecoder {
  const blocks = new Map<number, Block>();
  let usage: JsonObject = {};
  let calls = 0;
  let finished = false;

  const startBlock = (index: number, raw: JsonObject): CompletionEvent[] => {
    const type = stringOf(raw['type']) ?? '';
    const block = { type, call: calls, input: raw['input'], signature: '', silent: true };
    blocks.set(index, block);
    switch (type) {
      case 'tool_use': {
        calls++;
        const [id, name] = [stringOf(raw['id']) ?? `toolu_${index}`, stringOf(raw['name']) ?? ''];
        return [{ type: 'tool-call-start', choice: 0, index: block.call, id, name, kind: 'function' }];
      }
      case 'redacted_thinking':
        return [{ type: 'reasoning-end', choice: 0, redacted: stringOf(raw['data']) ?? '' }];
      case 'text':
        return raw['text'] ? [{ type: 'text-delta', choice: 0, text: String(raw['text']) }] : [];
      default:
        return [];
    }
  };

  const deltaOf = (block: Block | undefined, delta: JsonObject): CompletionEvent[] => {
    switch (delta['type']) {
      case 'text_delta':
        return [{ type: 'text-delta', choice: 0, text: stringOf(delta['text']) ?? '' }];
      case 'thinking_delta':
        return [{ type: 'reasoning-delta', choice: 0, text: stringOf(delta['thinking']) ?? '' }];
      case 'signature_delta':
        if (block) block.signature += stringOf(delta['signature']) ?? '';
        return [];
      case 'input_json_delta': {
        const json = stringOf(delta['partial_json']) ?? '';
        if (block?.type !== 'tool_use' || json === '') return [];
        block.silent = false;
        return [{ type: 'tool-call-delta', choice: 0, index: block.call, arguments: json }];
      }
      case 'citations_delta':
        return [{ type: 'annotation', choice: 0, annotation: delta['citation'] ?? null }];
      default:
        return [];
    }
  };

  const stopBlock = (block: Block | undefined): CompletionEvent[] => {
    if (block?.type === 'thinking') {
      return [{ type: 'reasoning-end', choice: 0, ...(block.signature === '' ? {} : { signature: block.signature }) }];
    }
    if (block?.type !== 'tool_use' || !block.silent) return [];
    return [{ type: 'tool-call-delta', choice: 0, index: block.call, arguments: JSON.stringify(block.input ?? {}) }];
  };

  return {
    push(event) {
      const index = typeof event['index'] === 'number' ? event['index'] : 0;
      switch (event['type']) {
        case 'message_start': {
          const message = objectOf(event['message']);
          usage = objectOf(message['usage']);
          const [id, model] = [stringOf(message['id']), stringOf(message['model'])];
          const { completionTokens: _, ...prompt } = usageOf(usage) ?? { promptTokens: 0, completionTokens: 0 };
          return [
            {
              type: 'start',
              ...(id ? { id } : {}),
              ...(model ? { model } : {}),
              ...(prompt.promptTokens > 0 ? { prompt } : {}),
            },
          ];
        }
        case 'content_block_start':
          return startBlock(index, objectOf(event['content_block']));
        case 'content_block_delta':
          return deltaOf(blocks.get(index), objectOf(event['delta']));
        case 'content_block_stop':
          return stopBlock(blocks.get(index));
        case 'message_delta': {
          usage = { ...usage, ...objectOf(event['usage']) };
          const { stop_reason: reason, stop_sequence: stop, stop_details: why } = objectOf(event['delta']);
          if (typeof reason !== 'string' || finished) return [];
          finished = true;
          const stopSequence = stringOf(stop);
          const { category, explanation } = objectOf(why);
          const detail = stringOf(explanation) ?? stringOf(category);
          const more = { ...(stopSequence ? { stopSequence } : {}), ...(detail ? { detail } : {}) };
          return [{ type: 'finish', choice: 0, reason: finishOf(reason), ...more }];
        }
        case 'error':
          throw streamError(event);
        default: // ping, message_stop and whatever comes next year
          return [];
      }
    },
    end() {
      if (!finished) throw new GatewayError('upstream_failed', 'The upstream ended its answer without a stop reason.');
      const counted = usageOf(usage);
      return counted ? [{ type: 'usage', usage: counted }] : [];
    },
  };
}

/** A whole message as the events that a stream of it would have given. */
export function decodeMessage(body: unknown): CompletionEvent[] {
  const message = objectOf(body);
  if (message['type'] === 'error') throw streamError(message);
  const decoder = createMessagesDecoder();
  const content = Array.isArray(message['content']) ? (message['content'] as readonly Json[]) : []; // by isArray
  const events = decoder.push({ type: 'message_start', message });
  for (const [index, block] of content.map(objectOf).entries()) {
    const thinking = block['type'] === 'thinking';
    events.push(...decoder.push({ type: 'content_block_start', index, content_block: block }));
    if (thinking) {
      events.push(
        ...decoder.push({ type: 'content_block_delta', index, delta: { ...block, type: 'thinking_delta' } }),
        ...decoder.push({ type: 'content_block_delta', index, delta: { ...block, type: 'signature_delta' } }),
      );
    }
    events.push(...decoder.push({ type: 'content_block_stop', index }));
  }
  events.push(
    ...decoder.push({ type: 'message_delta', delta: message, usage: message['usage'] ?? {} }),
    ...decoder.end(),
  );
  return events;
}

/** Watches a Messages stream that passes by. */
export function observeMessages(): StreamObserver {
  const decoder = createMessagesDecoder();
  let finished = false;
  let stopped = false;
  return {
    notable: indexOfOther,
    opens: (text) => text.replaceAll(head, '').trim() === '',
    see(event) {
      if (event.data === '[DONE]') return { drop: true };
      const parsed = parseEvent(event);
      const events = decoder.push(parsed).filter(({ type }) => type === 'start' || type === 'finish');
      finished ||= events.some(({ type }) => type === 'finish');
      if (parsed['type'] !== 'message_stop') return { events };
      stopped = true;
      return { events: [...events, ...decoder.end()], last: true };
    },
    whole: () => finished,
    end() {
      // Without message_stop the SDKs wait or fail: it is sent for an upstream that told its stop reason.
      const events = stopped ? [] : decoder.end();
      return { missing: stopped ? '' : 'event: message_stop\ndata: {"type":"message_stop"}\n\n', events };
    },
  };
}

/** What comes before the first token: an empty block too. */
const head = /^event: (message_start|ping|content_block_start(?=\ndata: \{.*"(text|thinking)": ?""))\ndata: .*$/gm;

/** The first event that is no content delta: those alone carry nothing to record. */
function indexOfOther(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.startsWith('event: content_block_delta', at)) {
    at = text.indexOf('\n\n', at) + 2;
    if (at < 2) return from;
  }
  return at < text.length ? at : -1;
}

function finishOf(reason: string): FinishReason {
  switch (reason) {
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return 'length';
    case 'tool_use':
      return 'tool-calls';
    case 'refusal':
      return 'refusal';
    case 'pause_turn':
      return 'pause';
    default: // end_turn, stop_sequence
      return 'stop';
  }
}

function usageOf(raw: JsonObject): Usage | undefined {
  const usage = usageBesideCache(raw, {
    input: 'input_tokens',
    output: 'output_tokens',
    cacheRead: 'cache_read_input_tokens',
    cacheWritten: 'cache_creation_input_tokens',
  });
  const thinking = objectOf(raw['output_tokens_details'])['thinking_tokens'];
  return usage && typeof thinking === 'number' ? { ...usage, reasoningTokens: thinking } : usage;
}
