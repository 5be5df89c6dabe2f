import { watch } from 'chokidar';

/** Calls `changed` when the file has a new content that is written to its end; also when an editor replaces it. */
export function watchFile(file: string, changed: () => void): () => Promise<void> {
  const watcher = watch(file, {
    ignoreInitial: true,
    awaitWriteFinish: { stabilityThreshold: 100, pollInterval: 25 },
  });
  watcher.on('change', changed).on('add', changed);
  return () => watcher.close();
}
