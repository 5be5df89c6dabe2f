import type { Usage } from '../core/event.ts';

/** US dollars of what targets used. */
export interface Prices {
  /** Undefined where the target's price is not known. Targets are `provider/model`. */
  usd(target: string, usage: Usage): number | undefined;
  /** Per token, for reckoning ahead; 0 where not known. */
  perToken(target: string): { readonly prompt: number; readonly completion: number };
  /** Per million tokens, as people tell prices; undefined where not known. */
  perMillion(target: string): Pick<TokenPrice, 'input' | 'output'> | undefined;
}

/** US dollars per million tokens. */
export interface TokenPrice {
  readonly input: number;
  readonly output: number;
  readonly cachedInput?: number | undefined;
  readonly cacheWrite?: number | undefined;
}

export interface PriceOptions {
  /** By target (`openai/gpt-5-mini`), by provider (`cluster/*`), or by model alone. Overrules the catalogue. */
  readonly overrides?: Readonly<Record<string, TokenPrice>>;
  /** What published prices say; undefined where they don't. `genaiPrices()` makes one. */
  readonly catalogue?: PriceCatalogue;
  /** The catalogue's name of a configured provider (`google` for a provider called `gemini-eu`). */
  readonly providerId?: (provider: string) => string | undefined;
  /** What local generation costs beside its token price: measured joules at this price per kWh. */
  readonly usdPerKwh?: number;
}

interface Priced {
  readonly fixed: TokenPrice | undefined;
  /** As the catalogue calls it. */
  readonly provider: string | undefined;
  readonly model: string;
}

/** What a use costs in US dollars; undefined where no price is known. */
export type PriceCatalogue = (providerId: string | undefined, model: string, usage: Usage) => number | undefined;

const joulesPerKwh = 3.6e6;

/** Prices of targets, in US dollars. */
export function createPrices({ overrides = {}, catalogue, providerId, usdPerKwh = 0 }: PriceOptions = {}): Prices {
  const units = new Map<string, { prompt: number; completion: number }>();
  const priced = new Map<string, Priced>();
  /** Looked up once a target: configurations name them, and each request asks. */
  const pricedOf = (target: string): Priced => {
    let known = priced.get(target);
    if (!known) {
      const [provider, model] = split(target);
      const name = [target, `${provider}/*`, model].find((each) => Object.hasOwn(overrides, each));
      const provided = providerId ? providerId(provider) : provider;
      known = { fixed: name === undefined ? undefined : overrides[name], provider: provided, model };
      priced.set(target, known);
    }
    return known;
  };
  const tokensUsd = (target: string, usage: Usage): number | undefined => {
    const { fixed, provider, model } = pricedOf(target);
    return fixed ? fromPrice(fixed, usage) : catalogue?.(provider, model, usage);
  };
  const usd = (target: string, usage: Usage): number | undefined => {
    const energy = usage.energyJoules !== undefined ? (usage.energyJoules / joulesPerKwh) * usdPerKwh : undefined;
    const tokens = tokensUsd(target, usage);
    return tokens === undefined && energy === undefined ? undefined : (tokens ?? 0) + (energy ?? 0);
  };
  const perToken: Prices['perToken'] = (target) => {
    let unit = units.get(target);
    if (!unit) {
      const of = (promptTokens: number, completionTokens: number) =>
        (tokensUsd(target, { promptTokens, completionTokens }) ?? 0) / 1000;
      unit = { prompt: of(1000, 0), completion: of(0, 1000) };
      units.set(target, unit);
    }
    return unit;
  };
  return {
    usd,
    perToken,
    perMillion(target) {
      const { prompt, completion } = perToken(target);
      return prompt + completion > 0 ? { input: prompt * 1e6, output: completion * 1e6 } : undefined;
    },
  };
}

const split = (target: string): [provider: string, model: string] => {
  const slash = target.indexOf('/');
  return slash < 0 ? ['', target] : [target.slice(0, slash), target.slice(slash + 1)];
};

function fromPrice({ input, output, cachedInput = input, cacheWrite = input }: TokenPrice, usage: Usage): number {
  const cached = Math.min(usage.cachedTokens ?? 0, usage.promptTokens);
  const written = Math.min(usage.cacheWriteTokens ?? 0, usage.promptTokens - cached);
  const fresh = usage.promptTokens - cached - written;
  return (fresh * input + cached * cachedInput + written * cacheWrite + usage.completionTokens * output) / 1e6;
}
