import * as z from 'zod';
import { GatewayError } from '../../src/core/errors.ts';
import { isJsonObject } from '../../src/core/json.ts';
import { once } from '../../src/core/once.ts';
import type { Transport, TransportRequest } from '../../src/core/transport.ts';
import { parseAnswer, readText } from './read-body.ts';
import { type SignRequest, withBearer } from './upstream.ts';
import { upstreamError } from './upstream-error.ts';

/** A bearer token and when it ends, unix milliseconds. */
export interface Token {
  readonly value: string;
  readonly expiresAt: number;
}

/** Renewed this long before the end, so that no request meets an old one. */
const marginMs = 60_000;

/**
 * Signs with a token that is fetched when needed and kept until shortly before its end; many requests at once cause
 * one fetch. A caller's own key is taken as a token.
 */
export function signWithToken(fetchToken: () => Promise<Token>, wallMs: () => number = Date.now): SignRequest {
  let current: Token | undefined;
  let fetching: Promise<Token> | undefined;
  const token = (): Promise<Token> => {
    if (current && current.expiresAt - marginMs > wallMs()) return Promise.resolve(current);
    fetching ??= fetchToken()
      .then((fresh) => {
        current = fresh;
        return fresh;
      })
      .finally(() => {
        fetching = undefined;
      });
    return fetching;
  };
  return async (request, own) => withBearer(request, own ?? (await token()).value);
}

const serviceAccount = once(() =>
  z.object({
    client_email: z.string(),
    private_key: z.string(),
    private_key_id: z.string().nullish(),
    token_uri: z.string().default('https://oauth2.googleapis.com/token'),
  }),
);

/**
 * OAuth tokens for a Google service account: a JWT signed with WebCrypto, exchanged at the token address
 * (https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests). `credentials` is the
 * text of the account's JSON key.
 */
export function googleTokens(
  credentials: string,
  transport: Transport,
  wallMs: () => number = Date.now,
): () => Promise<Token> {
  const account = parseAccount(credentials);
  return async () => {
    const { importPKCS8, SignJWT } = await import('./jose.ts');
    const key = await importPKCS8(account.private_key, 'RS256').catch((error: unknown) => {
      throw new GatewayError('upstream_unauthorized', 'The service account’s private key cannot be read.', {
        cause: error,
      });
    });
    const now = Math.floor(wallMs() / 1000);
    const assertion = await new SignJWT({ scope: 'https://www.googleapis.com/auth/cloud-platform' })
      .setProtectedHeader({
        alg: 'RS256',
        typ: 'JWT',
        ...(account.private_key_id ? { kid: account.private_key_id } : {}),
      })
      .setIssuer(account.client_email)
      .setAudience(account.token_uri)
      .setIssuedAt(now)
      .setExpirationTime(now + 3600)
      .sign(key);
    const form = { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion };
    return exchange(transport, account.token_uri, form, wallMs);
  };
}

/** Tokens of the machine itself, on Google's cloud. */
export function googleMetadataTokens(transport: Transport, wallMs: () => number = Date.now): () => Promise<Token> {
  const url = 'http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token';
  return () => fetchToken(transport, { method: 'GET', url, headers: { 'metadata-flavor': 'Google' } }, wallMs);
}

export interface EntraCredentials {
  readonly tenantId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** For other clouds and for tests. */
  readonly authority: string;
}

/** Microsoft Entra tokens for Azure's models, by client credentials. */
export function entraTokens(
  { tenantId, clientId, clientSecret, authority }: EntraCredentials,
  transport: Transport,
  wallMs: () => number = Date.now,
): () => Promise<Token> {
  const form = {
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
    scope: 'https://cognitiveservices.azure.com/.default',
  };
  return () => exchange(transport, `${authority}/${encodeURIComponent(tenantId)}/oauth2/v2.0/token`, form, wallMs);
}

function exchange(
  transport: Transport,
  url: string,
  form: Record<string, string>,
  wallMs: () => number,
): Promise<Token> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return fetchToken(transport, { method: 'POST', url, headers, body: new URLSearchParams(form).toString() }, wallMs);
}

async function fetchToken(transport: Transport, request: TransportRequest, wallMs: () => number): Promise<Token> {
  // Of its own: the token serves all who wait for it, so no single client may cancel it.
  const response = await transport.send(request, { signal: AbortSignal.timeout(10_000) });
  if (response.status !== 200) {
    const { message } = await upstreamError(response);
    throw new GatewayError('upstream_unauthorized', 'The upstream gave no access token for the configured account.', {
      cause: message,
    });
  }
  const body = parseAnswer(await readText(response.body, { maxBytes: 64 * 1024 }));
  const { access_token: value, expires_in: seconds } = isJsonObject(body) ? body : {};
  if (typeof value !== 'string') throw new GatewayError('upstream_unauthorized', 'The answer held no access token.');
  return { value, expiresAt: wallMs() + 1000 * (typeof seconds === 'number' ? seconds : 300) };
}

function parseAccount(credentials: string): z.infer<ReturnType<typeof serviceAccount>> {
  let value: unknown;
  try {
    value = JSON.parse(credentials);
  } catch {} // said below
  const parsed = serviceAccount().safeParse(value);
  if (parsed.success) return parsed.data;
  throw new GatewayError('invalid_request', '`credentials` must be the JSON key of a Google service account.');
}
