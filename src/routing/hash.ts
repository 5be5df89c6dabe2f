/** 32-bit hash of a text (murmur3's mixing over UTF-16 units); the same on every machine and process. */
export function hash32(text: string, seed = 0): number {
  let hash = seed ^ text.length;
  for (let i = 0; i < text.length; i++) {
    let k = Math.imul(text.charCodeAt(i), 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    hash ^= Math.imul(k, 0x1b873593);
    hash = Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64;
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A hash as a number in (0, 1): never 0, whose logarithm is no number. */
export const unit = (hash: number): number => (hash + 0.5) / 2 ** 32;
