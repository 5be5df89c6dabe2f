import { describe, expect, test } from 'vitest';
import { nodeDigest } from '../../src/core/digest.node.ts';
import { webDigest } from '../../src/core/digest.ts';
import type { KeyRecord } from '../../src/ledger/key-record.ts';
import { refuseOpenBind } from '../../src/policy/bind.ts';
import { createKeyring, type KeyringOptions, type KeyStore } from '../../src/policy/keyring.ts';
import { makeKey } from '../../src/policy/new-key.ts';

const digest = nodeDigest();

/** A store whose keys a test may change, and that may be lost. */
function storeOf(...records: KeyRecord[]) {
  const keys = new Map(records.map((record) => [record.digest, record]));
  const state = { lost: false, lookups: 0 };
  const store: KeyStore = {
    async byDigest(hash) {
      state.lookups++;
      if (state.lost) throw new Error('connection refused');
      return keys.get(hash);
    },
    async any() {
      if (state.lost) throw new Error('connection refused');
      return keys.size > 0;
    },
  };
  return { store, state, put: (record: KeyRecord) => keys.set(record.digest, record) };
}

const steps = () => {
  let now = 1_000_000;
  return { clock: { now: () => now, wall: () => now }, wait: (ms: number) => (now += ms) };
};

async function ring(options: Partial<KeyringOptions> = {}, wish: Partial<KeyRecord> = {}) {
  const { clock, wait } = steps();
  const { secret, record } = await makeKey({ name: 'ada', ...wish }, digest, clock);
  const kept = storeOf(record);
  return { keyring: createKeyring({ digest, store: kept.store, clock, ...options }), secret, record, wait, ...kept };
}

