import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { NamedRequest } from '../../providers/shared/upstream.ts';
import { tidegate } from '../../providers/tidegate.ts';
import { headersByName, type Transport } from '../../src/core/transport.ts';
import { type RunningGateway, startGateway } from '../../src/node.ts';
import { memoryNonces } from '../../src/policy/nonces.ts';
import { type FaultyUpstream, faultyUpstream, openaiServer } from '../faulty-upstream.ts';
import { chatRequest, hear } from '../providers/support.ts';

const secret = 'a-secret-of-two-gateways-0123456789';
const folder = mkdtempSync(join(tmpdir(), 'tidegate-signed-'));
const text = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }] });
let upstream: FaultyUpstream;
let home: RunningGateway;

beforeAll(async () => {
  upstream = await faultyUpstream(openaiServer(['Hel', 'lo']));
  const file = join(folder, 'tidegate.yaml');
  writeFileSync(
    file,
    `
providers: { up: { type: openai-compatible, baseUrl: "${upstream.baseUrl}" } }
models: { m: { targets: [{ provider: up, model: m-1 }] } }
keys: { gatewaySecret: ${secret} }
`,
  );
  home = await startGateway({ port: 0, configFile: file, log: { level: 'silent' } });
});
afterAll(async () => {
  await home?.close();
  await upstream?.close();
  rmSync(folder, { recursive: true });
});

/** The request that a gateway at the edge would send: signed by its own provider, caught before it leaves. */
async function signed(body: string, by = secret, nowMs?: number): Promise<NamedRequest> {
  let caught: NamedRequest | undefined;
  const transport: Transport = {
    send: async (request) => {
      caught = { ...request, headers: headersByName(request.headers) };
      throw new Error('caught');
    },
  };
  const provider = tidegate({
    name: 'home',
    baseUrl: `${home.url}/v1`,
    secret: by,
    transport,
    now: () => nowMs ?? Date.now(),
  });
  await hear(provider, chatRequest(JSON.parse(body), body)).catch(() => {});
  if (!caught) throw new Error('nothing was sent');
  return caught;
}

const send = ({ url, method, headers, body }: NamedRequest) =>
  fetch(url, { method, headers, ...(body !== undefined && { body: body as string }) });

describe('a gateway with an engine, asked by one at the edge', () => {
  test('answers what is signed for it, and takes each signature once', async () => {
    const request = await signed(text);
    const answer = await send(request);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('Hello');
    const before = upstream.requests.length;
    expect((await send(request)).status).toBe(401);
    expect((await send(await signed(text))).status).toBe(200);
    expect(upstream.requests.length).toBe(before + 1);
  });

  const with_ = (request: NamedRequest, headers: Record<string, string>) => ({
    ...request,
    headers: { ...request.headers, ...headers },
  });
  const tokenOf = (request: NamedRequest) => (request.headers['authorization'] ?? '').slice('Bearer '.length);
  const changed = (part: number, to: string) => async () => {
    const request = await signed(text);
    const parts = tokenOf(request).split('.');
    parts[part] = to;
    return with_(request, { authorization: `Bearer ${parts.join('.')}` });
  };

  test.each<{ readonly name: string; readonly forge: () => Promise<NamedRequest> }>([
    { name: 'another secret', forge: () => signed(text, 'another-secret-another-secret-00') },
    { name: 'an old signature', forge: () => signed(text, secret, Date.now() - 31_000) },
    { name: 'a signature from the future', forge: () => signed(text, secret, Date.now() + 31_000) },
    { name: 'another body', forge: async () => ({ ...(await signed(text)), body: text.replace('hi', 'ho') }) },
    {
      name: 'another body with its own digest',
      forge: async () => {
        const [one, other] = [await signed(text), await signed(text.replace('hi', 'ho'))];
        const header = 'x-tidegate-content-sha256';
        return with_({ ...one, body: other.body ?? '' }, { [header]: other.headers[header] ?? '' });
      },
    },
    {
      name: 'no digest',
      forge: async () => {
        const request = await signed(text);
        const { 'x-tidegate-content-sha256': _, ...headers } = request.headers;
        return { ...request, headers };
      },
    },
    {
      name: 'another path',
      forge: async () => {
        const request = await signed(text);
        return { ...request, url: request.url.replace('chat/completions', 'responses') };
      },
    },
    {
      name: 'another query',
      forge: async () => {
        const request = await signed(text);
        return { ...request, url: `${request.url}?x=1` };
      },
    },
    {
      name: 'another method',
      forge: async () => {
        const { body: _, ...request } = await signed(text);
        return { ...request, method: 'GET' };
      },
    },
    { name: 'another time', forge: changed(0, `tgs-${Date.now() + 1}`) },
    { name: 'another nonce', forge: changed(1, 'AAAAAAAAAAAAAAAAAAAAAAAA') },
    { name: 'another tenant', forge: changed(2, btoa('somebody').replaceAll('=', '')) },
    { name: 'no signature', forge: changed(3, '') },
    { name: 'a signature that is no base64', forge: changed(3, '***') },
  ])('refuses $name', async ({ forge }) => {
    const before = upstream.requests.length;
    const answer = await send(await forge());
    expect(answer.status).toBe(401);
    await answer.text();
    expect(upstream.requests.length).toBe(before);
  });
});

test('nonces are taken once while they are remembered, and refused rather than forgotten too early', () => {
  let at = 0;
  const nonces = memoryNonces({ clock: { now: () => at, wall: () => at }, max: 3 });
  const keepMs = 1000;
  expect(nonces.fresh('a', keepMs)).toBe(true);
  expect(nonces.fresh('a', keepMs)).toBe(false);
  at = 1500;
  expect(nonces.fresh('a', keepMs)).toBe(false); // in the older half
  for (const nonce of ['b', 'c', 'd']) expect(nonces.fresh(nonce, keepMs)).toBe(true);
  expect(() => nonces.fresh('e', keepMs)).toThrow(/Too many/);
  at = 5000;
  expect(nonces.fresh('a', keepMs)).toBe(true);
});
