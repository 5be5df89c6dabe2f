import { resolve } from 'node:path';

/** What the operating system means, and what can be done about it. */
const meanings: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EACCES: 'this user may not read or write there; give it the right, or name another place',
  EPERM: 'this user may not do that there; give it the right, or name another place',
  EROFS: 'nothing can be written there; name another place',
  EEXIST: 'something else is there already; move it away, or name another place',
  ENOTDIR: 'a part of the path is a file',
  EISDIR: 'it is a folder, and a file is wanted',
  ENOSPC: 'the disk is full',
};

/** Why an operation failed, in a sentence: of a file or folder, its path and what to change; else the error's message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code = '', path } = error as NodeJS.ErrnoException; // absent on other errors
  const meaning = meanings[code];
  return meaning && path ? `${resolve(path)}: ${meaning} (${code}).` : error.message;
}
