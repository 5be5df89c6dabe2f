import { generateKeyPairSync } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import { jwtVerify } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createProvider } from '../../providers/registry.ts';
import { readable } from '../../src/core/request.ts';
import { type FaultyUpstream, faultyUpstream, json } from '../faulty-upstream.ts';
import { gemini } from '../fixtures/providers/gemini.ts';
import { openai } from '../fixtures/providers/openai.ts';
import { chatRequest, hear, transport } from './support.ts';

let upstream: FaultyUpstream;
let tokens: FaultyUpstream;
beforeAll(async () => {
  [upstream, tokens] = await Promise.all([faultyUpstream(), faultyUpstream()]);
});
afterAll(() => Promise.all([upstream.close(), tokens.close()]));

const hi = readable(chatRequest({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }));
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const account = () =>
  JSON.stringify({
    type: 'service_account',
    client_email: 'svc@p.iam.gserviceaccount.com',
    private_key_id: 'kid1',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    token_uri: `${tokens.url}/token`,
  });
const vertex = (credentials: string) =>
  createProvider(
    'v',
    { type: 'vertex', project: 'p', location: 'us-central1', credentials, baseUrl: `${upstream.url}/v1` },
    { transport },
  );

test('Vertex: a JWT signed by the service account is exchanged once for many requests', async () => {
  tokens.answer(json({ access_token: 'ya29.one', expires_in: 3600, token_type: 'Bearer' }));
  upstream.answer({ body: [String(gemini.hello.body)] });
  const provider = vertex(account());
  const before = tokens.requests.length;
  const heard = await Promise.all(Array.from({ length: 4 }, () => hear(provider, hi)));
  expect(heard.map(({ text }) => text)).toEqual(['Hello', 'Hello', 'Hello', 'Hello']);
  expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer ya29.one');
  expect(tokens.requests.length - before).toBe(1);
  const form = new URLSearchParams(tokens.requests.at(-1)?.text);
  expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
  const { payload, protectedHeader } = await jwtVerify(form.get('assertion') ?? '', publicKey, {
    issuer: 'svc@p.iam.gserviceaccount.com',
    audience: `${tokens.url}/token`,
  });
  expect([payload['scope'], protectedHeader.kid]).toEqual(['https://www.googleapis.com/auth/cloud-platform', 'kid1']);
});

test('Vertex: a token near its end is renewed, and a refusal names no secret', async () => {
  tokens.answer(
    json({ access_token: 'short', expires_in: 30 }),
    json({ error: 'invalid_grant', error_description: 'bad' }, 400),
  );
  upstream.answer({ body: [String(gemini.hello.body)] });
  const provider = vertex(account());
  expect((await hear(provider, hi)).error).toBeUndefined();
  const { error } = await hear(provider, hi);
  expect([error?.kind, error?.message.includes('PRIVATE')]).toEqual(['upstream_unauthorized', false]);
});

test('Vertex: what is no service account is refused when the provider is built', () => {
  expect(() => vertex('{"not":"one"}')).toThrow(/credentials/);
});

test('Azure: Entra client credentials become a bearer token', async () => {
  tokens.answer(json({ access_token: 'entra', expires_in: 3600 }));
  upstream.answer({ body: [String(openai.hello.body)] });
  const entra = { tenantId: 't1', clientId: 'c1', clientSecret: 'very-secret', authority: tokens.url };
  const provider = createProvider('a', { type: 'azure-openai', baseUrl: upstream.url, entra }, { transport });
  expect((await hear(provider, hi)).text).toBe('Hello');
  expect(tokens.requests.at(-1)?.path).toBe('/t1/oauth2/v2.0/token');
  expect(tokens.requests.at(-1)?.text).toContain('scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default');
  expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer entra');
});

test('Bedrock: the signature is what AWS would compute from the request that arrived', async () => {
  upstream.answer(json({ message: 'enough' }, 400));
  const keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG' };
  const provider = createProvider(
    'b',
    { type: 'bedrock', region: 'eu-west-1', ...keys, sessionToken: 'st', baseUrl: upstream.url },
    { transport },
  );
  await hear(provider, { ...hi, model: 'eu.anthropic.claude-x-v1:0' });
  const seen = upstream.requests.at(-1);
  const signed = /SignedHeaders=([^,]+)/.exec(seen?.headers.authorization ?? '')?.[1]?.split(';') ?? [];
  const headers = Object.fromEntries(signed.map((name) => [name, String(seen?.headers[name] ?? '')]));
  const again = await new AwsV4Signer({
    method: 'POST',
    url: `${upstream.url}${seen?.path}`,
    headers,
    body: seen?.text ?? '',
    ...keys,
    service: 'bedrock',
    region: 'eu-west-1',
    datetime: String(seen?.headers['x-amz-date']),
  }).sign();
  expect(signed).toContain('x-amz-security-token');
  expect(again.headers.get('authorization')).toBe(seen?.headers.authorization);
});
