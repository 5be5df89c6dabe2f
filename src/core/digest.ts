/** SHA-256, or HMAC-SHA-256 with a pepper, of a text: 64 hex digits. How keys are kept, and what answers are stored under. */
export type Digest = (text: string) => string | Promise<string>;

/** Web Crypto; runs everywhere, some 30 µs per call. Node uses `digest.node.ts`, which does not leave the thread. */
export function webDigest(pepper?: string): Digest {
  const encoder = new TextEncoder();
  if (!pepper) return async (secret) => hex(await crypto.subtle.digest('SHA-256', encoder.encode(secret)));
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = crypto.subtle.importKey('raw', encoder.encode(pepper), algorithm, false, ['sign']);
  return async (secret) => hex(await crypto.subtle.sign('HMAC', await key, encoder.encode(secret)));
}

/** SHA-256 of a body as it goes over the wire. */
export async function bodyDigest(body: string | Uint8Array | undefined): Promise<string> {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : (body ?? new Uint8Array());
  return hex(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)); // any buffer is hashed; the types name one
}

function hex(bytes: ArrayBuffer): string {
  let text = '';
  for (const byte of new Uint8Array(bytes)) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** Compares two digests in a time that depends on their length only. */
export function equalDigests(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % (b.length || 1));
  return difference === 0;
}
