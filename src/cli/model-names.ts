import type { Cli } from './cli.ts';

/** Models that can be named here: those of the cache and of the catalogue. Files only, so that Tab answers at once. */
export async function modelNames({ env }: Cli): Promise<readonly string[]> {
  const [{ listModels }, { modelSettings }, { catalogue }] = await Promise.all([
    import('../models/cache.ts'),
    import('../models/settings.ts'),
    import('../models/catalogue.ts'),
  ]);
  const here = await listModels(modelSettings(env));
  return [...new Set([...here, ...catalogue].map(({ name }) => name))];
}
