import { createProviders } from '../providers/registry.ts';
import { noCache } from './cache/through.ts';
import { parseConfig } from './config-text.ts';
import { anonymous } from './core/run.ts';
import { noFilters } from './filters/index.ts';
import { createGateway } from './gateway.ts';
import { createActiveRequests } from './http/active.ts';
import { createApp } from './http/app.ts';
import { createRecorder } from './observability/record.ts';
import { openPolicy } from './policy/admit.ts';
import { noPrompts } from './prompts/render.ts';
import { routedModels } from './routes-of-config.ts';
import { createRouting } from './routing/attempt.ts';
import { createFetchTransport } from './transport/fetch.ts';
import { decodeDelivered } from './wire/delivered.ts';

/** Bindings of wrangler.toml: the configuration as text, and secrets by name. */
interface Env {
  readonly TIDEGATE_CONFIG?: string;
  readonly [name: string]: unknown;
}

/** The composition root at the edge: built once per isolate, from the bindings of its first request. */
function build(env: Env) {
  const secrets = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
  const config = parseConfig(env.TIDEGATE_CONFIG ?? 'models: {}', 'TIDEGATE_CONFIG', { env: secrets });
  const transport = createFetchTransport();
  const providers = new Map(
    Object.entries(config.providers).map(([name, entry]) => [name, createProviders(name, entry, { transport })]),
  );
  const policy = openPolicy(anonymous);
  const active = createActiveRequests();
  const gateway = createGateway({
    policy,
    prompts: noPrompts,
    routing: createRouting(routedModels(config, providers), undefined, { decodeWire: decodeDelivered }),
    filters: noFilters,
    cache: noCache,
    record: createRecorder([(record) => console.log(JSON.stringify(record))]),
  });
  return createApp({
    gateway,
    policy,
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
  });
}

let app: ReturnType<typeof build> | undefined;

export default {
  fetch(request: Request, env: Env): Response | Promise<Response> {
    app ??= build(env);
    return app.fetch(request, {}); // bindings stay here: routes see none
  },
};
