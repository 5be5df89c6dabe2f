import { GatewayError } from '../core/errors.ts';
import { abortError, throwIfAborted, untilAborted } from '../core/signals.ts';
import type { EngineHost } from './host.ts';

/** Several models, one engine child each, within a number and a memory budget. */
export interface EnginePool {
  /** The model's engine, for one use; what is in use is never unloaded. */
  acquire(name: string, signal: AbortSignal): Promise<Lease>;
  open(): ReadonlyMap<string, EngineHost>;
  /** Ends the model's child unless requests are in it; false then, and when it is not loaded. */
  unload(name: string): Promise<boolean>;
  close(): Promise<void>;
}

export interface Lease {
  readonly host: EngineHost;
  release(): void;
}

export interface PoolOptions {
  /** Finds and describes a model; throws when there is none, or when it can't fit at all. Starts nothing yet. */
  readonly prepare: (
    name: string,
    signal: AbortSignal,
  ) => Promise<{ readonly host: EngineHost; readonly bytes: number }>;
  readonly maxModels: number;
  readonly memoryBytes: number;
  /** Unload after so long without use; absent: never. */
  readonly keepAliveMs?: number | undefined;
  readonly now?: () => number;
}

interface Member {
  readonly name: string;
  readonly ready: Promise<{ readonly host: EngineHost; readonly bytes: number }>;
  host: EngineHost | undefined;
  bytes: number;
  users: number;
  lastUsedMs: number;
}

export function createEnginePool(options: PoolOptions): EnginePool {
  const { prepare, maxModels, memoryBytes, keepAliveMs, now = () => performance.now() } = options;
  const members = new Map<string, Member>();
  const closing = new Set<Promise<void>>();
  let released: (() => void)[] = [];
  let closed = false;
  /** A load serves all who race for it: it ends with the pool, not with the first of them. */
  const lifetime = new AbortController();

  async function unload(member: Member): Promise<void> {
    members.delete(member.name);
    const work = member.host?.close() ?? Promise.resolve();
    closing.add(work);
    await work.finally(() => closing.delete(work));
  }

  /** Unloads the least recently used idle models until `bytes` more fit; waits for one to get idle where it must. */
  async function makeRoom(newcomer: Member, bytes: number): Promise<void> {
    for (;;) {
      const others = [...members.values()].filter((member) => member !== newcomer && member.host);
      const taken = others.reduce((sum, member) => sum + member.bytes, 0);
      if (others.length < maxModels && taken + bytes <= memoryBytes) return;
      const idle = others.filter(({ users }) => users === 0).sort((a, b) => a.lastUsedMs - b.lastUsedMs)[0];
      if (idle) await unload(idle);
      else await untilReleased(lifetime.signal);
    }
  }

  function untilReleased(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(abortError(signal));
      signal.addEventListener('abort', onAbort, { once: true });
      released.push(() => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
    });
  }

  function enter(name: string): Member {
    const member: Member = {
      name,
      host: undefined,
      bytes: 0,
      users: 0,
      lastUsedMs: now(),
      ready: Promise.resolve().then(async () => {
        const prepared = await prepare(name, lifetime.signal);
        await makeRoom(member, prepared.bytes);
        member.host = prepared.host;
        member.bytes = prepared.bytes;
        return prepared;
      }),
    };
    members.set(name, member);
    // The next request tries again: the file may be there by then.
    member.ready.catch(() => {
      if (members.get(name) === member) members.delete(name);
    });
    return member;
  }

  const sweep =
    keepAliveMs === undefined
      ? undefined
      : setInterval(
          () => {
            for (const member of members.values()) {
              if (member.host && member.users === 0 && now() - member.lastUsedMs > keepAliveMs) void unload(member);
            }
          },
          Math.max(100, Math.min(keepAliveMs / 2, 30_000)),
        );
  sweep?.unref();

  return {
    async acquire(name, signal) {
      throwIfAborted(signal);
      if (closed) throw new GatewayError('model_unavailable', 'The engine is shutting down.');
      const member = members.get(name) ?? enter(name);
      member.users++;
      const release = () => {
        member.users--;
        member.lastUsedMs = now();
        const waiting = released;
        released = [];
        for (const wake of waiting) wake();
      };
      try {
        const { host } = await untilAborted(member.ready, signal);
        let done = false;
        return {
          host,
          release() {
            if (!done) release();
            done = true;
          },
        };
      } catch (error) {
        release();
        throw error;
      }
    },
    open: () => new Map([...members].flatMap(([name, { host }]) => (host ? [[name, host] as const] : []))),
    async unload(name) {
      const member = members.get(name);
      if (!member?.host || member.users > 0) return false;
      await unload(member);
      return true;
    },
    async close() {
      closed = true;
      lifetime.abort();
      clearInterval(sweep);
      await Promise.all([...members.values()].map(unload));
      await Promise.all(closing);
    },
  };
}
