import { expect, test } from 'vitest';
import type { Provider } from '../../src/core/provider.ts';
import { defaultHttpOptions } from '../../src/http/env.ts';
import { appWith, chat } from '../app.ts';
import { scripted } from '../scripted.ts';

test.each([
  { name: 'a page of another site', headers: { origin: 'https://evil.example', host: '127.0.0.1:8787' }, status: 403 },
  { name: 'a sandboxed frame', headers: { origin: 'null', host: '127.0.0.1:8787' }, status: 403 },
  {
    name: 'a page whose name only begins like ours',
    headers: { origin: 'http://127.0.0.1.evil.example', host: '127.0.0.1:8787' },
    status: 403,
  },
  {
    name: 'a page served on this machine',
    headers: { origin: 'http://localhost:3000', host: '127.0.0.1:8787' },
    status: 200,
  },
  {
    name: 'our own dashboard behind a proxy',
    headers: { origin: 'https://tide.example', host: 'tide.example' },
    status: 200,
  },
  {
    name: 'a browser extension',
    headers: { origin: 'chrome-extension://abcdef', host: '127.0.0.1:8787' },
    status: 200,
  },
  { name: 'an SDK, which sends no origin', headers: { host: '127.0.0.1:8787' }, status: 200 },
])('$name gets $status, also for a simple POST that asks nobody before', async ({ headers, status }) => {
  const provider = scripted(['a']);
  const response = await chat(
    appWith(provider),
    {},
    { ...(headers as Record<string, string>), 'content-type': 'text/plain' },
  );
  expect(response.status).toBe(status);
  expect(provider.requests).toHaveLength(status === 200 ? 1 : 0);
});

test('a host that one list lets in is asked for again where the list is another', async () => {
  const behind = (hosts: readonly string[]) => appWith(scripted(['a']), { options: { ...defaultHttpOptions, hosts } });
  const headers = { host: 'tide.example' };
  expect((await chat(behind(['tide.example']), {}, headers)).status).toBe(200);
  expect((await chat(behind(['other.example']), {}, headers)).status).toBe(403);
});

test.each([
  { name: 'a frame or picture of another site', headers: { 'sec-fetch-site': 'cross-site' }, status: 403 },
  {
    name: 'a page that may call',
    headers: { 'sec-fetch-site': 'cross-site', origin: 'http://localhost:3000' },
    status: 200,
  },
  { name: 'the address bar', headers: { 'sec-fetch-site': 'none' }, status: 200 },
  { name: 'an SDK', headers: {}, status: 200 },
])('$name gets $status where a GET loads a model', async ({ headers, status }) => {
  const loaded: string[] = [];
  const promptFacts: Provider['promptFacts'] = async ({ model }) => {
    loaded.push(model);
    return { contextTokens: 100, slots: 1, bosText: '', eosText: '' };
  };
  const app = appWith({ ...scripted(['a']), promptFacts });
  for (const path of ['/props', '/tokenizer_info?model=test']) {
    const asked = { host: '127.0.0.1:8787', ...(headers as Record<string, string>) };
    expect((await app.request(path, { headers: asked })).status).toBe(status);
  }
  expect(loaded).toHaveLength(status === 200 ? 2 : 0);
});
