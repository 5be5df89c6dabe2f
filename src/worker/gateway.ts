import packageJson from '../../package.json' with { type: 'json' };
import { decodeDelivered } from '../../providers/delivered.ts';
import type { AiBinding } from '../../providers/workers-ai.ts';
import type { Config } from '../config.ts';
import { systemClock } from '../core/clock.ts';
import { memoryObjects } from '../core/objects.ts';
import type { Provider } from '../core/provider.ts';
import type { Transport } from '../core/transport.ts';
import type { After, EdgeBindings } from '../edge/bindings.ts';
import { shareBreakers } from '../edge/breakers.ts';
import { createNodeProbes } from '../edge/node-probes.ts';
import { edgeOtlp } from '../edge/otlp.ts';
import { noFilters } from '../filters/none.ts';
import { createGateway } from '../gateway.ts';
import { createActiveRequests } from '../http/active.ts';
import { createApp } from '../http/app.ts';
import type { AppDeps } from '../http/deps.ts';
import { createStreamLogs } from '../http/stream-log.ts';
import { lineLevel, recordFields } from '../observability/log.ts';
import { createRecorder } from '../observability/record.ts';
import { traceRequests } from '../observability/traces.ts';
import type { Prompts } from '../prompts/render.ts';
import { routedModels } from '../routes-of-config.ts';
import { createRouting } from '../routing/attempt.ts';
import { createTargetStates, type TargetStates } from '../routing/state.ts';
import { edgeObjects, noBatches } from './objects.ts';
import { type EdgeStores, openEdgeState } from './state.ts';

export type App = ReturnType<typeof createApp>;

/** A gateway for one configuration, inside one isolate. */
export interface EdgeGateway {
  readonly app: App;
  /** The same app for an answer that is made inside its own object. */
  appFor(parts: Pick<AppDeps, 'streams' | 'answerId'>): App;
  /** What is due at the beginning of a request: to be done behind its answer. */
  begun(after: After): void;
  /** What has gathered when one ends: books, counters, traces. Never rejects. */
  ended(): Promise<void>;
}

export interface EdgeGatewayOptions {
  readonly bindings: EdgeBindings;
  readonly stores: EdgeStores;
  readonly transport: Transport;
  /** Kept over configurations: a target stays as healthy as it is. */
  readonly states: TargetStates;
  readonly log: (level: string, fields: object) => void;
  /** Parts that are not well, for `/health`. */
  readonly health: () => Readonly<Record<string, string>>;
}

/** What an isolate keeps of its targets while configurations come and go. */
export const edgeStates = createTargetStates;

