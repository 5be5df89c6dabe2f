import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type KvStore, openKvStore } from '../../src/engine/kv-store.ts';
import { scratch } from '../ledger/databases.ts';

let folder: ReturnType<typeof scratch>;
let store: KvStore | undefined;
beforeEach(() => {
  folder = scratch();
  mkdirSync(join(folder.path, 'memory'));
});
afterEach(async () => {
  await store?.close();
  folder.remove();
});

/** Each file below has so many bytes. */
const size = 1000;
const open = async (memory: number, disk = 0, modelKey = 'model') => {
  store = await openKvStore({
    memoryFolder: join(folder.path, 'memory'),
    memoryBytes: memory * size,
    diskFolder: join(folder.path, 'disk'),
    diskBytes: disk * size,
    modelKey,
  });
  return store;
};
/** Tokens of a conversation that nobody else has. */
const tokensOf = (name: number, length = 100) => Array.from({ length }, (_, index) => name * 1000 + index);
/** A file as llama.cpp begins it. */
const saves = (tokens: readonly number[]) => async (path: string) => {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32LE(0x67677371, 0);
  bytes.writeUInt32LE(2, 4);
  bytes.writeUInt32LE(tokens.length, 8);
  for (const [index, token] of tokens.entries()) bytes.writeInt32LE(token, 12 + index * 4);
  writeFileSync(path, bytes);
  return size;
};
const keep = (kept: KvStore, name: number, { length = 100, tenant = 'a', adapters = '' } = {}) => {
  const tokens = tokensOf(name, length);
  return kept.keep({ tokens, tenant, adapters }, saves(tokens));
};
const names = ({ entries }: KvStore, tier?: 'memory' | 'disk') =>
  entries()
    .filter((entry) => !tier || entry.tier === tier)
    .map(({ tokens }) => Math.floor((tokens[0] ?? 0) / 1000))
    .sort();
const files = (path: string) => (existsSync(path) ? readdirSync(path) : []);
const diskFiles = () => files(join(folder.path, 'disk', 'model')).filter((name) => name.endsWith('.kv'));

test('what does not fit in memory goes to disk, and what does not fit there is gone, the least used first', async () => {
  const kept = await open(2, 2);
  for (const name of [1, 2, 3]) await keep(kept, name);
  await expect.poll(() => diskFiles().length).toBe(1);
  kept.touch(kept.entries().find(({ tokens }) => tokens[0] === 1000)?.id ?? '');
  await keep(kept, 4);
  await keep(kept, 5);
  await expect.poll(() => names(kept)).toEqual([1, 3, 4, 5]);
  await expect.poll(() => diskFiles().length).toBe(2);
  expect([names(kept, 'memory'), names(kept, 'disk')]).toEqual([
    [4, 5],
    [1, 3],
  ]);
  expect([kept.bytes('memory'), kept.bytes('disk')]).toEqual([2 * size, 2 * size]);
  for (const { path } of kept.entries()) expect(existsSync(path)).toBe(true);
});

test('without a disk tier the least used entry is gone, its file too', async () => {
  const kept = await open(2);
  for (const name of [1, 2, 3]) await keep(kept, name);
  expect(names(kept)).toEqual([2, 3]);
  expect(files(join(folder.path, 'memory', `tidegate-kv-${process.pid}`))).toHaveLength(2);
});

test('a conversation that went on replaces its beginning; one that is held already is not saved again', async () => {
  const kept = await open(9);
  await keep(kept, 1);
  await keep(kept, 1, { length: 200 });
  expect(kept.entries().map(({ tokens }) => tokens.length)).toEqual([200]);
  let saved = 0;
  await kept.keep({ tokens: tokensOf(1, 150), tenant: 'a', adapters: '' }, async () => ++saved);
  expect([saved, kept.entries().length]).toEqual([0, 1]);
});

test.each([
  { whose: 'of another tenant', other: { tenant: 'b' } },
  { whose: 'with other adapters', other: { adapters: 'style=0.5' } },
])('the same conversation $whose is kept apart', async ({ other }) => {
  const kept = await open(9);
  await keep(kept, 1, other);
  await keep(kept, 1, { length: 200 });
  expect(kept.entries().map(({ tokens }) => tokens.length)).toEqual([100, 200]);
});

