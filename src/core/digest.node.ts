import { createHash, createHmac } from 'node:crypto';
import type { Digest } from './digest.ts';

/** The digest of `webDigest`, in 2 µs instead of 30: nothing waits for the thread pool. */
export const nodeDigest = (pepper?: string): Digest =>
  pepper
    ? (secret) => createHmac('sha256', pepper).update(secret).digest('hex')
    : (secret) => createHash('sha256').update(secret).digest('hex');
