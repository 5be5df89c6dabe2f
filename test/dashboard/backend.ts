import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noCache } from '../../src/cache/through.ts';
import { GatewayError } from '../../src/core/errors.ts';
import { noCapabilities, type Provider } from '../../src/core/provider.ts';
import { textOf } from '../../src/core/request.ts';
import { anonymous, type Caller } from '../../src/core/run.ts';
import { sleep } from '../../src/core/signals.ts';
import type { EngineStatus, Status } from '../../src/core/status.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { tryFilters } from '../../src/filters/try.ts';
import { createGateway } from '../../src/gateway.ts';
import { createActiveRequests } from '../../src/http/active.ts';
import { adminEndpoint } from '../../src/http/admin.ts';
import { createApp, type RouteEntry } from '../../src/http/app.ts';
import { parseJsonObject, readBody } from '../../src/http/body.ts';
import { defaultHttpOptions } from '../../src/http/env.ts';
import { dashboardRoutes, type ModelRow } from '../../src/http/routes/dashboard.ts';
import { feedbackRoutes } from '../../src/http/routes/feedback.ts';
import { liveRoutes } from '../../src/http/routes/live.ts';
import { listen } from '../../src/node/server.ts';
import { uiAssets } from '../../src/node/ui-assets.ts';
import { memoryFeedback } from '../../src/observability/feedback.ts';
import { createHistory } from '../../src/observability/history.ts';
import { createLive } from '../../src/observability/live.ts';
import { createQuality } from '../../src/observability/quality.ts';
import { createRecorder } from '../../src/observability/record.ts';
import { openPolicy, type Policy } from '../../src/policy/admit.ts';
import { noPrompts } from '../../src/prompts/render.ts';
import { createRouting } from '../../src/routing/attempt.ts';

const words = {
  small:
    'The tide rises because the Moon pulls the sea towards it, and it falls again when the Earth turns away. Twice a day the harbour fills and empties.',
  large:
    'Tides are the sea answering the Moon: its gravity draws the water into two gentle bulges, and as our planet spins beneath them each coast sees two high waters a day.',
};

/** Speaks word by word, with probabilities, so that there is something to see and to stop. */
function talker(name: string, text: string, delayMs: number, logprobs = true): Provider {
  return {
    name,
    capabilities: { ...noCapabilities, logprobs, seed: true, stop: true, tools: true },
    async *stream(request, { signal }) {
      const prompt = textOf(request.messages.at(-1)?.content ?? []);
      if (prompt.includes('fail'))
        throw new GatewayError('upstream_failed', 'The model is not to be reached just now.');
      await sleep(delayMs * 4, signal);
      const times = prompt.includes('endless') ? 100 : prompt.includes('long') ? 4 : 1;
      const pieces =
        Array(times)
          .fill(text)
          .join(' ')
          .match(/\s*\S+/g) ?? [];
      for (const [index, piece] of pieces.entries()) {
        await sleep(delayMs, signal);
        const probability = [0.98, 0.9, 0.62, 0.95, 0.34, 0.99, 0.12][index % 7] ?? 1;
        const top = [
          { token: piece, logprob: Math.log(probability), bytes: null },
          { token: ' sea', logprob: Math.log((1 - probability) * 0.7), bytes: null },
          { token: ' shore', logprob: Math.log((1 - probability) * 0.3), bytes: null },
        ];
        yield {
          type: 'text-delta',
          choice: 0,
          text: piece,
          ...(request.logprobs && { logprobs: [{ token: piece, logprob: Math.log(probability), bytes: null, top }] }),
        };
      }
      yield { type: 'finish', choice: 0, reason: 'stop' };
      yield {
        type: 'usage',
        usage: {
          promptTokens: 48,
          completionTokens: pieces.length,
          cachedTokens: 32,
          queueMs: delayMs,
          prefillMs: delayMs * 3,
          decodeMs: delayMs * pieces.length,
        },
      };
    },
  };
}

