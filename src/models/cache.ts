import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { GatewayError } from '../core/errors.ts';
import { makeFolder } from '../core/folder.node.ts';
import { shardNames } from '../core/shards.ts';
import { catalogue, type ModelEntry } from './catalogue.ts';
import { hubPrefix, parseReference, shortName } from './reference.ts';
import type { ModelSettings } from './settings.ts';
import { inHubCache } from './sources/hub.ts';
import { checkHead, verifyFile } from './verify.ts';

/** A model file that is here and was checked. */
export interface ModelFile {
  readonly name: string;
  readonly aliases: readonly string[];
  /** Absolute. */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Where it came from, in words. */
  readonly source: string;
  readonly license: string;
  readonly parameters: string;
  readonly quantization: string;
  readonly kind: 'chat' | 'embedding';
  /** Unix milliseconds. */
  readonly pulledAt: number;
  /** False for a file that lies elsewhere and is only used: it is never deleted by us. */
  readonly owned: boolean;
}

/** `model.json` beside the file: `file` relative to its folder, or absolute where the file is not ours. */
interface CacheRecord extends Omit<ModelFile, 'path' | 'owned'> {
  readonly file: string;
  readonly mtimeMs: number;
}

const recordName = 'model.json';
/** Where a model of that name lies, once it is fetched. */
export const modelFolder = (name: string, { folder }: ModelSettings): string => join(folder, name);

/** All models of the cache that are whole, by name. */
export async function listModels(settings: ModelSettings): Promise<readonly ModelFile[]> {
  const names = await readdir(settings.folder).catch(() => []);
  const models = await Promise.all(names.map((name) => readModel(name, settings)));
  return models.filter((model) => model !== undefined).sort((a, b) => a.name.localeCompare(b.name));
}

/**
 * The file of a model if it is here: in our cache, in the hub client's, or at the path given. Unchanged since it was
 * verified means not hashed again. Throws model_not_found for a name nobody knows, model_unavailable for a bad file.
 */
export async function findModel(reference: string, settings: ModelSettings): Promise<ModelFile | undefined> {
  const parsed = await resolveReference(reference, settings);
  if (parsed.kind === 'repo') {
    const prefix = hubPrefix(parsed.repo, parsed.revision);
    const wanted = `${parsed.quantization}.gguf`.toLowerCase();
    const models = await listModels(settings);
    const isWanted = (alias: string) =>
      alias.startsWith(prefix) && alias.replace(/-00001-of-\d{5}(?=\.gguf$)/, '').endsWith(wanted);
    return models.find(({ aliases }) => aliases.some(isWanted));
  }
  if (parsed.kind === 'path') return await adoptPath(parsed.path, settings, false);
  return (await readModel(parsed.entry.name, settings)) ?? (await adopt(parsed.entry, settings));
}

/** As `parseReference`, with the names of the cache known too. */
export async function resolveReference(reference: string, settings: ModelSettings) {
  const isCatalogue = catalogue.some(({ name, aliases }) => name === reference || aliases.includes(reference));
  return parseReference(reference, isCatalogue ? [] : (await listModels(settings)).map(toEntry));
}

/** Forgets a model and deletes its file where it is ours. Throws model_not_found. */
export async function removeModel(reference: string, settings: ModelSettings): Promise<ModelFile> {
  const models = await listModels(settings);
  const wanted = reference.toLowerCase();
  const model =
    models.find(({ name, path }) => name.toLowerCase() === wanted || path === reference) ??
    models.find(({ aliases }) => aliases.includes(wanted));
  if (!model) {
    const have = models.map(({ name }) => name).join(', ') || 'nothing';
    throw new GatewayError('model_not_found', `No model "${reference}" in the cache. It holds: ${have}.`);
  }
  await rm(modelFolder(model.name, settings), { recursive: true, force: true });
  return model;
}

