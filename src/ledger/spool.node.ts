import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { randomId } from '../core/clock.ts';
import { makeFolder } from '../core/folder.node.ts';

/**
 * The write-ahead file of the ledger. What is appended is safe from a crash when the promise resolves: one write and one
 * fdatasync for all that came in meanwhile. Each record is a line, `checksum json`; a torn or rotten line is left out.
 */
export interface Spool {
  /** Rejects when it could not be written; then it is not in the file. */
  append(records: readonly string[]): Promise<void>;
  /** The oldest records that were not taken yet, at most `limit`. */
  read(limit: number): Promise<Batch>;
  /** What `read` gave is safe elsewhere. */
  taken(batch: Batch): Promise<void>;
  /** Records of processes that ended without taking theirs; `use` puts them elsewhere, then their file goes. */
  adopt(use: (records: readonly string[]) => Promise<void>): Promise<number>;
  /** Bytes that wait to be taken. */
  size(): number;
  close(): Promise<void>;
}

export interface Batch {
  readonly records: readonly string[];
  /** Where the next batch begins. */
  readonly end: number;
}

export interface SpoolOptions {
  readonly folder: string;
  /** Appends are refused beyond so much that waits. */
  readonly maxBytes?: number;
  readonly open?: typeof open;
}

const suffix = '.spool';
const beatMs = 10_000;
/** A file that its owner has not touched for so long belongs to nobody. */
const orphanMs = 60_000;
/** A file taken to its end is emptied from this size on, so that a small one costs no truncation each time. */
const emptyFrom = 256 * 1024;
const readBytes = 1024 * 1024;

/** Files that this process has in use: its own pid alone does not tell them from those of an earlier life. */
const openNames = new Set<string>();

/** Opens this process’s own files below `folder`; throws where that cannot be written. */
export async function openSpool({ folder, maxBytes = 1024 ** 3, open: openFile = open }: SpoolOptions): Promise<Spool> {
  makeFolder(folder);
  const host = hostname().replace(/[^\w.]/g, '_');
  const name = `${host}-${process.pid}-${randomId('', 8)}${suffix}`;
  const path = join(folder, name);
  openNames.add(name);
  let file: FileHandle = await openFile(path, 'wx+');
  let written = 0; // bytes that are safe
  let start = 0; // bytes that were taken
  let dirty = false; // a failed write may have left something behind the end
  let beatAt = Date.now();
  let closed = false;
  let queue: { readonly text: string; resolve: () => void; reject: (error: unknown) => void }[] = [];
  let flushing = false;

  /** Everything that touches the file happens one after the other. */
  let chain: Promise<unknown> = Promise.resolve();
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const next = chain.then(work, work);
    chain = next.catch(() => {});
    return next;
  };

  /** Another process may have taken this file for an orphan while this one slept; then its records go on in a new one. */
  const stillOwned = async () => {
    if (Date.now() - beatAt < beatMs * 2) return;
    if ((await file.stat()).nlink === 0) {
      const rest = Buffer.alloc(written - start);
      await file.read(rest, 0, rest.length, start);
      const next = await openFile(path, 'w+');
      await next.write(rest, 0, rest.length, 0);
      await next.datasync();
      await file.close();
      file = next;
      written = rest.length;
      start = 0;
    }
    await beat();
  };
  const beat = async () => {
    beatAt = Date.now();
    await file.utimes(new Date(), new Date());
  };
  const timer = setInterval(() => void exclusively(beat).catch(() => {}), beatMs);
  timer.unref();

  const flush = async () => {
    while (queue.length > 0) {
      const batch = queue;
      queue = [];
      const bytes = Buffer.from(batch.map(({ text }) => text).join(''));
      try {
        if (written - start + bytes.length > maxBytes) throw new Error('the write-ahead file is full');
        await stillOwned();
        if (dirty) await file.truncate(written);
        dirty = true;
        for (let done = 0; done < bytes.length; ) {
          done += (await file.write(bytes, done, bytes.length - done, written + done)).bytesWritten;
        }
        await file.datasync();
        dirty = false;
        written += bytes.length;
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    flushing = false; // in the same step as the last look at the queue, so that nothing is left in it
  };

  return {
    append(records) {
      if (closed) return Promise.reject(new Error('the write-ahead file is closed'));
      return new Promise((resolve, reject) => {
        queue.push({ text: records.map(line).join(''), resolve, reject });
        if (flushing) return;
        flushing = true;
        void exclusively(flush);
      });
    },
    read: (limit) =>
      exclusively(async () => {
        const buffer = Buffer.alloc(Math.min(readBytes, written - start));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
        const { records, used } = parse(buffer.subarray(0, bytesRead), limit);
        if (used > 0 || bytesRead < readBytes) return { records, end: start + used };
        // One record larger than the buffer.
        const whole = Buffer.alloc(written - start);
        await file.read(whole, 0, whole.length, start);
        const one = parse(whole, 1);
        return { records: one.records, end: start + (one.used || whole.length) };
      }),
    taken: ({ end }) =>
      exclusively(async () => {
        start = Math.max(start, Math.min(end, written));
        if (start < written || written < emptyFrom) return;
        await file.truncate(0);
        start = 0;
        written = 0;
      }),
    adopt: (use) =>
      exclusively(async () => {
        let adopted = 0;
        for (const other of await readdir(folder)) {
          if (other === name || !other.endsWith(suffix)) continue;
          const from = join(folder, other);
          if (!(await isOrphan(from, other, host))) continue;
          // Renamed first: of two that adopt at once, one gets it. A crash from here on leaves an orphan again.
          const mine = `${host}-${process.pid}-${randomId('', 8)}.adopted${suffix}`;
          openNames.add(mine);
          try {
            await rename(from, join(folder, mine));
            adopted += await takeAll(join(folder, mine), use);
            await rm(join(folder, mine), { force: true });
          } catch (error) {
            if (codeOf(error) !== 'ENOENT') throw error; // another gateway was faster
          } finally {
            openNames.delete(mine);
          }
        }
        return adopted;
      }),
    size: () => written - start,
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(timer);
      openNames.delete(name);
      await exclusively(async () => {
        await file.close();
        if (start === written) await rm(path, { force: true });
      });
    },
  };
}

