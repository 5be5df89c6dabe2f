import { GatewayError } from '../core/errors.ts';
import { createRoster } from '../core/roster.ts';

/** What a shutdown can end: a sink. */
export interface Abortable {
  abort(reason: GatewayError): void;
}

/** The requests under way, so that a shutdown can refuse new ones and end the last ones openly. */
export interface ActiveRequests {
  /** True once no new work is taken. */
  readonly closing: boolean;
  readonly size: number;
  /** Gives how to tell that it has ended. */
  add(sink: Abortable): () => void;
  close(): void;
  /** Ends what still runs: each stream gets an error event. */
  abortAll(): void;
}

/** What new requests hear, and the last ones end with. */
export const shuttingDown = () =>
  new GatewayError('unavailable', 'The gateway is shutting down.', { code: 'shutting_down', retryAfterMs: 1000 });

export function createActiveRequests(): ActiveRequests {
  const sinks = createRoster<Abortable>();
  let closing = false;
  return {
    get closing() {
      return closing;
    },
    get size() {
      return sinks.size;
    },
    add: (sink) => sinks.add(sink),
    close: () => {
      closing = true;
    },
    abortAll: () => {
      for (const sink of sinks) sink.abort(shuttingDown());
    },
  };
}
