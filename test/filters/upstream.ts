import { afterAll } from 'vitest';
import { createProvider, providerConfigSchema } from '../../providers/registry.ts';
import { memoryStore } from '../../src/cache/memory.ts';
import { createResponseCache } from '../../src/cache/response-cache.ts';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { createRouting } from '../../src/routing/attempt.ts';
import { createPooledTransport } from '../../src/transport/pooled.node.ts';
import { appWith } from '../app.ts';
import { faultyUpstream } from '../faulty-upstream.ts';

/** What the apps of a test file call: over sockets, as on Node. */
export const upstream = await faultyUpstream();
const transport = createPooledTransport();
afterAll(async () => {
  await upstream.close();
  await transport.close?.();
});

/** An app whose only model has all of these filters on it. */
export function filteredApp(config: object, cached = false, type = 'openai-compatible') {
  const options = providerConfigSchema().parse({ type, baseUrl: upstream.baseUrl, apiKey: 'k' });
  const provider = createProvider('up', options, { transport });
  const route = {
    ...{ name: 'test', filters: Object.keys(config), targets: [{ name: 'up/m', provider, model: 'm' }] },
    ...(cached && { cache: { ttlMs: 60_000, scope: 'key' as const } }),
  };
  return appWith(provider, {
    routing: createRouting([route]),
    filters: createFilters(filtersSchema().parse(config)),
    ...(cached && { cache: createResponseCache({ store: memoryStore() }) }),
  });
}
