import type { Digest } from '../core/digest.ts';
import type { KeyRecord } from '../ledger/key-record.ts';
import type { KeysConfig } from './config.ts';

/** The configuration's own keys as records; ids come from names, so that usage stays theirs when a key is changed. */
export async function fixedKeys(fixed: KeysConfig['fixed'], digest: Digest): Promise<readonly KeyRecord[]> {
  return Promise.all(
    fixed.map(async ({ key, name, role, tags, owner, team, models, endpoints, limits, priority, expires }) => ({
      id: `key_${name}`,
      name,
      digest: await digest(key),
      hint: `${key.slice(0, 4)}…`,
      role,
      tags,
      createdAt: 0,
      ...(owner !== undefined && { owner }),
      ...(team !== undefined && { team }),
      ...(models && { models }),
      ...(endpoints && { endpoints }),
      ...(limits && { limits }),
      ...(priority && { priority }),
      ...(expires !== undefined && { expiresAt: Date.parse(expires) }),
    })),
  );
}
