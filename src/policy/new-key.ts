import { type Clock, randomId, systemClock } from '../core/clock.ts';
import type { Digest } from '../core/digest.ts';
import type { KeyRecord } from '../ledger/key-record.ts';

/** What an operator says of a new key. */
export type KeyWish = Omit<KeyRecord, 'id' | 'digest' | 'hint' | 'createdAt' | 'revokedAt' | 'role' | 'tags'> &
  Partial<Pick<KeyRecord, 'role' | 'tags'>>;

/** A new key: `secret` is shown once and kept nowhere, the record holds its digest. 43 characters carry 256 bits. */
export async function makeKey(
  wish: KeyWish,
  digest: Digest,
  clock: Clock = systemClock,
): Promise<{ readonly secret: string; readonly record: KeyRecord }> {
  const secret = randomId('tg-', 43);
  return {
    secret,
    record: {
      role: 'caller',
      tags: [],
      ...wish,
      id: randomId('key_', 16),
      digest: await digest(secret),
      hint: `${secret.slice(0, 7)}…`,
      createdAt: clock.wall(),
    },
  };
}
