import { decodeDelivered } from '../providers/delivered.ts';
import { createProviders } from '../providers/registry.ts';
import { tidegate } from '../providers/tidegate.ts';
import { type AiBinding, workersAi } from '../providers/workers-ai.ts';
import { createAskModel } from './ask-model.ts';
import type { Config } from './config.ts';
import { parseConfig } from './config-text.ts';
import { systemClock } from './core/clock.ts';
import type { Provider } from './core/provider.ts';
import type { Transport } from './core/transport.ts';
import type { EdgeBindings } from './edge/bindings.ts';
import { shareBreakers } from './edge/breakers.ts';
import { packagedPrompts } from './edge/prompt-files.ts';
import { openEdgeState } from './edge/state.ts';
import { createFilters } from './filters/index.ts';
import { createGateway } from './gateway.ts';
import { createActiveRequests } from './http/active.ts';
import { createApp } from './http/app.ts';
import { createStreamLogs } from './http/stream-log.ts';
import { recordLine } from './observability/log.ts';
import { createRecorder } from './observability/record.ts';
import { createLibrary } from './prompts/library.ts';
import { createPrompts } from './prompts/render.ts';
import { routedModels } from './routes-of-config.ts';
import { createRouting } from './routing/attempt.ts';
import { createTargetStates } from './routing/state.ts';
import { createFetchTransport } from './transport/fetch.ts';

export { TidegateState } from './edge/state-object.ts';

interface ExecutionContext {
  waitUntil(work: Promise<unknown>): void;
  passThroughOnException(): void;
}

/** The composition root at the edge: built once per isolate, from the bindings of its first request. */
async function build(env: EdgeBindings) {
  const config = await readConfig(env);
  const transport = createFetchTransport();
  const models = routedModels(config, providersOf(config, env, transport));
  const states = createTargetStates();
  const routing = createRouting(models, undefined, { states, decodeWire: decodeDelivered });
  const library = createLibrary(packagedPrompts);
  const state = await openEdgeState(env, {
    keys: config.keys,
    limits: config.limits,
    budgets: config.budgets,
    prices: config.prices,
    maxAnswerBytes: config.cache.maxAnswerBytes,
    findRoute: (model) => routing.find(model),
    targetsOf: (model) => models.find(({ name }) => name === model)?.targets.map(({ name }) => name) ?? [],
  });
  const log = (record: Parameters<typeof recordLine>[0]) => {
    const { level, fields } = recordLine(record);
    console.log(JSON.stringify({ level, ...fields }));
  };
  const gateway = createGateway({
    policy: state.policy,
    prompts: createPrompts(library),
    routing,
    filters: createFilters(config.filters, { transport, ask: createAskModel(routing, library, () => Date.now()) }),
    cache: state.cache,
    record: createRecorder([log], undefined, {
      priceOf: state.priceOf,
      ...(state.book && { durable: state.book }),
    }),
  });
  const active = createActiveRequests();
  const app = createApp({
    gateway,
    policy: state.policy,
    active,
    options: {
      maxBodyBytes: config.server.maxBodyBytes,
      heartbeatMs: config.server.heartbeat,
      slowReaderMs: config.server.slowReader,
      origins: config.server.origins ?? ['*'],
      hosts: config.server.hosts ?? [],
    },
    describeModel: async (name) => ({ ownedBy: config.models[name]?.targets[0]?.provider ?? 'tidegate', created: 0 }),
    health: () => ({ ready: true, parts: {} }),
    ...(state.objects && { objects: state.objects, streams: createStreamLogs({ objects: state.objects }) }),
  });
  const breakers = env.TIDEGATE_STATE && shareBreakers(states, env.TIDEGATE_STATE, () => systemClock.now());
  return { app, breakers };
}

/** The configuration: the newest in KV under `config`, else the text in the bindings. Secrets are filled in by name. */
async function readConfig(env: EdgeBindings): Promise<Config> {
  const secrets = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
  const stored = await env.TIDEGATE_KV?.get('config').catch(() => null);
  const text = stored ?? env.TIDEGATE_CONFIG ?? 'models: {}';
  const config = parseConfig(text, stored ? 'config in KV' : 'TIDEGATE_CONFIG', { env: secrets });
  const { response } = config.cache;
  if (!response) return config;
  const models = Object.entries(config.models).map(([name, model]) => [name, { cache: response, ...model }]);
  return { ...config, models: Object.fromEntries(models) };
}

function providersOf(config: Config, env: EdgeBindings, transport: Transport): Map<string, readonly Provider[]> {
  const providers = new Map<string, readonly Provider[]>();
  for (const [name, entry] of Object.entries(config.providers)) {
    // Without an address or key of its own, Workers AI is the binding.
    const bound = entry.type === 'workers-ai' && !entry.apiKey && env.AI !== undefined;
    const ai = env.AI as AiBinding; // bound in wrangler.toml under [ai]
    providers.set(name, bound ? [workersAi({ name, ai })] : createProviders(name, entry, { transport }));
  }
  if (config.edge) {
    const { nodes, secret } = config.edge;
    const gateways = nodes.map((baseUrl, i) => tidegate({ name: `node#${i + 1}`, baseUrl, secret, transport }));
    providers.set('local', gateways);
  }
  return providers;
}

let built: ReturnType<typeof build> | undefined;

export default {
  async fetch(request: Request, env: EdgeBindings, context: ExecutionContext): Promise<Response> {
    built ??= build(env);
    try {
      const { app, breakers } = await built;
      breakers?.((work) => context.waitUntil(work));
      return await app.fetch(
        request,
        {},
        { ...context, props: {}, waitUntil: (work) => context.waitUntil(work), passThroughOnException: () => {} },
      ); // bindings stay here: routes see none
    } catch (error) {
      built = undefined; // the next request tries again: the database may be back
      const message = error instanceof Error ? error.message : String(error);
      console.log(JSON.stringify({ level: 'error', msg: 'the gateway cannot start', error: message }));
      const body = {
        error: {
          message: 'The gateway cannot start; its log says why.',
          type: 'server_error',
          param: null,
          code: 'unavailable',
        },
      };
      return Response.json(body, { status: 503, headers: { 'retry-after': '5' } });
    }
  },
};
