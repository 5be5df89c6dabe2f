import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeDelivered } from '../providers/delivered.ts';
import type { LocalEvent } from '../providers/local.ts';
import { type Config, configSchema } from './config.ts';
import { ConfigError } from './config-text.ts';
import { nowSeconds } from './core/clock.ts';
import { memoryObjects } from './core/objects.ts';
import { createGateway } from './gateway.ts';
import { createActiveRequests } from './http/active.ts';
import { createApp } from './http/app.ts';
import { createBatchRunner } from './http/batch-runner.ts';
import type { HttpDeps } from './http/env.ts';
import { metricsRoutes } from './http/routes/metrics.ts';
import { createStreamLogs } from './http/stream-log.ts';
import { loadConfig } from './node/config-file.ts';
import { dashboardParts } from './node/dashboard.ts';
import { createDescribeModel } from './node/describe-model.ts';
import { docsAsset } from './node/docs-assets.ts';
import { embedWith } from './node/embed.ts';
import { keepQuality } from './node/keep-quality.ts';
import { createLocal } from './node/local.ts';
import { createModelsAdmin } from './node/models-admin.ts';
import { observe } from './node/observe.ts';
import { buildParts } from './node/parts.ts';
import { createPullProgress } from './node/pull-progress.ts';
import { restartNeeded } from './node/restart.ts';
import { listen } from './node/server.ts';
import { openState, type State } from './node/state.ts';
import { targetStatus } from './node/status.ts';
import { packageVersion } from './node/version.ts';
import { watchFile } from './node/watch-file.ts';
import type { LogOptions } from './observability/log.node.ts';
import { createRecorder } from './observability/record.ts';
import { refuseOpenBind } from './policy/bind.ts';
import { createRouting } from './routing/attempt.ts';
import { modelSchema } from './routing/config.ts';
import type { Trials } from './routing/resolve.ts';
import { createTargetStates } from './routing/state.ts';
import { createPooledTransport, createPublicTransport } from './transport/pooled.node.ts';

export interface StartOptions {
  /** Path of the configuration; `tidegate.yaml` in the working folder if absent and there. */
  readonly configFile?: string;
  /** What flags say, over the file. */
  readonly host?: string;
  readonly port?: number;
  /** Public names of further local models, beside those of the file. */
  readonly localModels?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly log?: LogOptions;
  /** Told of models loading and engine crashes, beside the log. */
  readonly onEngine?: (event: LocalEvent) => void;
}

export interface RunningGateway {
  /** `http://127.0.0.1:8787` */
  readonly url: string;
  readonly config: Config;
  /** Public model names. */
  readonly models: readonly string[];
  /**
   * Reads the configuration again: new requests go by it, running answers end under the old one. Throws ConfigError with
   * everything as it was. Happens by itself when the file changes. `restart`: changed settings that take effect at the
   * next start only.
   */
  reload(): Promise<{ readonly restart: readonly string[] }>;
  /** Refuses new work, lets running answers end within `server.drain`, then ends them with an error event. */
  close(): Promise<void>;
}

