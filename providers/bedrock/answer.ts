import { EventStreamCodec } from '@smithy/eventstream-codec';
import { GatewayError } from '../../src/core/errors.ts';
import type { CompletionEvent, FinishReason, Usage } from '../../src/core/event.ts';
import { isJsonObject, type JsonObject, objectOf, stringOf } from '../../src/core/json.ts';
import { concatBytes } from '../../src/core/streams.ts';
import { streamError } from '../../src/wire/upstream-error.ts';
import { usageBesideCache } from '../shared/cached-usage.ts';

const maxMessageBytes = 16 * 1024 * 1024;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const codec = new EventStreamCodec(
  (bytes) => decoder.decode(bytes),
  (text) => encoder.encode(text),
);

export interface ConverseEvent {
  readonly type: string;
  readonly body: JsonObject;
}

/** The messages of an AWS event stream, cut anywhere; their checksums are verified. Exceptions are thrown. */
export async function* decodeEventStream(body: AsyncIterable<Uint8Array>): AsyncGenerator<ConverseEvent> {
  let held: Uint8Array = new Uint8Array();
  for await (const chunk of body) {
    held = held.length === 0 ? chunk : concatBytes([held, chunk]);
    while (held.length >= 4) {
      const length = new DataView(held.buffer, held.byteOffset, held.byteLength).getUint32(0);
      if (length > maxMessageBytes || length < 16) throw broken();
      if (held.length < length) break;
      yield readMessage(held.subarray(0, length));
      held = held.subarray(length);
    }
  }
  if (held.length > 0) throw broken();
}

const broken = (cause?: unknown) =>
  new GatewayError('upstream_failed', 'The upstream’s event stream is broken.', { cause });

function readMessage(bytes: Uint8Array): ConverseEvent {
  let message: ReturnType<EventStreamCodec['decode']>;
  let body: unknown;
  try {
    message = codec.decode(bytes);
    body = JSON.parse(decoder.decode(message.body));
  } catch (error) {
    throw broken(error);
  }
  const header = (name: string) => String(message.headers[name]?.value ?? '');
  const exception = header(':exception-type') || header(':error-code');
  if (exception !== '') throw exceptionError(exception, isJsonObject(body) ? body : {});
  return { type: header(':event-type'), body: isJsonObject(body) ? body : {} };
}

function exceptionError(type: string, body: JsonObject): GatewayError {
  const statuses: Readonly<Record<string, number>> = {
    throttlingException: 429,
    validationException: 400,
    serviceUnavailableException: 503,
    accessDeniedException: 403,
  };
  return streamError({ code: statuses[type] ?? 500, message: body['message'] });
}

/** Reads the events of ConverseStream, the answer to a request with these stops; one per answer. `end` throws when the message never stopped. */
export function createConverseDecoder(stop: readonly string[] = []) {
  const tools = new Map<number, { readonly call: number; silent: boolean }>();
  let usage: Usage | undefined;
  let finished = false;
  let calls = 0;

  return {
    push({ type, body }: ConverseEvent): CompletionEvent[] {
      const block = typeof body['contentBlockIndex'] === 'number' ? body['contentBlockIndex'] : 0;
      switch (type) {
        case 'messageStart':
          return [{ type: 'start' }];
        case 'contentBlockStart': {
          const tool = objectOf(objectOf(body['start'])['toolUse']);
          if (typeof tool['name'] !== 'string') return [];
          tools.set(block, { call: calls, silent: true });
          const id = stringOf(tool['toolUseId']) ?? `tooluse_${block}`;
          return [{ type: 'tool-call-start', choice: 0, index: calls++, id, name: tool['name'], kind: 'function' }];
        }
        case 'contentBlockDelta':
          return deltaOf(tools.get(block), objectOf(body['delta']));
        case 'contentBlockStop': {
          const tool = tools.get(block);
          return tool?.silent ? [{ type: 'tool-call-delta', choice: 0, index: tool.call, arguments: '{}' }] : [];
        }
        case 'messageStop':
          finished = true;
          return [
            { type: 'finish', choice: 0, ...finishOf(stringOf(body['stopReason']) ?? ''), ...matched(body, stop) },
          ];
        case 'metadata':
          usage = usageOf(objectOf(body['usage'])) ?? usage;
          return [];
        default:
          return [];
      }
    },
    end(): CompletionEvent[] {
      if (!finished) throw new GatewayError('upstream_failed', 'The upstream ended its answer without a stop reason.');
      return usage ? [{ type: 'usage', usage }] : [];
    },
  };
}

function deltaOf(tool: { readonly call: number; silent: boolean } | undefined, delta: JsonObject): CompletionEvent[] {
  const text = stringOf(delta['text']);
  if (text) return [{ type: 'text-delta', choice: 0, text }];
  const input = stringOf(objectOf(delta['toolUse'])['input']);
  if (tool && input) {
    tool.silent = false;
    return [{ type: 'tool-call-delta', choice: 0, index: tool.call, arguments: input }];
  }
  const reasoning = objectOf(delta['reasoningContent']);
  const [thought, signature, redacted] = ['text', 'signature', 'redactedContent'].map((name) =>
    stringOf(reasoning[name]),
  );
  if (thought) return [{ type: 'reasoning-delta', choice: 0, text: thought }];
  if (signature) return [{ type: 'reasoning-end', choice: 0, signature }];
  return redacted ? [{ type: 'reasoning-end', choice: 0, redacted }] : [];
}

/** Which of the stops it was, where the model tells or there was but one. */
function matched({ stopReason, additionalModelResponseFields }: JsonObject, stop: readonly string[]) {
  if (stopReason !== 'stop_sequence') return {};
  const fields = objectOf(additionalModelResponseFields);
  const stopSequence =
    stringOf(fields['stop_sequence']) ??
    stringOf(objectOf(fields['delta'])['stop_sequence']) ??
    (stop.length === 1 ? stop[0] : undefined);
  return stopSequence === undefined ? {} : { stopSequence };
}

function finishOf(reason: string): { readonly reason: FinishReason; readonly detail?: string } {
  switch (reason) {
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return { reason: 'length' };
    case 'tool_use':
      return { reason: 'tool-calls' };
    case 'guardrail_intervened':
    case 'content_filtered':
      return { reason: 'content-filter', detail: `The upstream stopped the answer (${reason}).` };
    case 'malformed_model_output':
    case 'malformed_tool_use':
      throw new GatewayError('upstream_failed', `The upstream broke its answer off (${reason}).`);
    default: // end_turn, stop_sequence
      return { reason: 'stop' };
  }
}

const usageOf = (raw: JsonObject): Usage | undefined =>
  usageBesideCache(raw, {
    input: 'inputTokens',
    output: 'outputTokens',
    cacheRead: 'cacheReadInputTokens',
    cacheWritten: 'cacheWriteInputTokens',
  });
