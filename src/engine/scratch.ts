import { accessSync, constants, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';

/** A folder for KV files, and how much of it may be used. */
export interface Scratch {
  readonly folder: string;
  readonly bytes: number;
}

/** A memory file system smaller than this (containers often have 64 MB) is of no use. */
const leastBytes = 512 * 2 ** 20;

/** KV moves between sequences through files: in memory where the system has room there, else in the temporary folder. */
export function scratchFolder(): Scratch {
  return usable('/dev/shm') ?? usable(tmpdir()) ?? { folder: tmpdir(), bytes: 0 };
}

/** Half of what is free: other programs use it too. */
function usable(folder: string): Scratch | undefined {
  try {
    accessSync(folder, constants.W_OK);
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize >= leastBytes ? { folder, bytes: (bavail * bsize) / 2 } : undefined;
  } catch {
    return undefined;
  }
}