/** The composition root on Node: reads the configuration, builds the parts, serves. Throws ConfigError. */
export async function startGateway(options: StartOptions = {}): Promise<RunningGateway> {
  const env = options.env ?? process.env;
  const file = options.configFile ?? (existsSync('tidegate.yaml') ? 'tidegate.yaml' : undefined);
  const readConfig = async (again = false) => {
    const read = file ? await loadConfig(resolve(file), env, { again }) : configSchema().parse({});
    return withLocalModels(read, options.localModels);
  };
  const watch = file ? watchFile(resolve(file)) : undefined; // before it is read, so that no change falls between
  let config = await readConfig();
  const started = config;
  const host = options.host ?? config.server.host;
  const startedAt = nowSeconds();
  const version = packageVersion();
  const states = createTargetStates();
  let remembered: State | undefined; // made after who watches it

  const observers = await observe({
    env,
    log: options.log ?? {},
    knowsModel: (model) => Object.hasOwn(config.models, model),
    version,
    config: config.observability,
    embed: (model, text) =>
      embedWith(parts.models.find(({ name }) => name === model)?.targets ?? [], text, AbortSignal.timeout(30_000)),
    decodeWire: decodeDelivered,
    status: {
      engines: () => local.status(),
      targets: () => targetStatus(states),
      budgets: () => remembered?.budgets() ?? [],
      unwell: () => remembered?.health() ?? {},
      responseCache: () => remembered?.cacheStatus() ?? { entries: 0, bytes: 0, maxBytes: config.cache.maxBytes },
    },
  });
  const transport = createPooledTransport();
  const publicTransport = createPublicTransport();
  const packagedPrompts = fileURLToPath(new URL('../prompts/', import.meta.url));
  const folder = resolve(file ? dirname(file) : '.');
  const local = createLocal(config.engine, {
    env,
    folder,
    chatTemplate: (name) => parts.library.chatTemplate(name),
    publicNames: (wanted) =>
      Object.entries(config.models).flatMap(([name, { targets }]) =>
        targets.some((target) => target.local === wanted) ? [name] : [],
      ),
    onEvent(event) {
      if (event.type === 'crashed') observers.log.error(event, 'the engine of a local model ended');
      options.onEngine?.(event);
    },
  });
  const trials: Trials = new Map();
  const build = (from: Config) =>
    buildParts(from, {
      transport,
      publicTransport,
      local,
      folder,
      packagedPrompts,
      trials,
      routing: () => routing,
      price: (name, model) => state.pricePerMillion(`${name}/${model}`),
    });
  let parts = await build(config);
  const routing = createRouting(parts.models, undefined, {
    states,
    decodeWire: decodeDelivered,
    onEvent: (event) => observers.log.info(event, `routing: ${event.type}`),
  });
  const state = await openState({
    config,
    folder,
    host,
    findRoute: (model) => routing.find(model),
    targetsOf: (model) => parts.models.find(({ name }) => name === model)?.targets ?? [],
    warn: (details, message) => observers.log.warn(details, message),
  });
  remembered = state;
  const refusal = refuseOpenBind(host, state.open);
  if (refusal) {
    await state.close();
    await observers.close();
    throw new ConfigError(file ?? 'the configuration', [refusal]);
  }
  const { policy } = state;
  const quality =
    state.objects &&
    (await keepQuality(observers.quality, state.objects, (err) =>
      observers.log.warn({ err }, 'the distributions of answers could not be kept'),
    ));
  const stopHealthChecks = routing.startHealthChecks();
  const active = createActiveRequests();
  const gateway = createGateway({
    policy,
    prompts: { render: (request, route) => parts.prompts.render(request, route) },
    routing,
    filters: { apply: (request, route, context) => parts.filters.apply(request, route, context) },
    cache: state.cache,
    idempotency: state.idempotency,
    record: createRecorder(observers.sinks, undefined, {
      watchers: [...observers.watchers, ...state.watchers],
      priceOf: state.priceOf,
      ...(state.durable && { durable: state.durable }),
    }),
  });
  const objects = state.objects ?? memoryObjects();
  const deps: HttpDeps = {
    gateway,
    policy,
    active,
    observe: observers.observeHttp,
    once: (body, context, make) => state.idempotency.once(body, context, make),
    onFault: (err, request_id) => observers.log.error({ err, request_id }, 'a request failed in the gateway itself'),
    options: optionsOf(config),
  };
  const streams = createStreamLogs(state.objects ? { objects } : {});
  const batches = createBatchRunner({ ...deps, objects, isRevoked: state.isRevoked });
  const app = createApp({
    ...deps,
    describeModel: createDescribeModel({ models: () => parts.models, config: () => config, env, startedAt }),
    modelControl: createModelsAdmin({ models: () => parts.models, local, env }),
    health: () => ({ ready: !active.closing, parts: state.health() }),
    objects,
    streams,
    batches,
    docsAsset,
    pullModel: createPullProgress(env),
    routes: [
      ...(config.observability.metrics.enabled
        ? metricsRoutes(deps, observers.metrics, config.observability.metrics)
        : []),
      ...state.routes(deps),
      ...dashboardParts(deps, {
        observers,
        version,
        env,
        local,
        routing,
        models: () => parts.models,
        filters: () => parts.filters,
        config: () => config,
        file: () => (file ? { path: file, text: readFileSync(resolve(file), 'utf8') } : undefined),
        ...(state.feedback && { feedback: state.feedback }),
        flags: { 'server.host': options.host, 'server.port': options.port },
      }),
    ],
  });
  await batches.resume(); // what the last stop cut short
  const slowReaderMs = () => config.server.slowReader;
  const server = await listen(app, { host, port: options.port ?? config.server.port, slowReaderMs });

  const readAgain = async () => {
    const next = await readConfig(true);
    const built = await build(next);
    await state.reconfigure(next);
    const restart = restartNeeded(started, next);
    const old = parts;
    Object.assign(deps.options, optionsOf(next));
    config = next;
    parts = built;
    void routing.replace(built.models).then(() => old.close());
    observers.log.info({ models: Object.keys(next.models), restart }, 'the configuration was read again');
    if (restart.length > 0) observers.log.warn({ restart }, 'these changed settings take effect at the next start');
    return { restart };
  };
  let reloading: Promise<unknown> = Promise.resolve();
  /** One after the other, so that the file as it is last is what serves. */
  const reload = () => {
    const again = reloading.then(readAgain);
    reloading = again.catch(() => {});
    return again;
  };
  const unwatch = watch
    ? watch(() => {
        reload().catch((error: unknown) =>
          observers.log.error({ err: error }, 'the old configuration goes on serving'),
        );
      })
    : async () => {};

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${server.port}`,
    get config() {
      return config;
    },
    get models() {
      return Object.keys(config.models);
    },
    reload,
    async close() {
      await unwatch();
      stopHealthChecks();
      active.close();
      const cut = setTimeout(() => active.abortAll(), Math.max(0, config.server.drain - 500));
      await server.close(config.server.drain);
      clearTimeout(cut);
      active.abortAll(); // what runs without a listener: background answers, resumable streams, batches put their lines back
      for (let waits = 0; active.size > 0 && waits < 50; waits++) await new Promise((done) => setTimeout(done, 20));
      await routing.drain(0); // what has no client of its own: shadows, background answers
      await Promise.all([parts.close(), local.close?.()]);
      await Promise.all([transport.close?.(), publicTransport.close?.()]);
      await quality?.close();
      await state.close();
      await observers.close();
    },
  };
}

/** What the routes read at each request. */
const optionsOf = ({ server, observability }: Config) => ({
  maxBodyBytes: server.maxBodyBytes,
  traceRatio: observability.traces?.sampled ?? 1,
  heartbeatMs: server.heartbeat,
  slowReaderMs: server.slowReader,
  origins: server.origins,
  hosts: server.hosts,
});

function withLocalModels(config: Config, further: StartOptions['localModels'] = {}): Config {
  const added = Object.entries(further).map(([name, local]) => [name, modelSchema().parse({ targets: [{ local }] })]);
  return { ...config, models: { ...config.models, ...Object.fromEntries(added) } };
}
