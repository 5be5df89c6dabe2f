import { readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { randomId } from '../core/clock.ts';
import { makeFolder } from '../core/folder.node.ts';
import type { AuditHead, AuditTable } from './audit.ts';

/**
 * The audit with its head noted in a file beside the write-ahead files after each append. The database alone cannot tell
 * that the end of the chain was cut off; with the note, `verify` can, for whoever has no hand on this machine's disk.
 */
export function withNotedHead(audit: AuditTable, path: string): AuditTable {
  return {
    ...audit,
    async append(events) {
      await audit.append(events);
      // A note that cannot be written keeps nobody from booking: the one before it still holds.
      await note(path, await audit.head()).catch(() => {});
    },
    verify: async (expected) => audit.verify(expected ?? (await noted(path))),
  };
}

async function note(path: string, head: AuditHead): Promise<void> {
  makeFolder(dirname(path));
  const fresh = `${path}.${randomId('', 8)}`;
  await writeFile(fresh, `${head.seq}:${head.hash}\n`);
  await rename(fresh, path);
}

async function noted(path: string): Promise<AuditHead | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const [, seq, hash] = /^(\d+):([0-9a-f]{64})$/.exec(text.trim()) ?? [];
  return seq !== undefined && hash !== undefined ? { seq: Number(seq), hash } : undefined;
}