const line = (json: string) => `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;

/** Whole lines from the front of `bytes`; `used` is where the last of them ends. Lines that are not what was written are skipped. */
function parse(bytes: Buffer, limit: number): { records: string[]; used: number } {
  const records: string[] = [];
  let used = 0;
  while (records.length < limit) {
    const end = bytes.indexOf(10, used);
    if (end < 0) break;
    const json = bytes.toString('utf8', used + 9, end);
    if (bytes.toString('latin1', used, used + 8) === crc32(json).toString(16).padStart(8, '0')) records.push(json);
    used = end + 1;
  }
  return { records, used };
}

async function takeAll(path: string, use: (records: readonly string[]) => Promise<void>): Promise<number> {
  const file = await open(path, 'r');
  try {
    let taken = 0;
    let at = 0;
    let size = readBytes;
    for (;;) {
      const buffer = Buffer.alloc(size);
      const { bytesRead } = await file.read(buffer, 0, size, at);
      const { records, used } = parse(buffer.subarray(0, bytesRead), 500);
      if (records.length > 0) await use(records);
      taken += records.length;
      at += used;
      if (used === 0 && bytesRead < size) return taken; // a torn tail, or the end
      size = used === 0 ? size * 2 : readBytes;
    }
  } finally {
    await file.close();
  }
}

/** On this machine: the process is gone, or is this one (another life of it). Elsewhere: nobody touched it for long. */
async function isOrphan(path: string, name: string, host: string): Promise<boolean> {
  const [, owner, pid] = /^(.*)-(\d+)-\w+(?:\.adopted)?\.spool$/.exec(name) ?? [];
  if (owner === host) {
    if (Number(pid) === process.pid) return !openNames.has(name);
    try {
      process.kill(Number(pid), 0);
    } catch (error) {
      return codeOf(error) === 'ESRCH';
    }
  }
  try {
    return Date.now() - (await stat(path)).mtimeMs > orphanMs;
  } catch {
    return false; // it was adopted meanwhile
  }
}

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);
