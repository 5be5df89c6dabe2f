import { unref } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { ObjectStore } from '../core/objects.ts';
import { createLogKeeper, forgetLog, type LogKeeper, type ReadableLog, readKeptLog } from './kept-log.ts';

export type { ReadableLog };

/** The maker's side: what was said is kept, so that a reader who comes back misses nothing. */
export interface StreamLog extends ReadableLog {
  /** Stops the making of it. */
  readonly signal: AbortSignal;
  append(entries: readonly string[]): void;
  /** No more will come; resolves when all is kept. */
  close(): Promise<void>;
}

export interface LogOptions {
  /** Without a reader for so long, its making is stopped. */
  readonly abandonMs?: number;
  /** How long the store keeps it. */
  readonly keptSeconds?: number;
  /** The events that end the stream if its gateway does not live to say them; `{position}` stands for theirs. */
  readonly lastWords?: readonly string[];
}

export interface StreamLogs {
  /** Nobody but its owner may follow it. */
  open(id: string, owner: string, options?: LogOptions): StreamLog;
  find(id: string, owner: string): Promise<ReadableLog | undefined>;
  forget(id: string, owner: string): Promise<void>;
  /** Ends all that is made here: the gateway shuts down. */
  abortAll(reason: GatewayError): void;
}

export interface StreamLogsOptions {
  /** Where logs outlive this process; absent: they don't. */
  readonly objects?: ObjectStore;
  /** A log that ended stays in memory for so long. */
  readonly keepMs?: number;
  readonly maxLogs?: number;
  /** Characters of one log; a stream beyond is ended with an error. */
  readonly maxLength?: number;
  /** And of all here: the oldest that have ended leave first, then the one that grows is ended. */
  readonly maxTotalLength?: number;
  /** How soon what was said is in the store, and how long a silent maker counts as alive. */
  readonly flushMs?: number;
  readonly aliveMs?: number;
}

export function createStreamLogs({
  objects,
  keepMs = 300_000,
  maxLogs = 1000,
  maxLength = 16 * 1024 * 1024,
  maxTotalLength = 256 * 1024 * 1024,
  flushMs = 300,
  aliveMs = 10_000,
}: StreamLogsOptions = {}): StreamLogs {
  const logs = new Map<string, { readonly owner: string; readonly log: StreamLog; readonly drop: () => void }>();
  let totalLength = 0;
  const makeRoom = () => {
    for (const { log, drop } of logs.values()) {
      if (logs.size <= maxLogs && totalLength <= maxTotalLength) return;
      if (log.state === 'done') drop();
    }
  };

  const open: StreamLogs['open'] = (id, owner, { abandonMs, keptSeconds = 3600, lastWords = [] } = {}) => {
    const entries: string[] = [];
    const controller = new AbortController();
    const abort = async (reason: GatewayError) => controller.abort(reason);
    const keeper: LogKeeper | undefined =
      objects && createLogKeeper(objects, { id, owner, keptSeconds, lastWords, flushMs, aliveMs, abort });
    let length = 0;
    let isHere = true;
    let done = false;
    let readers = 0;
    let wake = latch();
    let abandoned: ReturnType<typeof setTimeout> | undefined;

    const changed = () => {
      wake.resolve();
      wake = latch();
    };
    const drop = () => {
      if (!isHere) return;
      isHere = false;
      totalLength -= length;
      logs.delete(id);
    };
    const left = () => {
      if (abandonMs === undefined || done || readers > 0) return;
      abandoned = setTimeout(() => {
        controller.abort(new GatewayError('cancelled', 'Nobody came back for this stream.'));
      }, abandonMs);
    };

    const log: StreamLog = {
      id,
      signal: controller.signal,
      get state() {
        return done ? 'done' : 'open';
      },
      get length() {
        return entries.length;
      },
      append(more) {
        for (const entry of more) {
          length += entry.length;
          if (isHere) totalLength += entry.length;
          entries.push(entry);
        }
        keeper?.append(more);
        makeRoom();
        if (length > maxLength || totalLength > maxTotalLength) {
          controller.abort(new GatewayError('unavailable', 'The stream is too long to be kept for its reader.'));
        }
        changed();
      },
      async close() {
        if (done) return;
        done = true;
        clearTimeout(abandoned);
        unref(setTimeout(drop, keepMs));
        changed();
        await keeper?.close();
      },
      abort,
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
    logs.set(id, { owner, log, drop });
    left();
    makeRoom();
    return log;
  };

  return {
    open,
    async find(id, owner) {
      const here = logs.get(id);
      if (here) return here.owner === owner ? here.log : undefined;
      return objects && readKeptLog(objects, id, owner, flushMs);
    },
    async forget(id, owner) {
      const here = logs.get(id);
      if (here?.owner === owner) here.drop();
      if (objects) await forgetLog(objects, id, owner);
    },
    abortAll: (reason) => {
      for (const { log } of logs.values()) if (log.state === 'open') void log.abort(reason);
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