describe('a keyring', () => {
  test.each([
    ['Authorization: Bearer', (key: string) => ({ authorization: `Bearer ${key}` })],
    ['a lower-case bearer', (key: string) => ({ authorization: `bearer  ${key}` })],
    ['x-api-key', (key: string) => ({ 'x-api-key': key })],
    ['api-key', (key: string) => ({ 'api-key': key })],
    ['two headers that agree', (key: string) => ({ authorization: `Bearer ${key}`, 'x-api-key': key })],
  ])('knows its key from %s', async (_name, headers) => {
    const { keyring, secret, record } = await ring();
    expect(await keyring.authenticate(headers(secret))).toMatchObject({
      id: record.id,
      role: 'caller',
      tenant: record.id,
    });
  });

  test.each([
    ['no key', {}],
    ['another key', { authorization: 'Bearer tg-wrong' }],
    ['a key in a basic header', { authorization: 'Basic dGc6dGc=' }],
    ['a key of megabytes', { 'x-api-key': 'x'.repeat(1 << 20) }],
    ['the stored digest itself', { authorization: `Bearer ${'a'.repeat(64)}` }],
  ])('refuses %s with 401', async (_name, headers) => {
    const { keyring } = await ring();
    await expect(keyring.authenticate(headers)).rejects.toMatchObject({ status: 401 });
  });

  test.each([
    ['before', (key: string) => ({ authorization: `Bearer ${key}`, 'x-api-key': 'tg-other' })],
    ['after', (key: string) => ({ authorization: 'Bearer tg-other', 'x-goog-api-key': key })],
  ])('refuses two different keys, the right one %s the wrong one', async (_name, headers) => {
    const { keyring, secret } = await ring();
    await expect(keyring.authenticate(headers(secret))).rejects.toMatchObject({ status: 401 });
  });

  test('never keeps the key: the record holds a digest, and eight characters for people', async () => {
    const { secret, record } = await ring();
    expect(secret).toMatch(/^tg-[\w]{43}$/);
    expect(JSON.stringify(record)).not.toContain(secret.slice(3, 20));
    expect(record.digest).toMatch(/^[0-9a-f]{64}$/);
  });

  test('sees a revocation within its freshness and not before it asks again', async () => {
    const { keyring, secret, record, put, wait, state } = await ring({ freshMs: 2000 });
    const headers = { authorization: `Bearer ${secret}` };
    await keyring.authenticate(headers);
    put({ ...record, revokedAt: 1_000_000 });
    await keyring.authenticate(headers);
    expect(state.lookups).toBe(1);
    wait(2001);
    await expect(keyring.authenticate(headers)).rejects.toMatchObject({ status: 401 });
  });

  test('refuses a key from the moment it expires', async () => {
    const { keyring, secret, wait } = await ring({}, { expiresAt: 1_000_500 });
    const headers = { authorization: `Bearer ${secret}` };
    await keyring.authenticate(headers);
    wait(500);
    await expect(keyring.authenticate(headers)).rejects.toMatchObject({ code: 'expired_api_key' });
  });

  test('believes a key it has seen while the store is lost, no other, and not for ever', async () => {
    const { keyring, secret, wait, state } = await ring({ graceMs: 60_000 });
    const headers = { authorization: `Bearer ${secret}` };
    await keyring.authenticate(headers);
    state.lost = true;
    wait(30_000);
    expect(await keyring.authenticate(headers)).toMatchObject({ name: 'ada' });
    await expect(keyring.authenticate({ 'x-api-key': 'tg-new' })).rejects.toMatchObject({ status: 503 });
    wait(40_000);
    await expect(keyring.authenticate(headers)).rejects.toMatchObject({ status: 503 });
  });

  test('a store that hangs holds nobody up whose key it has seen; what it tells late still counts', async () => {
    const { keyring, secret, wait, put, record, store } = await ring();
    const headers = { authorization: `Bearer ${secret}` };
    await keyring.authenticate(headers);
    const { byDigest, any } = { ...store };
    let answer = () => {};
    const hangs = new Promise<void>((resolve) => {
      answer = resolve;
    });
    store.byDigest = async (hash) => hangs.then(() => byDigest(hash));
    store.any = async () => hangs.then(() => any());
    wait(2001);
    const since = performance.now();
    expect(await keyring.authenticate(headers)).toMatchObject({ name: 'ada' });
    expect(performance.now() - since).toBeLessThan(5000);
    const then = performance.now();
    for (let i = 0; i < 20; i++) await keyring.authenticate(headers);
    expect(performance.now() - then).toBeLessThan(400); // not asked anew by each
    put({ ...record, revokedAt: 1 });
    answer();
    const tried = async () => keyring.authenticate(headers);
    await expect.poll(() => tried().catch((error: unknown) => error), { timeout: 5000 }).toMatchObject({ status: 401 });
  });

  test('a gateway without any key is open, and closes by itself when there is one', async () => {
    const { clock, wait } = steps();
    const kept = storeOf();
    const keyring = createKeyring({ digest, store: kept.store, clock });
    expect(await keyring.authenticate({ authorization: 'Bearer sk-anything' })).toMatchObject({ id: 'anonymous' });
    kept.put((await makeKey({ name: 'first' }, digest)).record);
    wait(2001);
    await expect(keyring.authenticate({})).rejects.toMatchObject({ status: 401 });
  });

  test('a store that was never reached lets nobody in', async () => {
    const kept = storeOf();
    kept.state.lost = true;
    await expect(createKeyring({ digest, store: kept.store }).authenticate({})).rejects.toMatchObject({ status: 503 });
  });

  test('however many keys somebody guesses, those that are right stay known while the store is lost', async () => {
    const { keyring, secret, state } = await ring();
    await keyring.authenticate({ 'x-api-key': secret });
    for (let i = 0; i < 25_000; i++) {
      await Promise.resolve(keyring.authenticate({ 'x-api-key': `guess-${i}` })).catch(() => {});
    }
    state.lost = true;
    await expect(keyring.authenticate({ 'x-api-key': secret })).resolves.toMatchObject({ name: 'ada' });
  });

  test('many requests with a new key ask the store once', async () => {
    const { keyring, secret, state } = await ring();
    await Promise.all(Array.from({ length: 50 }, () => keyring.authenticate({ 'x-api-key': secret })));
    expect(state.lookups).toBe(1);
  });
});

test.each([undefined, 'pepper'])('both digests agree (pepper: %s)', async (pepper) => {
  expect(await webDigest(pepper)('tg-ключ')).toBe(nodeDigest(pepper)('tg-ключ'));
  expect(nodeDigest('pepper')('a')).not.toBe(nodeDigest()('a'));
});

test.each([
  ['127.0.0.1', true, true],
  ['127.8.9.1', true, true],
  ['localhost', true, true],
  ['::1', true, true],
  ['0.0.0.0', true, false],
  ['::', true, false],
  ['192.168.1.4', true, false],
  ['127.0.0.1.example.com', true, false],
  ['0.0.0.0', false, true],
])('listening on %s (open: %s) is allowed: %s', (host, open, allowed) => {
  expect(refuseOpenBind(host, open) === undefined).toBe(allowed);
});
