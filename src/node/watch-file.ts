import { type Stats, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';

/** So often the file is looked at: cheaper than a request, and soon enough for whoever edits it. */
const everyMs = 250;

/**
 * Remembers the file as it is now, before anybody reads it. The returned function then calls `changed` when it has a new
 * content that is written to its end, until what that returns is called. It is looked at rather than listened to: nothing
 * is told of a link that turns to another folder (Kubernetes does that with a ConfigMap), of files on many mounted
 * volumes, or of one that was away for a moment.
 */
export function watchFile(file: string): (changed: () => void) => () => Promise<void> {
  let known = fingerprint(statSync(file, { throwIfNoEntry: false }));
  return (changed) => {
    let seen = known;
    let looking: Promise<void> = Promise.resolve();
    let ended = false;
    const look = async () => {
      const now = fingerprint(await stat(file).catch(() => undefined));
      if (ended || now === undefined) return;
      // Told when it is new and has not changed since the last look: nobody is writing it any more.
      if (now !== known && now === seen) {
        known = now;
        changed();
      }
      seen = now;
    };
    const timer = setInterval(() => {
      looking = looking.then(look);
    }, everyMs);
    timer.unref();
    return async () => {
      ended = true;
      clearInterval(timer);
      await looking;
    };
  };
}

/** What differs where the content does; undefined where there is none. */
const fingerprint = (stats: Stats | undefined): string | undefined =>
  stats && `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
