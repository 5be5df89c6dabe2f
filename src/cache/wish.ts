import { parseDurationMs } from '../core/units.ts';

/** What a request says about stored answers. */
export interface CacheWish {
  /** Neither look nor keep. */
  readonly noStore: boolean;
  /** Do not look; keep the new answer. */
  readonly noCache: boolean;
  /** Keep for at most so long. */
  readonly ttlMs?: number;
  /** Take a stored answer only when it is at most so old. */
  readonly maxAgeMs?: number;
  /** Take a stored answer or none. */
  readonly onlyStored: boolean;
}

const nothing: CacheWish = { noStore: false, noCache: false, onlyStored: false };

/** Reads `x-tidegate-cache` and the request directives of `cache-control` (RFC 9111); what it does not know, it leaves. */
export function readCacheWish(headers: Readonly<Record<string, string>>): CacheWish {
  const [own, standard] = [headers['x-tidegate-cache'], headers['cache-control']];
  let wish = nothing;
  if (own === undefined && standard === undefined) return wish;
  const directives = `${own ?? ''},${standard ?? ''}`.toLowerCase().split(',');
  for (const directive of directives) {
    const [name = '', value = ''] = directive.split('=').map((part) => part.trim());
    if (name === 'no-store') wish = { ...wish, noStore: true };
    else if (name === 'no-cache') wish = { ...wish, noCache: true };
    else if (name === 'only-if-cached') wish = { ...wish, onlyStored: true };
    else if (name === 'max-age' && /^\d+$/.test(value)) wish = { ...wish, maxAgeMs: Number(value) * 1000 };
    else if (name === 'ttl') {
      const ttlMs = /^\d+$/.test(value) ? Number(value) * 1000 : parseDurationMs(value);
      if (ttlMs !== undefined) wish = { ...wish, ttlMs };
    }
  }
  return wish;
}
