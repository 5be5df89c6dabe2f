import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLocalJWKSet, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, expect, test, vi } from 'vitest';
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
  ['no expiry', () => new SignJWT(claims).setProtectedHeader({ alg: 'ES256' }).sign(pair.privateKey)],
  ['no signature at all', async () => unsigned()],
  ['the public key used as a shared secret', symmetric],
])('%s is refused with 401', async (_name, token) => {
  await expect(enter(await token())).rejects.toMatchObject({ status: 401 });
});

test('a signature of an algorithm that is not configured is refused, though the key is the provider’s', async () => {
  const rsa = await generateKeyPair('PS256');
  const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(rsa.publicKey)), alg: 'PS256' }] });
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'PS256' })
    .setExpirationTime('5m')
    .sign(rsa.privateKey);
  const algorithms: JwtOptions['algorithms'] = ['PS256'];
  expect((await createJwtVerifier({ ...options, algorithms }, keys)(token)).id).toBe('jwt:ada');
  await expect(createJwtVerifier(options, keys)(token)).rejects.toMatchObject({ status: 401 });
});

test.each([
  ['one text with spaces', 'demo other', ['demo', 'other']],
  ['something else', { demo: true }, []],
  ['a list with other things in it', ['demo', 5, null], ['demo']],
])('a models claim that is %s never means all models', async (_name, models, allowed) => {
  expect((await enter(await sign({ models }))).models).toEqual(allowed);
});

afterEach(() => {
  vi.useRealTimers();
});

test('keys are fetched from the provider, again when one is unknown, and its outage is not the caller’s fault', async () => {
  const next = await generateKeyPair('ES256');
  const published = [{ ...(await exportJWK(pair.publicKey)), alg: 'ES256', kid: 'one' }];
  let answer = (): [number, string] => [200, JSON.stringify({ keys: published })];
  let fetched = 0;
  const server = createServer((_request, response) => {
    fetched++;
    const [status, text] = answer();
    response.writeHead(status, { 'content-type': 'application/json' }).end(text);
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`; // a TCP server's address
  const verify = createJwtVerifier({ ...options, jwks: url });
  const signed = (kid: string, key = pair.privateKey) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid }).setExpirationTime('5m').sign(key);

  answer = () => [500, 'down'];
  await expect(verify(await signed('one'))).rejects.toMatchObject({ status: 503, retryAfterMs: 2000 });
  answer = () => [200, '<html>'];
  await expect(verify(await signed('one'))).rejects.toMatchObject({ status: 503 });
  answer = () => [200, JSON.stringify({ keys: published })];
  expect((await verify(await signed('one'))).id).toBe('jwt:ada');
  const before = fetched;
  for (let i = 0; i < 5; i++) {
    await expect(verify(await signed('unknown', next.privateKey))).rejects.toMatchObject({ status: 401 });
  }
  expect(fetched - before).toBe(0); // strangers do not make it ask at every request
  published.push({ ...(await exportJWK(next.publicKey)), alg: 'ES256', kid: 'two' });
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 4000 });
  expect((await verify(await signed('two', next.privateKey))).id).toBe('jwt:ada');
  expect((await verify(await signed('one'))).id).toBe('jwt:ada');
  await new Promise((done) => server.close(done));
});
