import type { Caller } from '../../core/run.ts';
import type { EngineStatus } from '../../core/status.ts';
import type { History } from '../../observability/history.ts';
import { encodeError } from '../../wire/openai/errors.ts';
import { adminEndpoint } from '../admin.ts';
import type { Handler, RouteEntry } from '../app.ts';
import type { Asset } from '../asset.ts';
import { parseJsonObject, readBody } from '../body.ts';
import { endpoint } from '../endpoint.ts';
import { type AppContext, type HttpDeps, headersOf } from '../env.ts';

export type { Asset };

/** What the dashboard shows and does beyond the API that everybody has. What a root cannot do is absent. */
export interface DashboardDeps {
  readonly history: History;
  readonly version: string;
  /** `index.html`, `main.js`, `main.css` by name; undefined where there is none. */
  readonly asset: (name: string) => Promise<Asset | undefined>;
  readonly settings?: Settings;
  readonly models?: ModelsAdmin;
  /** What the filters of a route make of a text. */
  readonly tryFilters?: (input: TryFilters) => Promise<object>;
  /** Distributions and drift per version. */
  readonly quality?: () => object;
}

export interface Settings {
  /** The effective configuration with secrets masked, and where each value came from. */
  show(): Promise<ShownSettings>;
  /** Checks a text as if it were the file. */
  check(text: string): Promise<readonly SettingProblem[]>;
}

export interface ShownSettings {
  readonly file?: string;
  readonly text: string;
  readonly values: readonly SettingValue[];
}

export interface SettingProblem {
  readonly line?: number;
  readonly path: string;
  readonly message: string;
}

export interface SettingValue {
  readonly path: string;
  readonly value: string;
  readonly origin: 'default' | 'file' | 'environment' | 'flag';
}

export interface ModelsAdmin {
  list(): Promise<readonly ModelRow[]>;
  /** Calls `progress` as bytes arrive. */
  pull?(name: string, progress: (done: number, total: number | undefined) => void, signal: AbortSignal): Promise<void>;
  load?(name: string): Promise<void>;
  unload?(name: string): Promise<void>;
  /** Sends this share (0..1) of the traffic to a target. */
  share?(model: string, target: string, share: number): Promise<void>;
}

export interface ModelRow {
  readonly name: string;
  readonly state: 'absent' | 'unloaded' | 'loading' | 'ready' | 'failed' | 'remote';
  readonly sizeBytes?: number;
  readonly detail?: string;
  /** What the engine says, of a local model that is loaded. */
  readonly engine?: EngineStatus;
  /** `movable`: a version of a trial, which can be promoted and rolled back. */
  readonly versions: readonly {
    readonly target: string;
    readonly share: number;
    readonly role?: string;
    readonly movable?: boolean;
  }[];
}

export interface TryFilters {
  readonly model: string;
  readonly text: string;
  readonly side: 'input' | 'output';
}

