import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { GatewayError } from '../core/errors.ts';
import { nearestNames } from '../core/nearest.ts';
import { catalogue, type ModelEntry } from './catalogue.ts';

/** What a model name, path, address or `hf:` coordinate on the command line or in the configuration means. */
export type ModelReference =
  | { readonly kind: 'entry'; readonly entry: ModelEntry }
  | { readonly kind: 'path'; readonly path: string }
  /** A repository without a file: which one is decided by asking the hub. */
  | { readonly kind: 'repo'; readonly repo: string; readonly revision: string; readonly quantization: string };

/**
 * Understands `NAME`, `hf:OWNER/REPO/FILE`, `hf:OWNER/REPO[:QUANT]`, `PATH` and `URL`. `known` are further names (those in
 * the cache). Throws GatewayError model_not_found | invalid_request.
 */
export function parseReference(text: string, known: readonly ModelEntry[] = []): ModelReference {
  if (text.startsWith('hf:') || text.startsWith('hf.co/')) return hubReference(text);
  if (/^https?:\/\//i.test(text)) return { kind: 'entry', entry: urlEntry(text) };
  const wanted = text.toLowerCase();
  const entries = [...catalogue, ...known];
  const entry = entries.find(({ name, aliases }) => name.toLowerCase() === wanted || aliases.includes(wanted));
  if (entry) return { kind: 'entry', entry };
  if (/^[.~/\\]|^[a-z]:[\\/]|[\\/]|\.gguf$/i.test(text)) {
    return { kind: 'path', path: resolve(text.startsWith('~/') ? join(homedir(), text.slice(2)) : text) };
  }
  const near = nearestNames(wanted, [...new Set(entries.flatMap(({ name, aliases }) => [name, ...aliases]))]);
  const hint = near.length > 0 ? ` Did you mean ${near.join(' or ')}?` : '';
  throw new GatewayError(
    'model_not_found',
    `No model "${text}".${hint} A model is a name from "tidegate models --all", hf:OWNER/REPO/FILE, a path or a URL.`,
  );
}

function hubReference(text: string): ModelReference {
  const match = /^(?:hf:|hf\.co\/)([\w.-]+\/[\w.-]+?)(?:@([\w./-]+?))?(?:\/([^:?#]+\.gguf)|(?::([\w.-]+))?)$/i.exec(
    text,
  );
  const [, repo, revision = 'main', file, quantization] = match ?? [];
  if (!repo || /(?:^|[/@:])\.\.?(?:[/:]|$)/.test(text)) {
    throw new GatewayError(
      'invalid_request',
      `"${text}" is not a hub coordinate. Write hf:OWNER/REPO/FILE.gguf, or hf:OWNER/REPO:Q4_K_M to let the hub name the file.`,
    );
  }
  if (!file) return { kind: 'repo', repo, revision, quantization: quantization ?? 'Q4_K_M' };
  return { kind: 'entry', entry: hubEntry(repo, file, revision) };
}

/** How people write a repository, with a revision where it is another than `main`: what the names of its files begin with. */
export const hubPrefix = (repo: string, revision: string): string =>
  `hf:${repo}${revision === 'main' ? '' : `@${revision}`}/`.toLowerCase();

/** The entry of a file on the hub that no catalogue knows. */
export function hubEntry(repo: string, file: string, revision = 'main'): ModelEntry {
  return {
    ...unknownEntry(file),
    name: ['hf', repo, ...(revision === 'main' ? [] : [revision]), file].join('/').replaceAll('/', '--'),
    aliases: [`${hubPrefix(repo, revision)}${file.toLowerCase()}`, shortName(file)],
    sources: [{ kind: 'hub', repo, file, revision }],
  };
}

function urlEntry(text: string): ModelEntry {
  const url = new URL(text);
  const onHub = /^\/([^/]+\/[^/]+)\/(?:resolve|blob)\/([^/]+)\/(.+\.gguf)$/.exec(url.pathname);
  if (/(^|\.)(huggingface\.co|hf\.co)$/.test(url.hostname) && onHub?.[1] && onHub[2] && onHub[3]) {
    return hubEntry(onHub[1], decodeURIComponent(onHub[3]), onHub[2]);
  }
  const file = basename(decodeURIComponent(url.pathname)) || 'model.gguf'; // decoded first: no way out of the folder
  return {
    ...unknownEntry(file),
    name: ['url', url.host.replace(':', '_'), ...url.pathname.split('/').filter(Boolean)].join('--'),
    aliases: [shortName(file)],
    sources: [{ kind: 'url', url: text }],
  };
}

/** A model’s name by its file, where nobody gave it one. */
export const shortName = (file: string): string =>
  basename(file)
    .replace(/\.gguf$/i, '')
    .toLowerCase();

function unknownEntry(file: string) {
  const quantization =
    /(?:^|[-._])((?:I?Q\d[\w]*)|BF16|F16|F32)(?=(?:-\d{5}-of-\d{5})?\.gguf$)/i.exec(file)?.[1]?.toUpperCase() ?? '';
  const base = basename(file);
  return { file: base, license: '', parameters: '', quantization, kind: 'chat' as const };
}
