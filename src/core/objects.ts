import type { JsonObject } from './json.ts';

/**
 * What the gateway keeps for its callers between requests: stored responses and completions, conversations, files,
 * batches. Every object has an owner, and nobody else ever sees that it exists.
 */
export interface ObjectStore {
  /** Inserts, or replaces the object of the same kind, id and owner. */
  put(object: StoredObject): Promise<void>;
  get(kind: ObjectKind, id: string, owner: string): Promise<StoredObject | undefined>;
  /** False where there was none. */
  delete(kind: ObjectKind, id: string, owner: string): Promise<boolean>;
  /** Without their bytes: a few hundred files may be more than the memory there is. */
  list(
    kind: ObjectKind,
    owner: string,
    page: ObjectPage,
  ): Promise<{ readonly items: readonly StoredObject[]; readonly hasMore: boolean }>;
  /** Objects of every owner, for work that goes on by itself (batches after a restart). */
  all(kind: ObjectKind): Promise<readonly StoredObject[]>;
  /**
   * Takes, or prolongs, the sole right to some work for so long from now: true for its holder, false while somebody
   * else's still runs. Gateways on one store need clocks that agree to within a few seconds.
   */
  lease(work: string, holder: string, ms: number): Promise<boolean>;
  /** Gives it back, if it is still the holder's. */
  release(work: string, holder: string): Promise<void>;
}

/**
 * `batch-line` is the result of one line of a batch (its id is `<batch>:<line>`), `batch-progress` counts them; `stream`
 * and `stream-part` are what detached answers have said; `quality` is the gateway's own: how answers were distributed.
 */
export type ObjectKind =
  | 'response'
  | 'conversation'
  | 'chat-completion'
  | 'file'
  | 'batch'
  | 'batch-line'
  | 'batch-progress'
  | 'stream'
  | 'stream-part'
  | 'quality';

export interface StoredObject {
  readonly kind: ObjectKind;
  readonly id: string;
  /** The caller's id. */
  readonly owner: string;
  /** Unix seconds. */
  readonly createdAt: number;
  /** Unix seconds; afterwards it is gone. */
  readonly expiresAt?: number;
  readonly body: JsonObject;
  /** Content of files. */
  readonly bytes?: Uint8Array;
}

export interface ObjectPage {
  /** Id of the last object of the page before. */
  readonly after?: string;
  readonly limit: number;
  /** Only objects whose id begins so. */
  readonly idPrefix?: string;
  /** By time of creation. */
  readonly order: 'asc' | 'desc';
  /** Objects it is false for are left out. */
  readonly where?: (object: StoredObject) => boolean;
}

/** Keeps objects in memory, at most `maxBytes` of them: the oldest go first. For tests and gateways without a ledger. */
export function memoryObjects({ maxBytes = 256 * 1024 * 1024, now = () => Date.now() } = {}): ObjectStore {
  const objects = new Map<string, { readonly object: StoredObject; readonly size: number }>();
  const leases = new Map<string, { readonly holder: string; readonly endsMs: number }>();
  let held = 0;
  const keyOf = (kind: ObjectKind, id: string, owner: string) => `${kind}\n${owner}\n${id}`;
  const drop = (key: string): boolean => {
    const entry = objects.get(key);
    if (!entry) return false;
    held -= entry.size;
    return objects.delete(key);
  };
  const alive = (object: StoredObject) => object.expiresAt === undefined || object.expiresAt * 1000 > now();
  const live = (): StoredObject[] => [...objects.values()].map(({ object }) => object).filter(alive);
  return {
    async put(object) {
      const key = keyOf(object.kind, object.id, object.owner);
      const known = objects.has(key);
      const size = JSON.stringify(object.body).length * 2 + (object.bytes?.length ?? 0);
      if (known) {
        held += size - (objects.get(key)?.size ?? 0); // keeps its place in the order of creation
      } else held += size;
      objects.set(key, { object, size });
      for (const oldest of objects.keys()) {
        if (held <= maxBytes || oldest === key) break;
        drop(oldest);
      }
    },
    async get(kind, id, owner) {
      const object = objects.get(keyOf(kind, id, owner))?.object;
      return object && alive(object) ? object : undefined;
    },
    delete: async (kind, id, owner) => drop(keyOf(kind, id, owner)),
    async list(kind, owner, { after, limit, order, idPrefix = '', where = () => true }) {
      const found = live().filter(
        (object) => object.kind === kind && object.owner === owner && object.id.startsWith(idPrefix) && where(object),
      );
      if (order === 'desc') found.reverse();
      const start = after === undefined ? 0 : found.findIndex((object) => object.id === after) + 1;
      return { items: found.slice(start, start + limit), hasMore: found.length > start + limit };
    },
    all: async (kind) => live().filter((object) => object.kind === kind),
    async lease(work, holder, ms) {
      const held = leases.get(work);
      if (held && held.holder !== holder && held.endsMs > now()) return false;
      leases.set(work, { holder, endsMs: now() + ms });
      return true;
    },
    async release(work, holder) {
      if (leases.get(work)?.holder === holder) leases.delete(work);
    },
  };
}
