import type { JWTVerifyGetKey } from 'jose';
import { GatewayError } from '../core/errors.ts';
import type { Caller } from '../core/run.ts';
import type { KeysConfig } from './config.ts';

/** A key id nobody knows makes the provider's keys be fetched again, at most so often: how long a rotation may take to be seen. */
const rotationMs = 3000;

/** What jose says when the provider's keys could not be had: a slow, failing or nonsensical answer. */
const notTheToken = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC']);

export type JwtOptions = NonNullable<KeysConfig['jwt']>;

/**
 * Bearer tokens of one identity provider. Issuer, audience, expiry and subject are demanded, only asymmetric signatures
 * are believed, and nothing is cached across tokens: a collision would hand one person another's rights.
 */
export function createJwtVerifier(
  { issuer, audience, jwks, algorithms, teamClaim, roleClaim, modelsClaim }: JwtOptions,
  given?: JWTVerifyGetKey,
): (token: string) => Promise<Caller> {
  let keys = given;
  return async (token) => {
    const { createRemoteJWKSet, jwtVerify } = await import('./jose.ts'); // loaded by who has such tokens
    keys ??= createRemoteJWKSet(new URL(jwks), { timeoutDuration: 3000, cooldownDuration: rotationMs });
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience,
        algorithms: [...algorithms],
        requiredClaims: ['sub', 'exp'],
        clockTolerance: 5,
      });
      const id = `jwt:${payload.sub}`;
      const team = payload[teamClaim];
      const models = namesOf(payload[modelsClaim]);
      return {
        id,
        role: payload[roleClaim] === 'admin' ? 'admin' : 'caller',
        tags: [],
        tenant: id,
        ...(typeof payload['email'] === 'string' && { name: payload['email'] }),
        ...(typeof team === 'string' && { team }),
        ...(models && { models }),
      };
    } catch (cause) {
      const code = codeOf(cause);
      if (code === 'ERR_JWT_EXPIRED') {
        throw new GatewayError('unauthorized', 'This token has expired.', { cause, code: 'expired_api_key' });
      }
      if (code === undefined || notTheToken.has(code)) {
        throw new GatewayError('unavailable', "The identity provider's keys cannot be fetched just now.", {
          cause,
          retryAfterMs: 2000,
        });
      }
      throw new GatewayError('unauthorized', 'This token is not valid here.', { cause });
    }
  };
}

/** A list of names, or one text with spaces between them as OAuth writes scopes. A claim of another kind allows nothing. */
function namesOf(claim: unknown): readonly string[] | undefined {
  if (claim === undefined) return undefined;
  if (typeof claim === 'string') return claim.split(' ').filter(Boolean);
  return Array.isArray(claim) ? claim.filter((name) => typeof name === 'string') : [];
}

/** jose's own code; undefined where the failure is not about the token (the network). */
function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('ERR_J')
    ? error.code
    : undefined;
}
