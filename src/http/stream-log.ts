import { GatewayError } from '../core/errors.ts';

/**
 * A stream that lives longer than its reader: what was said is kept, so that a reader who comes back misses nothing.
 * Positions count the entries from 0.
 */
export interface StreamLog {
  readonly id: string;
  /** Nobody but this caller may follow. */
  readonly owner: string;
  /** Stops the making of it. */
  readonly signal: AbortSignal;
  readonly done: boolean;
  append(entries: readonly string[]): void;
  /** No more will come. */
  close(): void;
  abort(reason: GatewayError): void;
  /** What follows position `after` (-1: everything), now and as it comes; ends with the log. */
  follow(after: number, signal: AbortSignal): AsyncIterable<string>;
}

export interface StreamLogs {
  open(id: string, owner: string, options?: { readonly abandonMs?: number }): StreamLog;
  find(id: string, owner: string): StreamLog | undefined;
  /** Ends all that still runs: the gateway shuts down. */
  abortAll(reason: GatewayError): void;
}

export interface StreamLogLimits {
  /** A log that ended stays for so long. */
  readonly keepMs?: number;
  readonly maxLogs?: number;
  /** Characters of one log; a stream beyond is ended with an error. */
  readonly maxLength?: number;
}

export function createStreamLogs({
  keepMs = 300_000,
  maxLogs = 1000,
  maxLength = 16 * 1024 * 1024,
}: StreamLogLimits = {}): StreamLogs {
  const logs = new Map<string, StreamLog>();

  const open: StreamLogs['open'] = (id, owner, { abandonMs } = {}) => {
    const entries: string[] = [];
    const controller = new AbortController();
    let length = 0;
    let done = false;
    let readers = 0;
    let wake = latch();
    let abandoned: ReturnType<typeof setTimeout> | undefined;

    const changed = () => {
      wake.resolve();
      wake = latch();
    };
    const left = () => {
      if (abandonMs === undefined || done || readers > 0) return;
      abandoned = setTimeout(() => {
        controller.abort(new GatewayError('cancelled', 'Nobody came back for this stream.'));
      }, abandonMs);
    };

    const log: StreamLog = {
      id,
      owner,
      signal: controller.signal,
      get done() {
        return done;
      },
      append(more) {
        for (const entry of more) {
          length += entry.length;
          entries.push(entry);
        }
        if (length > maxLength) {
          controller.abort(new GatewayError('unavailable', 'The stream is too long to be kept for its reader.'));
        }
        changed();
      },
      close() {
        if (done) return;
        done = true;
        clearTimeout(abandoned);
        const timer: ReturnType<typeof setTimeout> | { unref?: () => void } = setTimeout(() => logs.delete(id), keepMs);
        if (typeof timer === 'object') timer.unref?.(); // Node only: must not keep the process alive
        changed();
      },
      abort: (reason) => controller.abort(reason),
      async *follow(after, signal) {
        readers++;
        clearTimeout(abandoned);
        const gone = latch();
        const onAbort = () => gone.resolve();
        signal.addEventListener('abort', onAbort, { once: true });
        try {
          for (let next = after + 1; !signal.aborted; ) {
            const entry = entries[next];
            if (entry !== undefined) {
              next++;
              yield entry;
            } else if (done) return;
            else await Promise.race([wake.promise, gone.promise]);
          }
        } finally {
          signal.removeEventListener('abort', onAbort);
          readers--;
          left();
        }
      },
    };
    logs.set(id, log);
    left();
    for (const [oldest, candidate] of logs) {
      if (logs.size <= maxLogs) break;
      if (candidate.done) logs.delete(oldest);
    }
    return log;
  };

  return {
    open,
    find: (id, owner) => {
      const log = logs.get(id);
      return log?.owner === owner ? log : undefined;
    },
    abortAll: (reason) => {
      for (const log of logs.values()) if (!log.done) log.abort(reason);
    },
  };
}

/** The events of a piece of SSE text, each with its blank line. */
export function splitEvents(text: string): string[] {
  return text.split('\n\n').flatMap((event) => (event === '' ? [] : [`${event}\n\n`]));
}

function latch(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
