import { onTestFinished } from 'vitest';
import type { ObjectStore } from '../../src/core/objects.ts';
import { openTables } from '../../src/ledger/ledger.ts';
import { openSqlite } from '../../src/ledger/sqlite.node.ts';
import { scratch } from '../ledger/databases.ts';

/** The store as one process sees it. */
export function connection(objects: ObjectStore): { readonly objects: ObjectStore; readonly cut: () => void } {
  let there = true;
  const reachable =
    <Args extends unknown[], T>(call: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> =>
      there ? call(...args) : Promise.reject(new Error('gone'));
  const { put, get, delete: remove, list, all, lease, release } = objects;
  return {
    objects: {
      put: reachable(put),
      get: reachable(get),
      delete: reachable(remove),
      list: reachable(list),
      all: reachable(all),
      lease: reachable(lease),
      release: reachable(release),
    },
    cut: () => {
      there = false;
    },
  };
}

/** A database that several gateways of a test share, on disk. */
export async function database(): Promise<ObjectStore> {
  const folder = scratch();
  const db = openSqlite(`${folder.path}/ledger.db`);
  onTestFinished(async () => {
    await db.close();
    folder.remove();
  });
  return (await openTables(db)).objects;
}

export const until = async (met: () => boolean | Promise<boolean>) => {
  while (!(await met())) await new Promise((resolve) => setTimeout(resolve, 5));
};
