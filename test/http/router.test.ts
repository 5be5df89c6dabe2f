import { RegExpRouter } from 'hono/router/reg-exp-router';
import { SmartRouter } from 'hono/router/smart-router';
import { TrieRouter } from 'hono/router/trie-router';
import { expect, test } from 'vitest';
import { createRouter } from '../../src/http/router.ts';

const table = [
  ['GET', '/v1/models'],
  ['GET', '/v1/models/:id{.+}'],
  ['POST', '/v1/chat/completions'],
  ['GET', '/v1/chat/completions/:id'],
  ['GET', '/v1/chat/completions/:id/messages'],
  ['GET', '/v1/conversations/:id/items/:item'],
  ['POST', '/v1/models/load'],
  ['GET', '/openapi.json'],
  ['GET', '/docs/:file'],
  ['OPTIONS', '/*'],
  ['ALL', '/v1/models'],
  ['ALL', '/v1/models/:id{.+}'],
  ['ALL', '/v1/chat/completions/:id'],
  ['ALL', '/docs/:file'],
] as const;

const ours = createRouter<string>();
const hono = new SmartRouter<string>({ routers: [new RegExpRouter(), new TrieRouter()] });
for (const [index, [method, path]] of table.entries()) {
  for (const router of [ours, hono]) router.add(method, path, `${index} ${method} ${path}`);
}

/** What answers, and with which parameters, whichever of Hono's two ways they are given in. */
function first(router: typeof ours, method: string, path: string) {
  const [matches, stash] = router.match(method, path);
  const [handler, params = {}] = matches[0] ?? [];
  const values = Object.entries(params).map(([name, value]) => [name, stash ? stash[Number(value)] : value]);
  return { handler, params: Object.fromEntries(values) };
}

const paths = [
  '/v1/models',
  '/v1/models/a',
  '/v1/models/org/name:tag',
  '/v1/models/load',
  '/v1/models/',
  '/v1/modelsx',
  '/v1/chat/completions',
  '/v1/chat/completions/x',
  '/v1/chat/completions/x%2Fy',
  '/v1/chat/completions/x/messages',
  '/v1/chat/completions/x/y',
  '/v1/conversations/c/items/i',
  '/openapi.json',
  '/openapixjson',
  '/docs/ä b',
  '/docs/__proto__',
  '/__proto__',
  '/constructor',
  '/',
  '',
];

test.each(['GET', 'POST', 'DELETE', 'OPTIONS'])('%s is led where Hono’s own router leads it', (method) => {
  for (const path of paths) {
    expect({ path, ...first(ours, method, path) }).toEqual({ path, ...first(hono, method, path) });
  }
});