/** Notes a verified file as the model's. */
export async function recordModel(
  entry: ModelEntry,
  file: { readonly path: string; readonly bytes: number; readonly sha256: string; readonly mtimeMs: number },
  source: string,
  settings: ModelSettings,
): Promise<ModelFile> {
  const folder = modelFolder(entry.name, settings);
  const own = file.path.startsWith(join(folder, '/'));
  const { name, aliases, license, parameters, quantization, kind } = entry;
  const record: CacheRecord = {
    ...{ name, aliases, license, parameters, quantization, kind, source },
    ...{ bytes: file.bytes, sha256: file.sha256, mtimeMs: file.mtimeMs, pulledAt: Date.now() },
    file: own ? entry.file : file.path,
  };
  makeFolder(folder);
  const temporary = join(folder, `${recordName}.${process.pid}`);
  await writeFile(temporary, `${JSON.stringify(record, null, 2)}\n`);
  await rename(temporary, join(folder, recordName));
  const model = toModel(record, folder);
  return { ...model, bytes: model.bytes + (await otherShardsBytes(model.path)) };
}

/** Uses a file where it lies. Hashed only when it is to be recorded; to serve from a path its head is enough. */
export async function adoptPath(path: string, settings: ModelSettings, record: boolean): Promise<ModelFile> {
  const { bytes, mtimeMs } = await checkHead(path);
  const file = path.split(/[\\/]/).at(-1) ?? path;
  const entry: ModelEntry = {
    ...{ name: shortName(file), aliases: [path.toLowerCase()], file, license: '', parameters: '', quantization: '' },
    ...{ kind: 'chat', sources: [] },
  };
  if (record) {
    const { sha256 } = await verifyFile(path, {});
    return await recordModel(entry, { path, bytes, sha256, mtimeMs }, 'file', settings);
  }
  const { sources: _, file: __, ...shown } = entry;
  return { ...shown, path, bytes, sha256: '', source: 'file', pulledAt: mtimeMs, owned: false };
}

async function readModel(name: string, settings: ModelSettings): Promise<ModelFile | undefined> {
  const folder = modelFolder(name, settings);
  const text = await readFile(join(folder, recordName), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const record = JSON.parse(text) as CacheRecord; // written by `recordModel` only; a broken one is caught
    const model = toModel(record, folder);
    const now = await checkHead(model.path);
    const whole = { ...model, bytes: record.bytes + (await otherShardsBytes(model.path)) };
    if (now.bytes === record.bytes && now.mtimeMs === record.mtimeMs) return whole;
    await verifyFile(model.path, record);
    return whole;
  } catch {
    return undefined; // not whole any more: as good as absent, the next pull brings it again
  }
}

/** A file that somebody put in the model's folder, or that the hub's own client fetched. */
async function adopt(entry: ModelEntry, settings: ModelSettings): Promise<ModelFile | undefined> {
  const places: { path: string; source: string }[] = [];
  // One that has a record and yet was not found has been damaged since.
  const recorded = await readFile(join(modelFolder(entry.name, settings), recordName)).catch(() => undefined);
  if (!recorded) places.push({ path: join(modelFolder(entry.name, settings), entry.file), source: 'file' });
  for (const source of entry.sources) {
    const path = source.kind === 'hub' ? await inHubCache(source, settings) : undefined;
    if (path) places.push({ path, source: 'hub cache' });
  }
  for (const { path, source } of places) {
    try {
      const { mtimeMs } = await checkHead(path);
      await otherShardsBytes(path);
      const { bytes, sha256 } = await verifyFile(path, entry);
      return await recordModel(entry, { path, bytes, sha256, mtimeMs }, source, settings);
    } catch {
      // absent or damaged there: the next place
    }
  }
  return undefined;
}

/** Bytes of the further parts of a split model beside its first; 0 for a whole one. Throws where one is missing. */
async function otherShardsBytes(path: string): Promise<number> {
  let bytes = 0;
  for (const part of shardNames(path)) if (part !== path) bytes += (await checkHead(part)).bytes;
  return bytes;
}

function toModel({ file, mtimeMs: _, ...record }: CacheRecord, folder: string): ModelFile {
  return { ...record, path: isAbsolute(file) ? file : join(folder, file), owned: !isAbsolute(file) };
}

function toEntry({
  name,
  aliases,
  license,
  parameters,
  quantization,
  kind,
  path,
  bytes,
  sha256,
}: ModelFile): ModelEntry {
  const known = catalogue.find((entry) => entry.name === name);
  if (known) return known;
  const file = path.split(/[\\/]/).at(-1) ?? path;
  const checked = shardNames(file).length > 1 ? {} : { bytes, sha256 }; // those of the parts are not kept
  return { name, aliases, license, parameters, quantization, kind, file, ...checked, sources: [] };
}
