import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tidegate } from '../../cli/run-cli.ts';
import { gatewayOf } from './harness.ts';

const page = 'https://app.example';

/** Node's own client, because `fetch` chooses some of these headers itself. */
const ask = (url: string, method: string, headers: Record<string, string>) =>
  new Promise<{ status: number | undefined; headers: IncomingHttpHeaders }>((resolve, reject) => {
    const sent = request(`${url}/v1/models`, { method, headers }, (response) => {
      response.resume().once('end', () => resolve({ status: response.statusCode, headers: response.headers }));
    });
    sent.once('error', reject).end();
  });

test('an open gateway is for this machine; one with keys is for any host and page, also when its last key is revoked', async () => {
  const { gateway, call } = await gatewayOf('keys: { fresh: 50ms }\nledger: {}\n');
  const { url } = gateway();
  const status = async (headers: Record<string, string>) => (await ask(url, 'GET', headers)).status;
  const preflight = () =>
    ask(url, 'OPTIONS', {
      origin: page,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization',
    });
  expect(await status({})).toBe(200);
  expect(await status({ host: 'tide.example' })).toBe(403);
  expect(await status({ origin: page })).toBe(403);
  expect((await preflight()).headers['access-control-allow-origin']).toBeUndefined();

  const made = await call('POST', '/admin/keys', { name: 'ada', role: 'admin' }, {}, '');
  const { id, key } = (await made.json()) as { id: string; key: string };
  const authorization = `Bearer ${key}`;
  await expect.poll(() => status({})).toBe(401);
  expect(await status({ authorization, host: 'tide.example', origin: page })).toBe(200);
  expect((await ask(url, 'GET', { authorization, origin: page })).headers['access-control-allow-origin']).toBe('*');
  expect((await preflight()).headers).toMatchObject({
    'access-control-allow-origin': '*',
    'access-control-allow-headers': 'authorization',
  });

  expect((await call('DELETE', `/admin/keys/${id}`, undefined, {}, key)).status).toBe(200);
  await expect.poll(() => status({ authorization })).toBe(401);
  expect(await status({})).toBe(401);
});

test('the first key that the command line makes closes a gateway that runs without a ledger', async () => {
  const { gateway, folder, lines, restart } = await gatewayOf('keys: { fresh: 50ms }\n');
  const status = async (headers: Record<string, string> = {}) => (await ask(gateway().url, 'GET', headers)).status;
  expect(await status()).toBe(200);
  const made = await tidegate(['keys', 'create', '--name', 'ada', '-c', join(folder.path, 'tidegate.yaml')]);
  expect(made).toMatchObject({ code: 0 });
  const authorization = `Bearer ${made.stdout.trim()}`;
  await expect.poll(() => status()).toBe(401);
  expect(await status({ authorization: 'Bearer tg-wrong' })).toBe(401);
  expect(await status({ authorization })).toBe(200);
  expect(lines.filter((line) => line.includes('a ledger was made'))).toHaveLength(1);
  await restart();
  expect([await status(), await status({ authorization })]).toEqual([401, 200]);
});

test('a health check by HTTP/1.0 need not name a host', async () => {
  const { gateway } = await gatewayOf('');
  const { hostname, port } = new URL(gateway().url);
  const answer = new Promise<string>((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write('GET /health/live HTTP/1.0\r\n\r\n'));
    let text = '';
    socket.on('data', (piece) => {
      text += piece;
    });
    socket.once('end', () => resolve(text)).once('error', reject);
  });
  expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
});
