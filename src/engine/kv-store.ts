import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { copyFile, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../core/folder.node.ts';
import { commonPrefix, type StoredPrefix } from './prefix.ts';

/** What a sequence's KV was computed from, and for whom. */
export interface KvIdentity {
  readonly tokens: readonly number[];
  /** Hash of the tenant: names never reach the file system. */
  readonly tenant: string;
  readonly adapters: string;
}

export interface KvEntry extends StoredPrefix {
  readonly path: string;
  readonly bytes: number;
  readonly tier: 'memory' | 'disk';
}

/** KV of idle conversations outside the slots: files in memory first, on disk next, bounded, least recently used out. */
export interface KvStore {
  entries(): readonly KvEntry[];
  /** Keeps a sequence, unless an entry holds as much already. `save` writes the file. */
  keep(identity: KvIdentity, save: (path: string) => Promise<number>): Promise<void>;
  /** Sets a sequence aside for one job; it is not evicted. Undefined where there is no room. */
  park(bytes: number, save: (path: string) => Promise<number>): Promise<string | undefined>;
  unpark(path: string): void;
  touch(id: string): void;
  drop(id: string): void;
  bytes(tier: 'memory' | 'disk'): number;
  /** A file name for a copy between two sequences. */
  readonly scratchFile: string;
  /** Moves what is in memory to the disk tier, hottest first, and removes the rest. */
  close(): Promise<void>;
}

export interface KvStoreOptions {
  /** Where memory files go: a memory file system. A folder of our own is made below it. */
  readonly memoryFolder: string;
  readonly memoryBytes: number;
  readonly diskFolder: string | undefined;
  readonly diskBytes: number;
  /** Identifies model and cell types: KV of one is garbage for another. */
  readonly modelKey: string;
}

/** Shorter conversations are read again as fast. */
const minTokens = 64;

interface Held extends KvEntry {
  tier: 'memory' | 'disk';
  path: string;
  usedMs: number;
  hits: number;
}

/** Opens both tiers: memory is begun anew, what an earlier process left on disk is taken over. */
export async function openKvStore(options: KvStoreOptions): Promise<KvStore> {
  const memory = join(options.memoryFolder, `tidegate-kv-${process.pid}`);
  removeLeftovers(options.memoryFolder);
  makeFolder(memory, 0o700);
  const onExit = () => rmSync(memory, { recursive: true, force: true });
  process.once('exit', onExit);
  const disk = options.diskFolder && options.diskBytes > 0 ? join(options.diskFolder, options.modelKey) : undefined;
  const held = new Map<string, Held>();
  const parked = new Map<string, number>();
  const moving = new Set<Promise<void>>();
  let clock = 0;

  if (disk) {
    makeFolder(disk, 0o700);
    for (const entry of await readDisk(disk)) held.set(entry.id, { ...entry, usedMs: ++clock });
    trimDisk();
  }

  function bytes(tier: 'memory' | 'disk'): number {
    let sum = 0;
    for (const entry of held.values()) if (entry.tier === tier) sum += entry.bytes;
    if (tier === 'memory') for (const size of parked.values()) sum += size;
    return sum;
  }
  function oldest(tier: 'memory' | 'disk'): Held | undefined {
    let found: Held | undefined;
    for (const entry of held.values()) {
      if (entry.tier === tier && (!found || entry.usedMs < found.usedMs)) found = entry;
    }
    return found;
  }
  function drop(id: string): void {
    const entry = held.get(id);
    if (!entry) return;
    held.delete(id);
    rmSync(entry.path, { force: true });
  }
  /** Makes room in memory: the least recently used goes to disk, or away. */
  function trimMemory(room: number): void {
    while (bytes('memory') + room > options.memoryBytes) {
      const entry = oldest('memory');
      if (!entry) return;
      if (!disk || entry.bytes > options.diskBytes) drop(entry.id);
      else moveToDisk(entry, disk);
    }
  }
  function trimDisk(): void {
    while (bytes('disk') > options.diskBytes) {
      const entry = oldest('disk');
      if (!entry) return;
      drop(entry.id);
    }
  }
  function moveToDisk(entry: Held, folder: string): void {
    const from = entry.path;
    const to = join(folder, fileName(entry));
    entry.tier = 'disk'; // counted there from now on; read from memory until the copy is whole
    const work = (async () => {
      try {
        await copyFile(from, `${to}.part`);
        await rename(`${to}.part`, to);
        if (held.get(entry.id) === entry) entry.path = to;
        else await rm(to, { force: true });
        await rm(from, { force: true });
        trimDisk();
      } catch {
        drop(entry.id); // a full disk costs the entry, nothing else
        await rm(`${to}.part`, { force: true }).catch(() => {});
      }
    })();
    moving.add(work);
    void work.finally(() => moving.delete(work));
  }

  return {
    entries: () => [...held.values()],
    async keep({ tokens, tenant, adapters }, save) {
      if (tokens.length < minTokens || options.memoryBytes <= 0) return;
      for (const entry of [...held.values()]) {
        if (entry.tenant !== tenant || entry.adapters !== adapters) continue;
        const shared = commonPrefix(entry.tokens, tokens);
        if (shared === tokens.length) {
          entry.usedMs = ++clock;
          return;
        }
        if (shared === entry.tokens.length) drop(entry.id); // a beginning of what comes now
      }
      const id = randomUUID();
      const path = join(memory, id);
      try {
        await save(path);
        const { size } = await stat(path);
        if (size > options.memoryBytes) throw new Error('larger than the memory tier');
        trimMemory(size);
        held.set(id, {
          id,
          tokens: Int32Array.from(tokens),
          tenant,
          adapters,
          path,
          bytes: size,
          tier: 'memory',
          usedMs: ++clock,
          hits: 0,
        });
      } catch {
        rmSync(path, { force: true });
      }
    },
    async park(estimate, save) {
      trimMemory(estimate);
      if (bytes('memory') + estimate > options.memoryBytes) return undefined;
      const path = join(memory, `parked-${randomUUID()}`);
      try {
        await save(path);
        parked.set(path, statSync(path).size);
        return path;
      } catch {
        rmSync(path, { force: true });
        return undefined;
      }
    },
    unpark(path) {
      parked.delete(path);
      rmSync(path, { force: true });
    },
    touch(id) {
      const entry = held.get(id);
      if (!entry) return;
      entry.usedMs = ++clock;
      entry.hits++;
    },
    drop,
    bytes,
    scratchFile: join(memory, 'copy'),
    async close() {
      if (disk) {
        const hottest = [...held.values()]
          .filter((entry) => entry.tier === 'memory')
          .sort((a, b) => b.hits - a.hits || b.usedMs - a.usedMs);
        let room = options.diskBytes;
        for (const entry of hottest) {
          if (entry.bytes > room) continue;
          room -= entry.bytes;
          moveToDisk(entry, disk);
        }
        await Promise.all(moving);
      }
      process.off('exit', onExit);
      onExit();
    },
  };
}

/** The first hex digits of a text’s SHA-256: names of files and folders. */
export const hashOf = (text: string, length = 16): string =>
  createHash('sha256').update(text).digest('hex').slice(0, length);

function fileName({ id, tenant, adapters }: Held): string {
  // A scale has a dot, which parts the name's fields; decoding knows it like any other escape.
  return `${tenant}.${encodeURIComponent(adapters).replaceAll('.', '%2E') || '-'}.${id}.kv`;
}

/** The disk tier's index is the files themselves: names tell the owner, headers the tokens. Damaged ones are removed. */
async function readDisk(folder: string): Promise<Omit<Held, 'usedMs'>[]> {
  const found: (Omit<Held, 'usedMs'> & { modifiedMs: number })[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const [tenant, adapters, id, kind, ...more] = name.split('.');
    const isWhole = kind === 'kv' && more.length === 0;
    const tokens = isWhole ? await readTokens(path).catch(() => undefined) : undefined;
    if (!tenant || !adapters || !id || !tokens) {
      await rm(path, { force: true }).catch(() => {});
      continue;
    }
    const { size, mtimeMs } = await stat(path);
    found.push({
      id,
      tokens,
      tenant,
      adapters: adapters === '-' ? '' : decodeURIComponent(adapters),
      path,
      bytes: size,
      tier: 'disk',
      hits: 0,
      modifiedMs: mtimeMs,
    });
  }
  return found.sort((a, b) => a.modifiedMs - b.modifiedMs);
}

/** llama.cpp's sequence state begins with magic `ggsq`, a version, the number of tokens, and the tokens (all 32 bit). */
async function readTokens(path: string): Promise<Int32Array | undefined> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(12);
    await file.read(head, 0, 12, 0);
    if (head.readUInt32LE(0) !== 0x67677371) return undefined;
    const count = head.readUInt32LE(8);
    const { size } = await file.stat();
    if (count === 0 || 12 + count * 4 > size) return undefined;
    const bytes = Buffer.alloc(count * 4);
    await file.read(bytes, 0, bytes.length, 12);
    return new Int32Array(bytes.buffer, bytes.byteOffset, count);
  } finally {
    await file.close();
  }
}

/** Memory files of children that were killed. */
function removeLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = /^tidegate-kv-(\d+)$/.exec(name)?.[1];
    if (pid && !isAlive(Number(pid))) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
