import type { CallerLimits } from '../core/run.ts';

/** A key as it is kept: never the key itself, only its digest. Times are unix milliseconds. */
export interface KeyRecord {
  readonly id: string;
  readonly name: string;
  /** SHA-256 or HMAC of the key, 64 hex digits. */
  readonly digest: string;
  /** The key's first characters, for people to tell keys apart. */
  readonly hint: string;
  readonly role: 'admin' | 'caller';
  readonly owner?: string;
  readonly team?: string;
  readonly tags: readonly string[];
  /** Absent: all. An entry may end in `*`. */
  readonly models?: readonly string[];
  readonly endpoints?: readonly string[];
  readonly limits?: CallerLimits;
  readonly priority?: 'interactive' | 'normal' | 'batch';
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly revokedAt?: number;
}