const engine: EngineStatus = {
  model: 'smollm2-135m-instruct',
  state: 'ready',
  slots: Array.from({ length: 8 }, (_, id) => ({
    id,
    state: id < 2 ? ('decode' as const) : id === 2 ? ('prefill' as const) : ('idle' as const),
    usedTokens: [1900, 640, 3000, 0, 410, 0, 0, 0][id] ?? 0,
    contextTokens: 8192,
    prefixTokens: id < 3 ? ([1200, 128, 2048][id] ?? 0) : 0,
  })),
  waiting: 1,
  running: 3,
  batchWidth: 3,
  kv: [
    { tier: 'slots', used: 5950, capacity: 65_536, unit: 'tokens' },
    { tier: 'memory', used: 310 * 2 ** 20, capacity: 2 ** 30, unit: 'bytes' },
  ],
  prefillTokensPerSecond: 410,
  decodeTokensPerSecond: 133,
  counters: {
    promptTokens: 9000,
    prefixHitTokens: 6100,
    prefillTokens: 2900,
    decodeTokens: 5200,
    draftedTokens: 0,
    acceptedTokens: 0,
    restarts: 0,
    preemptions: 0,
  },
};

export interface BackendOptions {
  readonly ui: string;
  /** Asks for this key. */
  readonly key?: string;
  readonly delayMs?: number;
}

/** The real http app, spine, live board and filters on a real socket; models, keys and settings are kept in memory. */
export async function startBackend({ ui, key, delayMs = 25 }: BackendOptions) {
  const status: Status = {
    engines: () => [engine],
    targets: () => [
      { target: 'local/smollm2-135m-instruct', breaker: 'closed', inFlight: 1, healthy: true },
      { target: 'cluster/qwen3-8b', breaker: 'half-open', inFlight: 0, healthy: false },
    ],
    budgets: () => [{ owner: 'key_1', usedUsd: 7.5, limitUsd: 10, budget: 'each-key' }],
  };
  const history = createHistory();
  const live = createLive({ status });
  const quality = createQuality({ referenceSize: 4, currentSize: 100 });
  const ticking = setInterval(live.tick, 1000);
  const small = talker('local', words.small, delayMs);
  const large = talker('cluster', words.large, delayMs * 1.5, false);
  const filters = createFilters(
    filtersSchema().parse({
      secrets: { kind: 'patterns', preset: 'secrets', action: 'mask' },
      personal: { kind: 'pii', action: 'mask' },
    }),
  );
  const routing = createRouting([
    {
      name: 'smollm2',
      filters: ['secrets', 'personal'],
      targets: [{ name: 'local/smollm2-135m-instruct', provider: small, model: 'm' }],
    },
    { name: 'chat', filters: [], targets: [{ name: 'cluster/qwen3-8b', provider: large, model: 'm' }] },
  ]);
  const policy = key === undefined ? openPolicy(anonymous) : keyPolicy(key);
  const gateway = createGateway({
    policy,
    prompts: noPrompts,
    routing,
    filters,
    cache: noCache,
    record: createRecorder([history.sink], undefined, { watchers: [live.watch, history.watch, quality.watch] }),
  });
  const deps = { gateway, policy, active: createActiveRequests(), options: defaultHttpOptions };
  const app = createApp({
    ...deps,
    describeModel: async () => ({ ownedBy: 'local', created: 0 }),
    health: () => ({ ready: true, parts: {} }),
    routes: [
      ...liveRoutes(deps, live),
      ...feedbackRoutes(deps, { history, store: memoryFeedback() }),
      ...dashboardRoutes(deps, {
        history,
        version: '0.1.0',
        quality: quality.report,
        asset: uiAssets(ui),
        models: memoryModels(),
        tryFilters: async ({ model, text, side }) =>
          tryFilters(filters, routing.find(model), { text, side }, contextForFilters),
        settings: {
          show: async () => ({
            file: 'tidegate.yaml',
            text: 'server:\n  port: 8787\nmodels:\n  smollm2:\n    targets: [{ local: smollm2-135m-instruct }]\n',
            values: [
              { path: 'server.host', value: '127.0.0.1', origin: 'default' },
              { path: 'server.port', value: '8787', origin: 'file' },
              { path: 'engine.slots', value: '8', origin: 'default' },
            ],
          }),
          check: async (text) =>
            text.includes('prot:')
              ? [{ line: 2, path: 'server.prot', message: "is not known; did you mean 'port'?" }]
              : [],
        },
      }),
      ...memoryKeys(deps),
    ],
  });
  const server = await listen(app, { host: '127.0.0.1', port: 0 });
  return {
    url: `http://127.0.0.1:${server.port}`,
    history,
    async close() {
      clearInterval(ticking);
      deps.active.close();
      deps.active.abortAll();
      await server.close(200);
    },
  };
}

