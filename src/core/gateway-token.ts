/**
 * How one gateway (at the edge) proves itself to another (with the engine): a bearer token for one request, signed with a
 * secret that both know and that never travels. The signature covers the time, a nonce, the tenant of the caller it
 * speaks for (KV and response caches stay apart by it there too), the method, the path and the digest of the body, so
 * that a token that was overheard opens nothing else, and nothing twice.
 */
const prefix = 'tgs-';

/** A token is believed for so long, clocks apart included; its nonce is remembered for as long. */
export const tokenLivesMs = 60_000;

/** SHA-256 of the body, hex. It is checked where the body is read, because the token is checked before. */
export const bodyDigestHeader = 'x-tidegate-content-sha256';

/** What a token is for. */
export interface SignedRequest {
  readonly method: string;
  /** Below the base URL, with its query: `/chat/completions`. */
  readonly path: string;
  readonly bodyDigest: string;
}

export interface GatewayClaims {
  readonly tenant: string;
  readonly nonce: string;
}

/** Whether a bearer token claims to be another gateway’s; `verifyGatewayToken` tells whether it is. */
export const isGatewayToken = (credential: string): boolean => credential.startsWith(prefix);

/** A token for one request: good once, and for a moment from `nowMs` (Unix milliseconds). */
export async function signGatewayToken(
  secret: string,
  { tenant, nonce }: GatewayClaims,
  request: SignedRequest,
  nowMs: number,
): Promise<string> {
  const claims = `${Math.floor(nowMs)}.${nonce}.${toBase64Url(encoder.encode(tenant))}`;
  const signature = await crypto.subtle.sign('HMAC', await keyOf(secret), signedText(claims, request));
  return `${prefix}${claims}.${toBase64Url(new Uint8Array(signature))}`;
}

/** Whom the token speaks for; undefined where it is forged, for another request, too old or from the future. */
export async function verifyGatewayToken(
  secret: string,
  token: string,
  request: SignedRequest,
  nowMs: number,
): Promise<GatewayClaims | undefined> {
  const parts = token.slice(prefix.length).split('.');
  const [time = '', nonce = '', tenant = '', signature = ''] = parts;
  if (parts.length !== 4 || !/^\d+$/.test(time) || !/^\w{16,64}$/.test(nonce)) return undefined;
  const [given, name] = [fromBase64Url(signature), fromBase64Url(tenant)];
  if (!given || !name) return undefined;
  // `verify` compares in constant time.
  const text = signedText(`${time}.${nonce}.${tenant}`, request);
  if (!(await crypto.subtle.verify('HMAC', await keyOf(secret), given, text))) return undefined;
  if (Math.abs(nowMs - Number(time)) > tokenLivesMs / 2) return undefined;
  return { tenant: new TextDecoder().decode(name), nonce };
}

const encoder = new TextEncoder();

const signedText = (claims: string, { method, path, bodyDigest }: SignedRequest) =>
  encoder.encode(['tidegate-1', claims, method.toUpperCase(), path, bodyDigest].join('\n'));

const keys = new Map<string, Promise<CryptoKey>>();

function keyOf(secret: string): Promise<CryptoKey> {
  const known = keys.get(secret);
  if (known) return known;
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['sign', 'verify']);
  keys.clear(); // one secret at a time; another only after a reload
  keys.set(secret, key);
  return key;
}

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\w-]*$/.test(text)) return undefined;
  try {
    return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
