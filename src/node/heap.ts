import { setFlagsFromString } from 'node:v8';

/**
 * A heap of some thirty MiB is marked anew whenever it has grown by eight: every other second while streams open and
 * close, with threads that take the cores from them for 20 to 40 ms. It may grow to three times what was alive first; a
 * process at rest is still made small. Versions of V8 that are not known may have no such flag, and would complain of it.
 */
export function markSeldom(): void {
  if (Number.parseInt(process.versions.v8, 10) <= 13) setFlagsFromString('--heap-growing-percent=200');
}