export const newFolder = () => mkdtempSync(join(tmpdir(), 'tidegate-ui-'));

const contextForFilters = {
  requestId: 'try',
  caller: anonymous,
  signal: new AbortController().signal,
  endpoint: '/admin/filters/try',
  startedMs: 0,
  headers: {},
};

function keyPolicy(key: string): Policy {
  const admin: Caller = { ...anonymous, id: 'key_admin' };
  return {
    ...openPolicy(admin),
    async authenticate(headers) {
      if (headers['authorization'] === `Bearer ${key}`) return admin;
      throw new GatewayError('unauthorized', 'This API key is not known, or was revoked.');
    },
  };
}

function memoryModels() {
  let rows: ModelRow[] = [
    {
      name: 'smollm2',
      state: 'ready',
      sizeBytes: 98_000_000,
      detail: 'Q4_1, 8192 tokens of context',
      versions: [{ target: 'local/smollm2-135m-instruct', share: 1 }],
    },
    {
      name: 'chat',
      state: 'remote',
      versions: [
        { target: 'openai/gpt-5-mini', share: 0.95, role: 'stable', movable: true },
        { target: 'cluster/qwen3-8b', share: 0.05, role: 'candidate', movable: true },
      ],
    },
  ];
  const set = (name: string, change: Partial<ModelRow>) => {
    rows = rows.map((row) => (row.name === name ? { ...row, ...change } : row));
  };
  return {
    list: async () => rows,
    load: async (name: string) => set(name, { state: 'ready' }),
    unload: async (name: string) => set(name, { state: 'unloaded' }),
    async pull(name: string, progress: (done: number, total: number) => void, signal: AbortSignal) {
      for (let step = 1; step <= 5; step++) {
        await sleep(120, signal);
        progress(step * 10_000_000, 50_000_000);
      }
      rows = [
        ...rows,
        { name, state: 'unloaded', sizeBytes: 50_000_000, versions: [{ target: `local/${name}`, share: 1 }] },
      ];
    },
    async share(model: string, target: string, share: number) {
      const versions = rows.find(({ name }) => name === model)?.versions ?? [];
      const others = versions.length - 1;
      set(model, {
        versions: versions.map((version) => ({
          ...version,
          share: version.target === target ? share : (1 - share) / others,
        })),
      });
    },
  };
}

function memoryKeys(deps: Parameters<typeof adminEndpoint>[0]): readonly RouteEntry[] {
  const keys: Record<string, unknown>[] = [];
  return [
    ['GET', '/admin/keys', adminEndpoint(deps, async (_c, { json }) => json({ data: keys }))],
    [
      'POST',
      '/admin/keys',
      adminEndpoint(deps, async (c, { json }) => {
        const body = parseJsonObject(await readBody(c, 10_000));
        const id = `key_${keys.length + 1}`;
        keys.push({ ...body, id, hint: 'tg-Ab3d', createdAt: Date.now(), spentUsd: 0.42 });
        json({ id, key: `tg-Ab3d${'x'.repeat(28)}` }, 201);
      }),
    ],
    [
      'DELETE',
      '/admin/keys/:id',
      adminEndpoint(deps, async (c, { json }) => {
        const key = keys.find(({ id }) => id === c.req.param('id'));
        if (key) key['revokedAt'] = Date.now();
        json({});
      }),
    ],
  ];
}
