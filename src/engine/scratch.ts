import { accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';

/** A folder in memory where the system has one, else the temporary folder: KV moves between sequences through files. */
export function scratchFolder(): string {
  try {
    accessSync('/dev/shm', constants.W_OK);
    return '/dev/shm';
  } catch {
    return tmpdir();
  }
}
