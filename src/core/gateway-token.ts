/**
 * How one gateway (at the edge) proves itself to another (with the engine): a bearer token that lives a minute and is
 * signed with a secret both know, so that the secret never travels. It carries the tenant of the caller it speaks for,
 * because KV and response caches must stay apart by it there too.
 */
const prefix = 'tgs-';
const livesMs = 60_000;

export const isGatewayToken = (credential: string): boolean => credential.startsWith(prefix);

export async function signGatewayToken(secret: string, tenant: string, nowMs: number): Promise<string> {
  const claims = `${Math.floor(nowMs)}.${base64Url(new TextEncoder().encode(tenant))}`;
  return `${prefix}${claims}.${await mac(secret, claims)}`;
}

/** The tenant that the token speaks for; undefined where it is forged, too old or from the future. */
export async function verifyGatewayToken(secret: string, token: string, nowMs: number): Promise<string | undefined> {
  const [time = '', tenant = '', signature = ''] = token.slice(prefix.length).split('.');
  const expected = await mac(secret, `${time}.${tenant}`);
  if (!sameText(expected, signature)) return undefined;
  if (Math.abs(nowMs - Number(time)) > livesMs) return undefined;
  return new TextDecoder().decode(
    Uint8Array.from(atob(tenant.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0)),
  );
}

async function mac(secret: string, text: string): Promise<string> {
  const encoder = new TextEncoder();
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['sign']);
  return base64Url(new Uint8Array(await crypto.subtle.sign('HMAC', key, encoder.encode(text))));
}

function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % (b.length || 1));
  return difference === 0;
}
