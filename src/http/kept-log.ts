import { nowSeconds } from '../core/clock.ts';
import { GatewayError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { ObjectStore } from '../core/objects.ts';
import { sleep } from '../core/signals.ts';

/** What a reader sees of a stream that outlives its readers. Positions count the entries from 0. */
export interface ReadableLog {
  readonly id: string;
  /** `lost`: who made it is gone, and it ends where that happened. */
  readonly state: 'open' | 'done' | 'lost';
  /** Entries so far. */
  readonly length: number;
  /** What follows position `after` (-1: everything), now and as it comes; ends with the log. */
  follow(after: number, signal: AbortSignal): AsyncIterable<string>;
  /** Asks its maker to stop, in whichever gateway that is. */
  abort(reason: GatewayError): Promise<void>;
}

/**
 * Stream logs in the object store, so that they outlive their gateway: a `stream` says who made it and whether it still
 * does, `stream-part`s hold the entries, named by the position of their first one, and a `stream` called `<id>/abort` is
 * another gateway's wish that it end.
 */
export interface LogKeeper {
  append(entries: readonly string[]): void;
  close(): Promise<void>;
}

export interface LogFacts {
  readonly id: string;
  readonly owner: string;
  readonly keptSeconds: number;
  readonly lastWords: readonly string[];
  readonly flushMs: number;
  readonly aliveMs: number;
  abort(reason: GatewayError): Promise<void>;
}

const partPrefix = (id: string) => `${id}:`;
const partId = (id: string, position: number) => partPrefix(id) + String(position).padStart(9, '0');
const abortId = (id: string) => `${id}/abort`;

/** Writes what comes in a little later and together; a store that is away for a moment gets it afterwards. */
export function createLogKeeper(objects: ObjectStore, facts: LogFacts): LogKeeper {
  const { id, owner, keptSeconds, lastWords, flushMs, aliveMs, abort } = facts;
  const stamp = () => ({ owner, createdAt: nowSeconds(), expiresAt: nowSeconds() + keptSeconds });
  let waiting: string[] = [];
  let written = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let writing: Promise<void> = Promise.resolve();

  const flush = async () => {
    const entries = waiting;
    if (entries.length === 0) return;
    waiting = [];
    try {
      await objects.put({ kind: 'stream-part', id: partId(id, written), ...stamp(), body: { entries } });
      written += entries.length;
    } catch (error) {
      waiting = [...entries, ...waiting];
      throw error;
    }
  };
  const tellAlive = (done: boolean) => {
    const body: JsonObject = { done, length: written, aliveUntilMs: Date.now() + aliveMs, lastWords };
    return objects.put({ kind: 'stream', id, ...stamp(), body });
  };
  /** One write after the other. */
  const next = (work: () => Promise<void>): Promise<void> => {
    writing = writing.then(work).catch(() => {}); // tried again with the next
    return writing;
  };
  const beat = setInterval(() => {
    void next(async () => {
      await tellAlive(false);
      if (await objects.get('stream', abortId(id), owner)) {
        await abort(new GatewayError('cancelled', 'It was cancelled through another gateway.'));
      }
    });
  }, aliveMs / 4);
  void next(() => tellAlive(false));

  return {
    append(entries) {
      waiting.push(...entries);
      timer ??= setTimeout(() => {
        timer = undefined;
        void next(flush);
      }, flushMs);
    },
    async close() {
      clearInterval(beat);
      clearTimeout(timer);
      await next(flush);
      await next(() => tellAlive(true));
    },
  };
}

/** A log that this process does not make: one of another gateway, or of this one before it was started again. */
export async function readKeptLog(
  objects: ObjectStore,
  id: string,
  owner: string,
  pollMs: number,
): Promise<ReadableLog | undefined> {
  const read = async () => {
    const body = (await objects.get('stream', id, owner))?.body;
    if (!body) return undefined;
    const { done, length, aliveUntilMs, lastWords } = body;
    const state = done === true ? 'done' : Number(aliveUntilMs) > Date.now() ? 'open' : 'lost';
    return { state, length: Number(length), lastWords: lastWords as readonly string[] } as const; // written above
  };
  const found = await read();
  if (!found) return undefined;

  async function* follow(after: number, signal: AbortSignal): AsyncGenerator<string> {
    let lastPart: string | undefined;
    let position = 0;
    while (!signal.aborted) {
      const now = await read(); // before the parts, so that what ended is read to its end
      const page = { limit: 50, order: 'asc', idPrefix: partPrefix(id), ...(lastPart && { after: lastPart }) } as const;
      const { items, hasMore } = await objects.list('stream-part', owner, page);
      for (const part of items) {
        lastPart = part.id;
        for (const entry of part.body['entries'] as readonly string[]) if (position++ > after) yield entry; // written above
      }
      if (hasMore) continue;
      if (now?.state === 'open') await sleep(pollMs, signal).catch(() => {});
      else {
        // Its reader may have seen more than what was written down before the end.
        position = Math.max(position, after + 1);
        if (now?.state === 'lost') {
          for (const words of now.lastWords) yield words.replaceAll('{position}', String(position++));
        }
        return;
      }
    }
  }

  return {
    id,
    state: found.state,
    length: found.length,
    follow,
    async abort() {
      const wish = { kind: 'stream', id: abortId(id), owner, createdAt: nowSeconds(), body: {} } as const;
      await objects.put({ ...wish, expiresAt: nowSeconds() + 3600 });
    },
  };
}

/** Deletes a log with all its parts. */
export async function forgetLog(objects: ObjectStore, id: string, owner: string): Promise<void> {
  const page = { limit: 100_000, order: 'asc', idPrefix: partPrefix(id) } as const;
  for (const part of (await objects.list('stream-part', owner, page)).items) {
    await objects.delete('stream-part', part.id, owner);
  }
  await objects.delete('stream', abortId(id), owner);
  await objects.delete('stream', id, owner);
}
