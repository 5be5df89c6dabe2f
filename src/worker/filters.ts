import { createAskModel } from '../ask-model.ts';
import type { Config } from '../config.ts';
import type { Routing } from '../core/route.ts';
import type { Transport } from '../core/transport.ts';
import { createFilters, type Filters } from '../filters/index.ts';
import { checksJson } from '../filters/json-check.ts';

/** The filters of a configuration that has some, with what they need of a worker. */
export async function edgeFilters(config: Config['filters'], transport: Transport, routing: Routing): Promise<Filters> {
  // RE2 is a fifth of a worker: only who has schemas to check loads it.
  const { compileWithoutCode } = checksJson(config) ? await import('../filters/json-schema.ts') : {};
  return createFilters(config, {
    transport,
    ...(compileWithoutCode && { compileSchema: compileWithoutCode }),
    ask: createAskModel(
      () => routing,
      async () => (await import('./prompts.ts')).packagedLibrary(),
    ),
  });
}
