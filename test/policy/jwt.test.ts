import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { nodeDigest } from '../../src/core/digest.node.ts';
import { createJwtVerifier, type JwtOptions } from '../../src/policy/jwt.ts';
import { createKeyring } from '../../src/policy/keyring.ts';

const options: JwtOptions = {
  issuer: 'https://id.example',
  audience: 'tidegate',
  jwks: 'https://id.example/jwks.json',
  algorithms: ['ES256'],
  teamClaim: 'team',
  roleClaim: 'role',
  modelsClaim: 'models',
};

const pair = await generateKeyPair('ES256');
const stranger = await generateKeyPair('ES256');
const jwks = createLocalJWKSet({ keys: [{ ...(await exportJWK(pair.publicKey)), alg: 'ES256' }] });
const keyring = createKeyring({ digest: nodeDigest(), jwt: createJwtVerifier(options, jwks) });

const claims = { sub: 'ada', iss: 'https://id.example', aud: 'tidegate', team: 'sea', models: ['demo'] };
const sign = (change: Record<string, unknown> = {}, key = pair.privateKey, expires = '5m') =>
  new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg: 'ES256' }).setExpirationTime(expires).sign(key);
const enter = (token: string) => keyring.authenticate({ authorization: `Bearer ${token}` });

test('a token of the provider names its caller, team and models', async () => {
  expect(await enter(await sign())).toEqual({
    id: 'jwt:ada',
    role: 'caller',
    team: 'sea',
    models: ['demo'],
    tags: [],
    tenant: 'jwt:ada',
  });
});

const unsigned = () =>
  `${btoa('{"alg":"none"}')}.${btoa(JSON.stringify({ ...claims, exp: 9e9 }))}.e30`.replaceAll('=', '');
const symmetric = async () =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode(JSON.stringify(await exportJWK(pair.publicKey))));

test.each([
  ['another issuer', () => sign({ iss: 'https://evil.example' })],
  ['another audience', () => sign({ aud: 'other' })],
  ['another key', () => sign({}, stranger.privateKey)],
  ['an expired token', () => sign({}, pair.privateKey, '-1m')],
  ['no subject', () => sign({ sub: undefined })],
  ['no signature at all', async () => unsigned()],
  ['the public key used as a shared secret', symmetric],
])('%s is refused with 401', async (_name, token) => {
  await expect(enter(await token())).rejects.toMatchObject({ status: 401 });
});
