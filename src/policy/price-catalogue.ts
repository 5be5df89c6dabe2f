import type { PriceCatalogue } from './price.ts';

/** Published prices of the hosted models, as the installed version of @pydantic/genai-prices knows them. Loaded when asked for: 2 MB. */
export async function genaiPrices(): Promise<PriceCatalogue> {
  const { calcPrice } = await import('@pydantic/genai-prices');
  // Finding out that a name has no price walks the whole catalogue, and most gateways ask the same names for ever.
  const unpriced = new Map<string | undefined, Set<string>>();
  let count = 0;
  return (providerId, model, { promptTokens, completionTokens, cachedTokens = 0, cacheWriteTokens = 0 }) => {
    if (unpriced.get(providerId)?.has(model)) return undefined;
    const cacheRead = Math.min(cachedTokens, promptTokens);
    const usage = {
      input_tokens: promptTokens,
      output_tokens: completionTokens,
      cache_read_tokens: cacheRead,
      cache_write_tokens: Math.min(cacheWriteTokens, promptTokens - cacheRead),
    };
    try {
      const found = calcPrice(usage, model, providerId ? { providerId } : {});
      if (!found && count++ < 10_000) unpriced.set(providerId, (unpriced.get(providerId) ?? new Set()).add(model));
      return found?.total_price;
    } catch {
      return undefined; // a unit the model has no price for: better no price than a failed request
    }
  };
}
