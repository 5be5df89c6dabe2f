import { GatewayError } from '../core/errors.ts';

/** What a shutdown can end: a sink. */
export interface Abortable {
  abort(reason: GatewayError): void;
}

/** The requests under way, so that a shutdown can refuse new ones and end the last ones openly. */
export interface ActiveRequests {
  /** True once no new work is taken. */
  readonly closing: boolean;
  readonly size: number;
  add(sink: Abortable): void;
  delete(sink: Abortable): void;
  close(): void;
  /** Ends what still runs: each stream gets an error event. */
  abortAll(): void;
}

export const shuttingDown = () =>
  new GatewayError('unavailable', 'The gateway is shutting down.', { code: 'shutting_down', retryAfterMs: 1000 });

export function createActiveRequests(): ActiveRequests {
  const sinks = new Set<Abortable>();
  let closing = false;
  return {
    get closing() {
      return closing;
    },
    get size() {
      return sinks.size;
    },
    add: (sink) => void sinks.add(sink),
    delete: (sink) => void sinks.delete(sink),
    close: () => {
      closing = true;
    },
    abortAll: () => {
      for (const sink of sinks) sink.abort(shuttingDown());
    },
  };
}