/** Builds the gateway that a configuration's text stands for. Throws ConfigError, or invalid_request naming the entry. */
export async function buildEdgeGateway(text: string, name: string, options: EdgeGatewayOptions): Promise<EdgeGateway> {
  const { bindings, stores, transport, states, log } = options;
  const config = await readConfig(text, name, bindings);
  const probes = config.edge && createNodeProbes(config.edge.nodes, transport, states);
  const models = await routedModels(config, await providersOf(config, bindings, transport));
  const routing = createRouting(models, undefined, {
    states,
    decodeWire: decodeDelivered,
    onEvent: ({ type, ...event }) => log('info', { msg: `routing: ${type}`, ...event }),
  });
  const onError = (error: unknown, msg: string) =>
    log('warn', { msg, error: error instanceof Error ? error.message : String(error) });
  const state = await openEdgeState({
    bindings,
    stores,
    config,
    findRoute: (model) => routing.find(model),
    targetsOf: (model) => models.find((each) => each.name === model)?.targets.map((target) => target.name) ?? [],
    onError,
  });
  const { traces } = config.observability;
  const endpoint = bindings['OTEL_EXPORTER_OTLP_ENDPOINT'];
  const tracesUrl =
    traces?.url ?? (typeof endpoint === 'string' ? `${endpoint.replace(/\/$/, '')}/v1/traces` : undefined);
  const otlp =
    tracesUrl === undefined
      ? undefined
      : edgeOtlp({
          url: tracesUrl,
          ...(traces && { headers: traces.headers }),
          serviceVersion: packageJson.version,
          onError: (error) => onError(error, 'traces are not exported'),
        });
  const filters =
    Object.keys(config.filters).length === 0
      ? noFilters
      : await (await import('./filters.ts')).edgeFilters(config.filters, transport, routing);
  const gateway = createGateway({
    policy: state.policy,
    prompts: latePrompts,
    routing,
    filters,
    cache: state.cache,
    idempotency: state.idempotency,
    record: createRecorder(
      [
        (record) => {
          log(lineLevel(record), recordFields(record));
        },
        state.book,
      ],
      undefined,
      {
        priceOf: state.priceOf,
        watchers: otlp ? [traceRequests(otlp.export, { content: traces?.content ?? false })] : [],
      },
    ),
  });
  const deps: AppDeps = {
    gateway,
    policy: state.policy,
    active: createActiveRequests(),
    once: state.idempotency.once,
    options: {
      maxBodyBytes: config.server.maxBodyBytes,
      traceRatio: traces?.sampled ?? 1,
      heartbeatMs: config.server.heartbeat,
      slowReaderMs: config.server.slowReader,
      origins: config.server.origins ?? ['*'],
      hosts: config.server.hosts ?? [],
    },
    describeModel: async (model) => ({
      ownedBy: config.models[model]?.targets[0]?.provider ?? 'tidegate',
      created: 0,
    }),
    health: () => ({ ready: true, parts: options.health() }),
    objects: state.objects ?? edgeObjects(memoryObjects()),
    // Without an object for each, detached answers live as long as their isolate, and their events in the database.
    streams: createStreamLogs(state.objects && { objects: state.objects }),
    batches: noBatches,
  };
  const app = (parts: Partial<AppDeps> = {}) => {
    const all = { ...deps, ...parts };
    return createApp({ ...all, routes: state.routes(all) });
  };
  const { TIDEGATE_STATE: objects } = bindings;
  const breakers = objects && shareBreakers(states, objects, () => systemClock.now());
  return {
    app: app(),
    appFor: app,
    begun(after) {
      breakers?.(after);
      probes?.(after);
    },
    async ended() {
      await Promise.all([state.flush(), otlp?.flush()]).catch((error: unknown) => onError(error, 'a flush failed'));
    },
  };
}

/** Prompts of the library, which is loaded when a route or a request names one. */
const latePrompts: Prompts = {
  render: (request, route) =>
    route.prompt || request.promptTemplate
      ? import('./prompts.ts').then(({ prompts }) => prompts().render(request, route))
      : request,
};

/** Secrets and variables are filled in by name; there are no files. */
async function readConfig(text: string, name: string, bindings: EdgeBindings): Promise<Config> {
  const env = Object.fromEntries(
    Object.entries(bindings).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
  const { parseConfig } = await import('../config-text.ts');
  return parseConfig(text, name, { env });
}

async function providersOf(
  config: Config,
  bindings: EdgeBindings,
  transport: Transport,
): Promise<Map<string, readonly Provider[]>> {
  const ai = bindings.AI === undefined ? {} : { ai: bindings.AI as AiBinding }; // bound in wrangler.toml under [ai]
  const providers = new Map<string, readonly Provider[]>();
  const { createProviders, tidegate } = await import('./providers.ts');
  for (const [name, entry] of Object.entries(config.providers)) {
    providers.set(name, createProviders(name, entry, { transport, ...ai }));
  }
  if (config.edge) {
    const { nodes, secret } = config.edge;
    const gateways = nodes.map((baseUrl, i) => tidegate({ name: `node#${i + 1}`, baseUrl, secret, transport }));
    providers.set('local', gateways);
  }
  return providers;
}
