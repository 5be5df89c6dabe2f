import type { GatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';

/**
 * Writes a stream of events in one dialect. Text in, text out, so that each writer picks its own way to bytes; `wire`
 * events are no encoder's business, their bytes are sent as they are. After `end` or `fail` nothing follows.
 */
export interface StreamEncoder {
  readonly contentType: string;
  /** Sent into silences; empty where the dialect has no such thing. */
  readonly ping: string;
  /** What goes out for this event, often nothing (''). */
  push(event: CompletionEvent): string;
  /** The stream's end after its last event. */
  end(): string;
  /** The error as the stream's last words: no dialect may take it for a clean end. */
  fail(error: GatewayError): string;
}
