import { createResponseCache } from '../cache/response-cache.ts';
import type { ResponseCache } from '../cache/through.ts';
import { webDigest } from '../core/digest.ts';
import type { Usage } from '../core/event.ts';
import type { ObjectStore } from '../core/objects.ts';
import type { RequestRecord } from '../core/record.ts';
import type { Route } from '../core/route.ts';
import { d1 } from '../ledger/d1.ts';
import { type Ledger, openTables } from '../ledger/ledger.ts';
import { insertUsage, usageOf } from '../ledger/usage.ts';
import type { Policy } from '../policy/admit.ts';
import type { BudgetRule } from '../policy/budgets.ts';
import type { BudgetsConfig, KeysConfig, LimitsConfig, PricesConfig } from '../policy/config.ts';
import { fixedKeys } from '../policy/fixed-keys.ts';
import { createJwtVerifier } from '../policy/jwt.ts';
import { createKeyring } from '../policy/keyring.ts';
import { createPolicy } from '../policy/policy.ts';
import { createPrices } from '../policy/price.ts';
import { edgeAnswers } from './answers.ts';
import type { EdgeBindings } from './bindings.ts';
import { objectCounters } from './counters.ts';

export interface EdgeStateOptions {
  readonly keys: KeysConfig;
  readonly limits: LimitsConfig;
  readonly budgets: BudgetsConfig;
  readonly prices: PricesConfig;
  readonly maxAnswerBytes: number;
  readonly findRoute: (model: string) => Route;
  readonly targetsOf: (model: string) => readonly string[];
}

/** What a gateway at the edge remembers, and where: D1, KV and a Durable Object as far as they are bound. */
export interface EdgeState {
  readonly policy: Policy;
  readonly cache: ResponseCache;
  readonly open: boolean;
  readonly objects?: ObjectStore;
  readonly feedback?: Ledger['feedback'];
  readonly priceOf: (target: string, usage: Usage) => number | undefined;
  /** Books a request's usage; absent without a database. */
  readonly book?: (record: RequestRecord) => Promise<void>;
}

export async function openEdgeState(bindings: EdgeBindings, options: EdgeStateOptions): Promise<EdgeState> {
  const { keys, limits, prices: priceConfig } = options;
  const { TIDEGATE_DB: database, TIDEGATE_KV: kv, TIDEGATE_STATE: objects } = bindings;
  const digest = webDigest(keys.pepper);
  const ledger = database ? await openTables(d1(database)) : undefined;
  const prices = createPrices({ overrides: priceConfig.overrides });
  const keyring = createKeyring({
    digest,
    fixed: await fixedKeys(keys.fixed, digest),
    required: keys.required,
    freshMs: keys.fresh,
    graceMs: keys.grace,
    isolation: keys.isolation,
    gatewaySecret: keys.gatewaySecret,
    ...(ledger && { store: ledger.keys }),
    ...(keys.jwt && { jwt: createJwtVerifier(keys.jwt) }),
  });
  const policy = createPolicy({
    keyring,
    limits: { defaults: limits.perKey, teams: limits.teams, models: limits.models },
    budgets: options.budgets satisfies readonly BudgetRule[],
    prices,
    assumedTokens: limits.assumedTokens,
    findRoute: options.findRoute,
    targetsOf: options.targetsOf,
    ...(objects && { counters: objectCounters(objects) }),
    ...(ledger && { spent: ({ per, id, fromMs, toMs }) => ledger.usage.spent(per, id, fromMs, toMs) }),
  });
  const cache = createResponseCache({
    store: edgeAnswers({ ...(kv && { kv }), ...(objects && { objects }) }),
    maxAnswerBytes: options.maxAnswerBytes,
    shareFlights: false,
  });
  return {
    policy,
    cache,
    open: await keyring.open(),
    priceOf: prices.usd,
    ...(ledger && {
      objects: ledger.objects,
      feedback: ledger.feedback,
      book: async (record) => void (await ledger.db.transaction([insertUsage(usageOf(record))])),
    }),
  };
}
