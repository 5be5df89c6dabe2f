import { GatewayError } from '../../core/errors.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import type { Asset } from '../asset.ts';
import { endpoint } from '../endpoint.ts';
import type { HttpDeps } from '../env.ts';

/** Files of the browsable reference, by name; undefined where there is none. */
export type DocsAsset = (name: string) => Promise<Asset | undefined>;

/** `GET /openapi.json`; made once, when somebody asks. */
export function openApi(deps: HttpDeps, version: string) {
  let document: object | undefined;
  return endpoint(
    deps,
    encodeError,
    async (_c, { json }) => {
      document ??= (await import('../openapi.ts')).openApiDocument(version);
      json(document);
    },
    { authenticated: false },
  );
}

const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tidegate API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="swagger-ui"><p>The reference is also at <a href="/openapi.json">/openapi.json</a>.</p></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
`;
const start = `const dark = matchMedia('(prefers-color-scheme: dark)');
const paint = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', paint);
paint();
SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, docExpansion: 'list' });
`;
const own: Readonly<Record<string, Asset>> = {
  '': { contentType: 'text/html; charset=utf-8', bytes: new TextEncoder().encode(page) },
  'start.js': { contentType: 'text/javascript; charset=utf-8', bytes: new TextEncoder().encode(start) },
};

/** `GET /docs`: Swagger UI from our own address, so that it works without any network. */
export const docs = (deps: HttpDeps, asset: DocsAsset = async () => undefined) =>
  endpoint(
    deps,
    encodeError,
    async (c, { sink, headers }) => {
      const name = c.req.param('file') ?? '';
      const found = Object.hasOwn(own, name) ? own[name] : await asset(name);
      if (!found) throw new GatewayError('not_found', 'There is no such file.');
      sink.start(200, {
        ...headers,
        'content-type': found.contentType,
        'content-length': String(found.bytes.length),
        'cache-control': name === '' ? 'no-cache' : 'max-age=3600',
        'content-security-policy':
          "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
      });
      sink.end(found.bytes);
    },
    { authenticated: false },
  );
