import { randomUUID } from 'node:crypto';
import { link, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { sleep } from '../core/signals.ts';

const heartbeatMs = 5_000;
const staleMs = 30_000;

interface Owner {
  readonly id: string;
  readonly pid: number;
  readonly host: string;
}

/**
 * Runs `work` while this process alone holds the lock file. The owner touches the file; one whose process is gone, or
 * that nobody touched for 30 s (another machine on a shared folder), is taken over. `onWait` is called between looks.
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  { signal, onWait, pollMs = 250 }: { signal: AbortSignal; onWait?: () => void; pollMs?: number },
): Promise<T> {
  const owner: Owner = { id: randomUUID(), pid: process.pid, host: hostname() };
  while (!(await take(path, owner))) {
    await breakIfStale(path);
    onWait?.();
    await sleep(pollMs, signal);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // a missed beat only matters after 30 s of them
  }, heartbeatMs);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    const held = await readOwner(path);
    if (held?.id === owner.id) await rm(path, { force: true });
  }
}

async function take(path: string, owner: Owner): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    await file.writeFile(JSON.stringify(owner));
    await file.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function breakIfStale(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (!info) return;
  const owner = await readOwner(path);
  const silent = Date.now() - info.mtimeMs > staleMs;
  const gone = owner !== undefined && owner.host === hostname() && !isAlive(owner.pid);
  if (!silent && !gone) return;
  // Two may come to this conclusion at once: who moves the file away looks whether it still was the stale one.
  const aside = `${path}.${randomUUID()}`;
  await rename(path, aside).catch(() => {});
  const moved = await readOwner(aside);
  if (moved && moved.id !== owner?.id) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}

async function readOwner(path: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Owner; // written by `take` only
  } catch {
    return undefined; // gone, or not written yet
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