test.each([
  { what: 'is too short to be worth a file', name: 1, length: 63, save: saves([]) },
  { what: 'cannot be saved', name: 1, length: 100, save: () => Promise.reject(new Error('no space')) },
  {
    what: 'is larger than all of the memory',
    name: 1,
    length: 100,
    save: async (path: string) => {
      writeFileSync(path, Buffer.alloc(3 * size));
      return 3 * size;
    },
  },
])('what $what is not kept, and leaves no file', async ({ name, length, save }) => {
  const kept = await open(2);
  await keep(kept, 9);
  await kept.keep({ tokens: tokensOf(name, length), tenant: 'a', adapters: '' }, save);
  expect(names(kept)).toEqual([9]);
  expect(files(join(folder.path, 'memory', `tidegate-kv-${process.pid}`))).toHaveLength(1);
});

test('what is parked pushes conversations out, is never pushed out itself, and is refused where there is no room', async () => {
  const kept = await open(2);
  await keep(kept, 1);
  await keep(kept, 2);
  const parked = [await kept.park(size, saves([1])), await kept.park(size, saves([2]))];
  expect(names(kept)).toEqual([]);
  expect(await kept.park(size, saves([3]))).toBeUndefined();
  await keep(kept, 3);
  for (const path of parked) expect(existsSync(path ?? '')).toBe(true);
  kept.unpark(parked[0] ?? '');
  expect(existsSync(parked[0] ?? '')).toBe(false);
  expect(await kept.park(size, saves([4]))).toBeDefined();
  expect(await kept.park(0, () => Promise.reject(new Error('no space')))).toBeUndefined();
});

test('conversations come back after a restart, with their tenant and adapters, the most used first', async () => {
  const kept = await open(3, 2);
  await keep(kept, 1, { adapters: 'style=0.5' });
  await keep(kept, 2);
  await keep(kept, 3, { tenant: 'b' });
  for (const entry of kept.entries()) if (entry.tokens[0] !== 2000) kept.touch(entry.id);
  await kept.close();
  expect(files(join(folder.path, 'memory'))).toEqual([]);
  const again = await open(3, 2);
  expect(
    again
      .entries()
      .map(({ tokens, tenant, adapters, tier }) => [tokens[0], tokens.length, tenant, adapters, tier])
      .sort(),
  ).toEqual([
    [1000, 100, 'a', 'style=0.5', 'disk'],
    [3000, 100, 'b', '', 'disk'],
  ]);
});

test('of another model, or damaged on disk, nothing is taken over', async () => {
  const kept = await open(3, 3);
  for (const name of [1, 2, 3]) await keep(kept, name);
  await kept.close();
  const disk = join(folder.path, 'disk', 'model');
  const [one = '', two = ''] = diskFiles();
  const damaged = readFileSync(join(disk, one));
  damaged.writeUInt32LE(1, 0);
  writeFileSync(join(disk, one), damaged);
  const longer = readFileSync(join(disk, two));
  longer.writeUInt32LE(999, 8); // tokens that the file does not hold
  writeFileSync(join(disk, two), longer);
  await saves(tokensOf(1))(join(disk, 'a.-.id.kv.part'));
  await saves(tokensOf(1))(join(disk, 'a.style%3D0.5.id.kv')); // as an earlier version wrote it
  expect(names(await open(3, 3, 'other'))).toEqual([]);
  await store?.close();
  expect(names(await open(3, 3))).toHaveLength(1);
  expect(files(disk)).toHaveLength(1);
});

test('a smaller disk keeps what was used last', async () => {
  const kept = await open(3, 3);
  for (const name of [1, 2, 3]) await keep(kept, name);
  await kept.close();
  expect(names(await open(3, 1))).toHaveLength(1);
  expect(diskFiles()).toHaveLength(1);
});

test('memory of processes that are gone is cleared, that of others is left alone', async () => {
  const memory = join(folder.path, 'memory');
  for (const name of ['tidegate-kv-999999999', `tidegate-kv-${process.ppid}`, 'somebody-elses']) {
    mkdirSync(join(memory, name));
  }
  await open(1);
  expect(files(memory).sort()).toEqual(
    ['somebody-elses', `tidegate-kv-${process.pid}`, `tidegate-kv-${process.ppid}`].sort(),
  );
});
