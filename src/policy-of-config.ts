import type { Config } from './config.ts';
import type { Digest } from './core/digest.ts';
import type { KeyRecord } from './ledger/key-record.ts';
import type { Ledger } from './ledger/ledger.ts';
import type { Counters } from './policy/counters.ts';
import { fixedKeys } from './policy/fixed-keys.ts';
import { createJwtVerifier } from './policy/jwt.ts';
import { createKeyring, type Keyring, type KeyStore } from './policy/keyring.ts';
import type { Nonces } from './policy/nonces.ts';
import { createPolicy, type PolicyControl, type PolicyOptions } from './policy/policy.ts';
import { createPrices, type PriceCatalogue, type Prices } from './policy/price.ts';

/** Who may ask for what, and what it costs, as one version of the configuration has it. */
export interface Rules {
  readonly digest: Digest;
  readonly fixed: readonly KeyRecord[];
  readonly keyring: Keyring;
  readonly prices: Prices;
  readonly policy: PolicyControl;
}

/** What a platform brings, and keeps while configurations come and go. */
export interface RuleParts extends Pick<PolicyOptions, 'findRoute' | 'targetsOf' | 'countTokens' | 'alert' | 'closed'> {
  readonly digest: Digest;
  readonly counters: Counters;
  readonly nonces: Nonces;
  readonly catalogue: PriceCatalogue;
  readonly ledger: Ledger | undefined;
  /** Keys from elsewhere, where there is no ledger. */
  readonly keyStore?: KeyStore | undefined;
}

/** Keys, limits, budgets and prices of a configuration, the same on every platform. */
export async function rulesOf(
  { keys, limits, budgets, prices: { overrides, usdPerKwh }, providers }: Config,
  { digest, counters, nonces, catalogue, ledger, keyStore = ledger?.keys, ...more }: RuleParts,
): Promise<Rules> {
  const prices = createPrices({
    overrides,
    usdPerKwh,
    catalogue,
    providerId: (provider) => (Object.hasOwn(providers, provider) ? providers[provider]?.type : undefined),
  });
  const fixed = await fixedKeys(keys.fixed, digest);
  const keyring = createKeyring({
    digest,
    fixed,
    nonces,
    required: keys.required,
    freshMs: keys.fresh,
    graceMs: keys.grace,
    isolation: keys.isolation,
    gatewaySecret: keys.gatewaySecret,
    ...(keyStore && { store: keyStore }),
    ...(keys.jwt && { jwt: createJwtVerifier(keys.jwt) }),
  });
  const policy = createPolicy({
    keyring,
    limits: { defaults: limits.perKey, teams: limits.teams, models: limits.models },
    budgets,
    prices,
    counters,
    assumedTokens: limits.assumedTokens,
    ...(ledger && { spent: ({ per, id, fromMs, toMs }) => ledger.usage.spent(per, id, fromMs, toMs) }),
    ...more,
  });
  return { digest, fixed, keyring, prices, policy };
}