/** Scripts and styles of our own only: a page that shows what models say must not run what they say. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const pageHeaders = {
  'content-security-policy': contentSecurityPolicy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
};

/** The browser app at `/`, and the admin API under it. */
export function dashboardRoutes(deps: HttpDeps, parts: DashboardDeps): readonly RouteEntry[] {
  const { history, version, asset, settings, models, tryFilters, quality } = parts;
  const file = (nameOf: (c: AppContext) => string) =>
    endpoint(
      deps,
      encodeError,
      async (c, { sink, headers, json }) => {
        const name = nameOf(c);
        const found = await asset(name);
        if (!found) return json(encodeMissing(), 404);
        sink.start(200, {
          ...headers,
          ...pageHeaders,
          'content-type': found.contentType,
          'content-length': String(found.bytes.length),
          'cache-control': name === 'index.html' ? 'no-cache' : 'no-cache, must-revalidate',
        });
        sink.end(found.bytes);
      },
      { authenticated: false },
    );

  const who = endpoint(deps, encodeError, async (_c, { context, json }) =>
    json({
      ...callerJson(context.caller),
      version,
      can: {
        settings: settings !== undefined,
        models: models !== undefined,
        pull: models?.pull !== undefined,
        load: models?.load !== undefined,
        unload: models?.unload !== undefined,
        share: models?.share !== undefined,
        filters: tryFilters !== undefined,
        quality: quality !== undefined,
      },
    }),
  );

  const requests = adminEndpoint(deps, async (c, { json }) => {
    const { q, model, outcome, caller, before, limit } = c.req.query();
    const found = history.find({
      ...(q && { text: q }),
      ...(model && { model }),
      ...(outcome && { outcome }),
      ...(caller && { callerId: caller }),
      ...(before && { before: Number(before) || 0 }),
      limit: Math.min(500, Math.max(1, Number(limit) || 100)),
    });
    json({ object: 'list', data: found.map(({ number, record }) => ({ number, ...record })) });
  });

  const routes: RouteEntry[] = [
    ['GET', '/', home(file(() => 'index.html'))],
    ['GET', '/ui/:name', file((c) => c.req.param('name') ?? '')],
    ['GET', '/admin/me', who],
    ['GET', '/admin/requests', requests],
  ];
  if (quality) routes.push(['GET', '/admin/quality', adminEndpoint(deps, async (_c, { json }) => json(quality()))]);
  if (settings) {
    routes.push(
      ['GET', '/admin/settings', adminEndpoint(deps, async (_c, { json }) => json(await settings.show()))],
      [
        'POST',
        '/admin/settings/check',
        adminEndpoint(deps, async (c, { json }) => {
          const { text } = await bodyOf(c);
          json({ problems: await settings.check(typeof text === 'string' ? text : '') });
        }),
      ],
    );
  }
  if (tryFilters) {
    routes.push([
      'POST',
      '/admin/filters/try',
      adminEndpoint(deps, async (c, { json }) => {
        const { model, text, side } = await bodyOf(c);
        json(
          await tryFilters({
            model: String(model ?? ''),
            text: String(text ?? ''),
            side: side === 'input' ? 'input' : 'output',
          }),
        );
      }),
    ]);
  }
  if (models) routes.push(...modelRoutes(deps, models));
  return routes;
}

function modelRoutes(deps: HttpDeps, models: ModelsAdmin): readonly RouteEntry[] {
  const { pull, load, unload, share } = models;
  const list = adminEndpoint(deps, async (_c, { json }) => json({ object: 'list', data: await models.list() }));
  const routes: RouteEntry[] = [['GET', '/admin/models', list]];
  const named = (act: (name: string) => Promise<void>) =>
    adminEndpoint(deps, async (c, { json }) => {
      await act(String((await bodyOf(c)).model ?? ''));
      json({ object: 'list', data: await models.list() });
    });
  if (load) routes.push(['POST', '/admin/models/load', named(load)]);
  if (unload) routes.push(['POST', '/admin/models/unload', named(unload)]);
  if (share) {
    routes.push([
      'POST',
      '/admin/models/share',
      adminEndpoint(deps, async (c, { json }) => {
        const { model, target, share: wanted } = await bodyOf(c);
        await share(String(model ?? ''), String(target ?? ''), Math.min(1, Math.max(0, Number(wanted) || 0)));
        json({ object: 'list', data: await models.list() });
      }),
    ]);
  }
  if (pull) {
    // Progress as JSON lines: one object per line, the last one says how it ended.
    const pulling = adminEndpoint(deps, async (c, { context, sink, headers }) => {
      const { model } = await bodyOf(c);
      sink.start(200, { ...headers, 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
      const line = (value: object) => void sink.write(`${JSON.stringify(value)}\n`);
      let lastMs = 0;
      try {
        await pull(
          String(model ?? ''),
          (done, total) => {
            if (performance.now() - lastMs < 100) return;
            lastMs = performance.now();
            line({ done, ...(total !== undefined && { total }) });
          },
          context.signal,
        );
        line({ status: 'success' });
      } catch (error) {
        line({ status: 'error', message: error instanceof Error ? error.message : 'The download failed.' });
      }
      sink.end();
    });
    routes.push(['POST', '/admin/models/pull', pulling]);
  }
  return routes;
}

const bodyOf = async (c: AppContext) => parseJsonObject(await readBody(c, 1024 * 1024));
const encodeMissing = () => ({
  error: { message: 'There is no such file.', type: 'invalid_request_error', param: null, code: 'not_found' },
});
const callerJson = ({ id, role, name, team }: Caller) => ({ id, role, name, team });

/** The page for browsers; for all else what Ollama says there, which its apps look for before they begin. */
const home =
  (page: Handler): Handler =>
  (c) =>
    (headersOf(c)['accept'] ?? '').includes('text/html') ? page(c) : Promise.resolve(new Response('Ollama is running'));
