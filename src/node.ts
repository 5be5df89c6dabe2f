import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LocalEvent } from '../providers/local.ts';
import { createProviders } from '../providers/registry.ts';
import { noCache } from './cache/through.ts';
import { type Config, configSchema } from './config.ts';
import type { Provider } from './core/provider.ts';
import { anonymous } from './core/run.ts';
import { createFilters } from './filters/index.ts';
import { createGateway } from './gateway.ts';
import { createActiveRequests } from './http/active.ts';
import { createApp } from './http/app.ts';
import { isLoopbackHost } from './http/cors.ts';
import type { HttpDeps } from './http/env.ts';
import { metricsRoutes } from './http/routes/metrics.ts';
import { loadConfig } from './node/config-file.ts';
import { createLocal } from './node/local.ts';
import { observe } from './node/observe.ts';
import { listen } from './node/server.ts';
import type { LogOptions } from './observability/log.node.ts';
import { createRecorder } from './observability/record.ts';
import { openPolicy } from './policy/admit.ts';
import { readPromptFiles } from './prompts/files.node.ts';
import { createLibrary } from './prompts/library.ts';
import { createPrompts } from './prompts/render.ts';
import { routedModels } from './routes-of-config.ts';
import { createRouting } from './routing/attempt.ts';
import { modelSchema } from './routing/config.ts';
import { createUndiciTransport } from './transport/undici.ts';

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
  /** Refuses new work, lets running answers end within `server.drain`, then ends them with an error event. */
  close(): Promise<void>;
}

/** The composition root on Node: reads the configuration, builds the parts, serves. Throws ConfigError. */
export async function startGateway(options: StartOptions = {}): Promise<RunningGateway> {
  const env = options.env ?? process.env;
  const file = options.configFile ?? (existsSync('tidegate.yaml') ? 'tidegate.yaml' : undefined);
  const config = withLocalModels(file ? loadConfig(resolve(file), env) : configSchema.parse({}), options.localModels);
  const host = options.host ?? config.server.host;
  const startedAt = Math.floor(Date.now() / 1000);

  const observers = await observe({
    env,
    log: options.log ?? {},
    knowsModel: (model) => Object.hasOwn(config.models, model),
    status: {},
  });
  const transport = createUndiciTransport();
  const local = createLocal(config.engine, env, (event) => {
    if (event.type === 'crashed') observers.log.error(event, 'the engine of a local model ended');
    options.onEngine?.(event);
  });
  const providers = new Map<string, readonly Provider[]>([[local.name, [local]]]);
  for (const [name, entry] of Object.entries(config.providers)) {
    providers.set(name, createProviders(name, entry, { transport }));
  }

  const packagedPrompts = fileURLToPath(new URL('../prompts/', import.meta.url));
  const promptFolder = resolve(file ? dirname(file) : '.', config.prompts.directory);
  const policy = openPolicy(anonymous);
  const routing = createRouting(routedModels(config, providers));
  const active = createActiveRequests();
  const gateway = createGateway({
    policy,
    prompts: createPrompts(createLibrary(readPromptFiles(packagedPrompts, promptFolder))),
    routing,
    filters: createFilters(config.filters),
    cache: noCache,
    record: createRecorder(observers.sinks, undefined, { watchers: observers.watchers }),
  });
  const deps: HttpDeps = {
    gateway,
    policy,
    active,
    options: {
      maxBodyBytes: config.server.maxBodyBytes,
      heartbeatMs: config.server.heartbeat,
      slowReaderMs: config.server.slowReader,
      origins: config.server.origins ?? ['loopback'],
      hosts: config.server.hosts ?? (isLoopbackHost(host) ? ['loopback'] : []),
    },
  };
  const app = createApp({
    ...deps,
    describeModel: async (name) => ({
      ownedBy: config.models[name]?.targets[0]?.provider ?? 'local',
      created: startedAt,
    }),
    health: () => ({ ready: !active.closing, parts: {} }),
    routes: [...metricsRoutes(deps, observers.metrics)],
  });
  const server = await listen(app.fetch, { host, port: options.port ?? config.server.port });

  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${server.port}`,
    config,
    models: Object.keys(config.models),
    async close() {
      active.close();
      const cut = setTimeout(() => active.abortAll(), Math.max(0, config.server.drain - 500));
      await server.close(config.server.drain);
      clearTimeout(cut);
      await Promise.all([...providers.values()].flat().map((provider) => provider.close?.()));
      await transport.close?.();
      await observers.close();
    },
  };
}

function withLocalModels(config: Config, further: StartOptions['localModels'] = {}): Config {
  const added = Object.entries(further).map(([name, local]) => [name, modelSchema.parse({ targets: [{ local }] })]);
  return { ...config, models: { ...config.models, ...Object.fromEntries(added) } };
}
