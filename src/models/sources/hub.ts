import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayError } from '../../core/errors.ts';
import { shardNames } from '../../core/shards.ts';
import type { ModelEntry } from '../catalogue.ts';
import { type Downloaded, type DownloadOptions, download } from '../download.ts';
import { openUrl } from '../http.ts';
import { hubEntry } from '../reference.ts';
import type { ModelSettings } from '../settings.ts';

interface HubFile {
  readonly repo: string;
  readonly file: string;
  readonly revision: string;
}

/** Downloads one file of a hub repository. Throws model_unavailable, upstream_unreachable. */
export async function fromHub(
  { repo, file, revision }: HubFile,
  part: string,
  options: Omit<DownloadOptions, 'source' | 'auth'>,
): Promise<Downloaded> {
  const { hub } = options.settings;
  refuseOffline(options.settings);
  const path = file.split('/').map(encodeURIComponent).join('/');
  return await download(`${hub.endpoint}/${repo}/resolve/${encodeURIComponent(revision)}/${path}`, part, {
    ...options,
    source: hubHost(options.settings),
    auth: await authOf(options.settings),
  });
}

/** The file of a repository that carries the wanted quantisation; the first where it is split. */
export async function findOnHub(
  { repo, revision, quantization }: { repo: string; revision: string; quantization: string },
  { settings, signal }: { settings: ModelSettings; signal: AbortSignal },
): Promise<ModelEntry> {
  refuseOffline(settings);
  const url = `${settings.hub.endpoint}/api/models/${repo}/tree/${encodeURIComponent(revision)}?recursive=true`;
  const answer = await openUrl(url, { settings, signal, auth: await authOf(settings) });
  const text = Buffer.concat(await answer.body.toArray()).toString('utf8');
  if (answer.status !== 200) {
    throw new GatewayError(
      'model_unavailable',
      `${hubHost(settings)} answered ${answer.status} for ${repo}: check its name, or set HF_TOKEN.`,
    );
  }
  const files = (JSON.parse(text) as { path?: string }[]) // only `path` is read, and checked below
    .flatMap(({ path }) => (typeof path === 'string' && path.endsWith('.gguf') ? [path] : []))
    .filter((path) => !/mmproj|imatrix/i.test(path) && (shardNames(path)[0] ?? path) === path);
  const wanted = quantization.toLowerCase();
  const file =
    files.find((path) => new RegExp(`[-._]${escapeRegExp(wanted)}(-00001-of-\\d{5})?\\.gguf$`, 'i').test(path)) ??
    (files.length === 1 ? files[0] : undefined);
  if (!file) {
    const offered = files.slice(0, 12).join(', ') || 'no GGUF file at all';
    throw new GatewayError(
      'model_not_found',
      `${repo} has no single ${quantization} file. It has: ${offered}. Name one: hf:${repo}/FILE.`,
    );
  }
  return hubEntry(repo, file, revision);
}

/** Path of the file in the cache that the hub's Python client keeps, if it is there. */
export async function inHubCache(
  { repo, file, revision }: HubFile,
  { hub }: ModelSettings,
): Promise<string | undefined> {
  const root = join(hub.cache, `models--${repo.replace('/', '--')}`);
  const commit = (await readFile(join(root, 'refs', revision), 'utf8').catch(() => '')).trim();
  const snapshots = commit ? [commit] : await readdir(join(root, 'snapshots')).catch(() => []);
  for (const snapshot of snapshots) {
    const path = join(root, 'snapshots', snapshot, file);
    if ((await stat(path).catch(() => undefined))?.isFile()) return path;
  }
  return undefined;
}

/** For people: where a model comes from. */
export const hubHost = ({ hub }: ModelSettings): string => new URL(hub.endpoint).host;

function refuseOffline({ hub }: ModelSettings): void {
  if (hub.offline) {
    throw new GatewayError('upstream_unreachable', 'HF_HUB_OFFLINE is set, so the hub is not asked');
  }
}

async function authOf({ hub }: ModelSettings): Promise<string | undefined> {
  const token = hub.token ?? (hub.tokenFile ? (await readFile(hub.tokenFile, 'utf8').catch(() => '')).trim() : '');
  return token ? `Bearer ${token}` : undefined;
}

const escapeRegExp = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
