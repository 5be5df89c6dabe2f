import { LRUCache } from 'lru-cache';
import { type Clock, systemClock } from '../core/clock.ts';
import { type Digest, equalDigests } from '../core/digest.ts';
import { GatewayError } from '../core/errors.ts';
import { bodyDigestHeader, isGatewayToken, tokenLivesMs, verifyGatewayToken } from '../core/gateway-token.ts';
import { anonymous, type Caller } from '../core/run.ts';
import type { KeyRecord } from '../ledger/key-record.ts';
import type { AskedFor } from './admit.ts';
import { credentialOf } from './credential.ts';
import { memoryNonces, type Nonces } from './nonces.ts';

export interface KeyringOptions {
  readonly digest: Digest;
  /** Keys of the configuration, which no store can take away. */
  readonly fixed?: readonly KeyRecord[];
  /** Where the other keys are kept. */
  readonly store?: KeyStore;
  /** Bearer tokens of an identity provider. */
  readonly jwt?: (token: string) => Promise<Caller>;
  /** Shared with gateways at the edge that speak for their own callers. */
  readonly gatewaySecret?: string | undefined;
  /** Remembers which of their requests came already. */
  readonly nonces?: Nonces;
  /** `auto`: open until there is a key or an identity provider. */
  readonly required?: boolean | 'auto';
  /** How long a key is believed before it is looked up again: the longest that a revocation takes to be seen. */
  readonly freshMs?: number;
  /** How long a key seen before is still believed while the store is lost; 0 refuses at once. */
  readonly graceMs?: number;
  /** Who shares KV and prefixes: nobody, or the keys of one team. */
  readonly isolation?: 'key' | 'team';
  readonly clock?: Clock;
}

/** The part of the ledger that a keyring reads. */
export interface KeyStore {
  byDigest(digest: string): Promise<KeyRecord | undefined>;
  /** Whether there was ever a key, a revoked one too. */
  any(): Promise<boolean>;
}

export interface Keyring {
  /** Rejects with unauthorized, or unavailable when a key cannot be checked. No promise where everybody is let in. */
  authenticate(headers: Readonly<Record<string, string>>, asked?: AskedFor): Caller | Promise<Caller>;
  /** True while everybody is let in. */
  open(): Promise<boolean>;
  /** Looks everything up anew: after an admin's change in this very process. */
  forget(): void;
}

interface Seen {
  readonly record: KeyRecord | undefined;
  readonly caller: Caller | undefined;
  readonly atMs: number;
  /** When the store was last asked in vain. */
  readonly triedMs?: number;
}

/** A store that takes longer is as good as lost for whom it is not needed: a hanging one must not hold every request up. */
const patienceMs = 500;

/** By size, since places for a given number would all be made beforehand, before there is a key. */
const atMost = (maxSize: number) => ({ maxSize, sizeCalculation: () => 1 });

