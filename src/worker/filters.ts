import { createAskModel } from '../ask-model.ts';
import type { Config } from '../config.ts';
import type { Routing } from '../core/route.ts';
import type { Transport } from '../core/transport.ts';
import { createFilters, type Filters } from '../filters/index.ts';

/** The filters of a configuration that has some, with what they need of a worker. */
export function edgeFilters(config: Config['filters'], transport: Transport, routing: Routing): Filters {
  return createFilters(config, {
    transport,
    ask: createAskModel(
      () => routing,
      async () => (await import('./prompts.ts')).packagedLibrary(),
    ),
  });
}
