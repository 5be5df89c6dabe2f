import { describe, expect, test, vi } from 'vitest';
import type { EngineHost } from '../../src/engine/host.ts';
import { createEnginePool, type EnginePool } from '../../src/engine/pool.ts';

const signal = new AbortController().signal;

/** A host that only knows whether it is open. */
function scripted(name: string, log: string[]): EngineHost {
  const never = () => {
    throw new Error('not asked here');
  };
  return {
    load: never,
    generate: never,
    call: never,
    state: () => 'ready',
    stats: () => undefined,
    slots: () => [],
    model: () => undefined,
    pid: () => undefined,
    close: async () => {
      log.push(`close ${name}`);
    },
  };
}

function poolOf(
  sizes: Record<string, number>,
  limits: { maxModels?: number; memoryBytes?: number; keepAliveMs?: number },
) {
  const log: string[] = [];
  let clock = 0;
  const pool = createEnginePool({
    maxModels: 9,
    memoryBytes: 1000,
    ...limits,
    now: () => clock++,
    prepare: async (name) => {
      await Promise.resolve();
      const bytes = sizes[name];
      if (bytes === undefined) throw new Error(`no ${name}`);
      log.push(`open ${name}`);
      return { host: scripted(name, log), bytes };
    },
  });
  return { pool, log };
}
const use = async (pool: EnginePool, name: string) => (await pool.acquire(name, signal)).release();

describe('the pool of models', () => {
  test('opens a model once for callers that race', async () => {
    const { pool, log } = poolOf({ a: 1 }, {});
    await Promise.all([use(pool, 'a'), use(pool, 'a'), use(pool, 'a')]);
    expect(log).toEqual(['open a']);
  });

  test('unloads the least recently used for one more', async () => {
    const { pool, log } = poolOf({ a: 1, b: 1, c: 1 }, { maxModels: 2 });
    for (const name of ['a', 'b', 'a', 'c']) await use(pool, name);
    expect(log).toEqual(['open a', 'open b', 'open c', 'close b']);
    expect([...pool.open().keys()]).toEqual(['a', 'c']);
  });

  test('keeps within the memory budget', async () => {
    const { pool, log } = poolOf({ a: 400, b: 500, c: 600 }, {});
    for (const name of ['a', 'b', 'c']) await use(pool, name);
    expect(log.filter((line) => line.startsWith('close'))).toEqual(['close a', 'close b']);
  });

  test('never unloads what is in use: the newcomer waits', async () => {
    const { pool, log } = poolOf({ a: 1, b: 1 }, { maxModels: 1 });
    const lease = await pool.acquire('a', signal);
    const second = pool.acquire('b', signal);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(log).not.toContain('close a');
    lease.release();
    (await second).release();
    expect(log.at(-1)).toBe('close a');
  });

  test('a caller that leaves does not spoil the load for others', async () => {
    const { pool } = poolOf({ a: 1 }, {});
    const leaver = new AbortController();
    const left = pool.acquire('a', leaver.signal);
    const stays = pool.acquire('a', signal);
    leaver.abort();
    await expect(left).rejects.toMatchObject({ kind: 'cancelled' });
    expect((await stays).host.state()).toBe('ready');
  });

  test('tries again after a failure', async () => {
    const sizes: Record<string, number> = {};
    const { pool } = poolOf(sizes, {});
    await expect(use(pool, 'a')).rejects.toThrow('no a');
    sizes['a'] = 1;
    await expect(use(pool, 'a')).resolves.toBeUndefined();
  });

  test('unloads a model that nobody used for a while', async () => {
    const log: string[] = [];
    const pool = createEnginePool({
      maxModels: 2,
      memoryBytes: 10,
      keepAliveMs: 50,
      prepare: async (name) => ({ host: scripted(name, log), bytes: 1 }),
    });
    await use(pool, 'a');
    await vi.waitFor(() => expect(log).toEqual(['close a']), 2000);
    await pool.close();
  });
});