/** Keys from the configuration and a store, checked by digest, believed for `freshMs`. */
export function createKeyring({
  digest,
  fixed = [],
  store,
  jwt,
  gatewaySecret,
  required = 'auto',
  freshMs = 2000,
  graceMs = 300_000,
  isolation = 'key',
  clock = systemClock,
  nonces = memoryNonces({ clock }),
}: KeyringOptions): Keyring {
  const byDigest = new Map(fixed.map((record) => [record.digest, record]));
  const seen = new LRUCache<string, Seen>(atMost(20_000));
  /** Apart from the others, so that who guesses keys cannot push out those that are right. */
  const unknown = new LRUCache<string, Seen>(atMost(5000));
  const lookups = new Map<string, Promise<Seen>>();
  let anyKey: { readonly value: boolean; readonly atMs: number } | undefined;

  /** Undefined where the store has to be asked. */
  const isOpen = (): boolean | undefined => {
    if (required !== 'auto') return !required;
    if (fixed.length > 0 || jwt || gatewaySecret) return false;
    if (!store) return true;
    return anyKey && clock.now() - anyKey.atMs < freshMs ? !anyKey.value : undefined;
  };
  const open = async (): Promise<boolean> => {
    const known = isOpen();
    if (known !== undefined || !store) return known ?? true;
    try {
      const asked = store.any().then((value) => {
        anyKey = { value, atMs: clock.now() };
      });
      await (anyKey ? soon(asked) : asked);
    } catch (error) {
      if (!anyKey) throw lost(error); // never seen the store: it may hold keys, so nobody is let in
      anyKey = { ...anyKey, atMs: clock.now() };
    }
    return !anyKey?.value;
  };

  const lookUp = async (hash: string): Promise<Seen> => {
    const last = seen.get(hash);
    const atMs = clock.now();
    const believed = last?.record && atMs - last.atMs < graceMs ? last : undefined;
    const found = (record: KeyRecord | undefined): Seen => {
      // Found by digest already; compared again in constant time, so that no index's comparison is what decides.
      const right = record && equalDigests(record.digest, hash) ? record : undefined;
      const entry = { record: right, caller: right && callerOf(right, isolation), atMs };
      if (right) {
        seen.set(hash, entry);
        unknown.delete(hash);
      } else {
        unknown.set(hash, entry);
        seen.delete(hash);
      }
      return entry;
    };
    try {
      const looked = Promise.resolve(byDigest.get(hash) ?? store?.byDigest(hash)).then(found);
      return await (believed ? soon(looked) : looked); // one that comes too late still counts for the next
    } catch (error) {
      if (!believed) throw lost(error);
      seen.set(hash, { ...believed, triedMs: clock.now() });
      return believed;
    }
  };

  const find = (hash: string): Seen | Promise<Seen> => {
    const last = seen.get(hash) ?? unknown.get(hash);
    if (last && clock.now() - (last.triedMs ?? last.atMs) < freshMs) return last;
    const running = lookups.get(hash);
    if (running) return running;
    const lookup = lookUp(hash).finally(() => lookups.delete(hash));
    lookups.set(hash, lookup);
    return lookup;
  };

  const check = async (headers: Readonly<Record<string, string>>, asked: AskedFor | undefined): Promise<Caller> => {
    if (await open()) return anonymous;
    const credential = credentialOf(headers);
    if (credential === undefined) {
      throw new GatewayError(
        'unauthorized',
        "You didn't provide an API key. Send one as 'Authorization: Bearer tg-…' or as 'x-api-key'.",
        { code: 'missing_api_key' },
      );
    }
    if (gatewaySecret && isGatewayToken(credential)) {
      const signed = { ...signedFor(asked), bodyDigest: headers[bodyDigestHeader] ?? '' };
      const claims = await verifyGatewayToken(gatewaySecret, credential, signed, clock.wall());
      if (!claims || !(await nonces.fresh(claims.nonce, tokenLivesMs))) throw wrong();
      return { id: 'edge', name: 'edge gateway', role: 'caller', tags: ['edge'], tenant: `edge:${claims.tenant}` };
    }
    if (jwt && isJwt(credential)) return jwt(credential);
    const { record, caller } = await find(await digest(credential));
    if (!record || !caller) throw wrong();
    if (record.revokedAt !== undefined && record.revokedAt <= clock.wall()) throw wrong();
    if (record.expiresAt !== undefined && record.expiresAt <= clock.wall()) {
      throw new GatewayError('unauthorized', 'This API key has expired.', { code: 'expired_api_key' });
    }
    return caller;
  };

  return {
    open,
    authenticate: (headers, asked) => (isOpen() ? anonymous : check(headers, asked)),
    forget() {
      seen.clear();
      unknown.clear();
      anyKey = undefined;
    },
  };
}

/** The request line as the other gateway signed it: below the base URL, whose `/v1` may be left out. */
function signedFor({ method = '', url = '' }: Partial<AskedFor> = {}) {
  const path = url.slice(Math.max(0, url.indexOf('/', url.indexOf('://') + 3)));
  return { method, path: path.startsWith('/v1/') ? path.slice('/v1'.length) : path };
}

const isJwt = (credential: string) => /^[\w-]+\.[\w-]+\.[\w-]+$/.test(credential);

const wrong = () => new GatewayError('unauthorized', 'This API key is not known, or was revoked.');

async function soon<T>(answer: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('The key store takes too long.')), patienceMs);
  });
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

const lost = (cause: unknown) =>
  new GatewayError('unavailable', 'The key store cannot be reached, so this key cannot be checked. Try again soon.', {
    cause,
    retryAfterMs: 2000,
  });

function callerOf(record: KeyRecord, isolation: 'key' | 'team'): Caller {
  const { id, role, name, team, tags, models, endpoints, limits, priority } = record;
  return {
    id,
    role,
    name,
    tags,
    tenant: isolation === 'team' && team !== undefined ? `team:${team}` : id,
    ...(team !== undefined && { team }),
    ...(models && { models }),
    ...(endpoints && { endpoints }),
    ...(limits && { limits }),
    ...(priority && { priority }),
  };
}
