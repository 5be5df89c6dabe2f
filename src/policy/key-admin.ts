import * as z from 'zod';
import { type Clock, randomId, systemClock } from '../core/clock.ts';
import type { Digest } from '../core/digest.ts';
import { GatewayError } from '../core/errors.ts';
import { once } from '../core/once.ts';
import type { AuditTable } from '../ledger/audit.ts';
import type { KeyRecord } from '../ledger/key-record.ts';
import type { KeyTable } from '../ledger/keys.ts';
import { limits } from './config.ts';
import { type KeyWish, makeKey } from './new-key.ts';

/** A key as an admin sees it: everything but the digest. */
export type KeyView = Omit<KeyRecord, 'digest'> & { readonly fixed?: boolean; readonly spentUsd?: number };

/** Making, changing and ending keys. Each change is in the audit before it is told to have happened. */
export interface KeyAdmin {
  list(): Promise<readonly KeyView[]>;
  /** `secret` is shown this once. Throws invalid_request that names the field. */
  create(wish: unknown, actor: string): Promise<{ readonly secret: string; readonly key: KeyView }>;
  /** A new secret for a key. The old one stops at once, or goes on as a key of its own for `overlapMs`. */
  rotate(id: string, overlapMs: number, actor: string): Promise<{ readonly secret: string; readonly key: KeyView }>;
  revoke(id: string, actor: string): Promise<KeyView>;
}

const names = once(() => z.array(z.string().min(1).max(200)).max(1000));

/** What may be said of a new key, from the admin API and the command line. */
const wishSchema = once(() =>
  z.strictObject({
    name: z.string().trim().min(1).max(200),
    role: z.enum(['admin', 'caller']).optional(),
    owner: z.string().max(200).optional(),
    team: z.string().min(1).max(200).optional(),
    tags: z.array(z.string().max(200)).max(100).optional(),
    models: names().optional(),
    endpoints: names().optional(),
    limits: limits().optional(),
    priority: z.enum(['interactive', 'normal', 'batch']).optional(),
    /** Unix milliseconds, or a date. */
    expiresAt: z
      .union([z.number().int().positive(), z.iso.datetime({ offset: true }).transform((text) => Date.parse(text))])
      .optional(),
  }),
);

export interface KeyAdminOptions {
  readonly keys: KeyTable;
  readonly audit: AuditTable;
  readonly digest: Digest;
  /** Keys of the configuration, listed but not changed here. */
  readonly fixed?: readonly KeyRecord[];
  /** US dollars that a key spent this month. */
  readonly spent?: (id: string) => Promise<number>;
  /** This process must not go on believing what it has seen of keys. */
  readonly forget?: () => void;
  readonly clock?: Clock;
}

export function createKeyAdmin({
  keys,
  audit,
  digest,
  fixed = [],
  spent,
  forget = () => {},
  clock = systemClock,
}: KeyAdminOptions): KeyAdmin {
  const note = (actor: string, action: string, { id, name, role, team }: KeyView) =>
    audit.append([
      {
        id: randomId('adm_'),
        at: clock.wall(),
        actor,
        action,
        subject: id,
        detail: JSON.stringify({ name, role, team }),
      },
    ]);
  const find = async (id: string): Promise<KeyRecord> => {
    const found = await keys.byId(id);
    if (found) return found;
    if (fixed.some((key) => key.id === id)) {
      throw new GatewayError('conflict', `The key '${id}' lives in the configuration file; change it there.`);
    }
    throw new GatewayError('not_found', `There is no key '${id.slice(0, 100)}'.`);
  };

  return {
    async list() {
      const all = [...fixed.map((key) => ({ ...key, fixed: true })), ...(await keys.list())];
      return Promise.all(
        all.map(async (key) => ({ ...view(key), ...(spent && { spentUsd: await spent(key.id).catch(() => 0) }) })),
      );
    },
    async create(wish, actor) {
      const parsed = parseWish(wish);
      if (parsed.expiresAt !== undefined && parsed.expiresAt <= clock.wall()) {
        throw new GatewayError('invalid_request', "'expiresAt' lies in the past.", { param: 'expiresAt' });
      }
      const { secret, record } = await makeKey(parsed, digest, clock);
      await note(actor, 'key.create', record);
      await keys.add(record);
      forget();
      return { secret, key: view(record) };
    },
    async rotate(id, overlapMs, actor) {
      const old = await find(id);
      if (old.revokedAt !== undefined) throw new GatewayError('conflict', `The key '${id}' was revoked.`);
      const fresh = await makeKey({ name: old.name }, digest, clock);
      const { digest: newDigest, hint } = fresh.record;
      await note(actor, 'key.rotate', old);
      const now = clock.wall();
      // The key keeps its id, so that its usage and budgets stay its own; what overlaps gets a new one.
      await keys.update({ ...old, digest: newDigest, hint });
      if (overlapMs > 0) {
        const until = Math.min(now + overlapMs, old.expiresAt ?? Number.POSITIVE_INFINITY);
        await keys.add({ ...old, id: fresh.record.id, name: beforeRotation(old), expiresAt: until });
      }
      forget();
      return { secret: fresh.secret, key: view({ ...old, hint }) };
    },
    async revoke(id, actor) {
      const old = await find(id);
      const revoked = { ...old, revokedAt: old.revokedAt ?? clock.wall() };
      const overlapping = (await keys.list()).filter(
        (key) => key.name === beforeRotation(old) && key.createdAt === old.createdAt && key.revokedAt === undefined,
      );
      await note(actor, 'key.revoke', old);
      await keys.update(revoked);
      for (const key of overlapping) {
        await note(actor, 'key.revoke', key);
        await keys.update({ ...key, revokedAt: revoked.revokedAt });
      }
      forget();
      return view(revoked);
    },
  };
}

/** The name under which the old secret of a key goes on; what else it carries is the key's own, the day it was made too. */
const beforeRotation = ({ name }: KeyRecord): string => `${name} (before rotation)`;

function view(record: KeyRecord): KeyView {
  const { digest: _, ...rest } = record;
  return rest;
}

function parseWish(wish: unknown): KeyWish {
  const parsed = wishSchema().safeParse(wish);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const param = issue?.path.join('.') ?? '';
    throw new GatewayError('invalid_request', `${param || 'The body'}: ${issue?.message ?? 'not valid'}.`, { param });
  }
  // exactOptionalPropertyTypes: zod says `| undefined` of what is only ever absent.
  return Object.fromEntries(
    Object.entries(parsed.data).filter(([, value]) => value !== undefined),
  ) as unknown as KeyWish;
}
