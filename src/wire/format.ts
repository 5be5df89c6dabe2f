import type { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import type { JsonObject } from '../core/json.ts';
import type { ChatRequest, Dialect } from '../core/request.ts';
import type { Collected } from '../core/streams.ts';

/** A client dialect: how its bodies become requests and events become its bodies. http knows no more of a format than this. */
export interface WireFormat {
  readonly dialect: Dialect;
  /** Of streams: `text/event-stream; charset=utf-8` or `application/x-ndjson`. */
  readonly streamType: string;
  /** What a silent stream sends so that nobody hangs up; undefined where the format has no such thing. */
  readonly ping: string | undefined;
  /** Throws GatewayError invalid_request that names the field at fault. */
  decode(body: JsonObject, source: RequestSource): ChatRequest;
  encodeStream(answer: AnswerMeta): StreamEncoder;
  encodeWhole(answer: Collected, meta: AnswerMeta): object;
  /** The body of an HTTP error. */
  encodeError(error: GatewayError, requestId: string): object;
}

export interface RequestSource {
  readonly bytes?: Uint8Array;
  /** Lower-case request headers. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What an answer's envelope needs besides its events. */
export interface AnswerMeta {
  /** Our id of the answer, without prefix: formats put theirs in front (`chatcmpl-`, `msg_`, …). */
  readonly id: string;
  readonly requestId: string;
  readonly request: ChatRequest;
  /** Unix seconds. */
  readonly createdAt: number;
  /** `provider/model` that answers. */
  readonly target: string;
}

/** An event as a client is to get it: what came in one read leaves as the deltas that it came in. */
export function encodeEvent(encoder: StreamEncoder, event: CompletionEvent): string {
  if (event.type !== 'text-delta' || !event.pieces) return encoder.push(event);
  let chunks = '';
  for (const text of event.pieces) chunks += encoder.push({ type: 'text-delta', choice: event.choice, text });
  return chunks;
}

/** One answer's stream, as text to send, maybe empty. `wire` events never come here: their bytes are sent as they are. */
export interface StreamEncoder {
  push(event: CompletionEvent): string;
  /** After the last event, and only then: what marks the stream complete. */
  end(): string;
  /** Instead of `end`: the failure as the stream's last event. */
  error(error: GatewayError): string;
}
