import { createIdempotency, type Idempotency } from '../cache/idempotency.ts';
import { createResponseCache } from '../cache/response-cache.ts';
import type { ResponseCache } from '../cache/through.ts';
import type { Config } from '../config.ts';
import { webDigest } from '../core/digest.ts';
import type { Usage } from '../core/event.ts';
import type { ObjectStore } from '../core/objects.ts';
import type { RequestRecord } from '../core/record.ts';
import type { Route } from '../core/route.ts';
import { edgeAnswers } from '../edge/answers.ts';
import { createOutbox, type EdgeBindings, type Outbox, tell } from '../edge/bindings.ts';
import { objectCounters } from '../edge/counters.ts';
import type { RouteEntry } from '../http/deps.ts';
import type { HttpDeps } from '../http/env.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Policy } from '../policy/admit.ts';
import type { Counters } from '../policy/counters.ts';
import { memoryCounters } from '../policy/counters-memory.ts';
import { memoryNonces, type Nonces } from '../policy/nonces.ts';
import type { PriceCatalogue } from '../policy/price.ts';
import { genaiPrices } from '../policy/price-catalogue.ts';
import { rulesOf } from '../policy-of-config.ts';
import { edgeObjects } from './objects.ts';

/** What an isolate keeps while configurations come and go. */
export interface EdgeStores {
  readonly ledger?: Ledger;
  readonly counters: Counters;
  readonly nonces: Nonces;
  readonly outbox?: Outbox;
}

/** Opens D1 and the counters’ Durable Objects, as far as they are bound; the rest is in the isolate’s memory. */
export async function openEdgeStores({ TIDEGATE_DB, TIDEGATE_STATE }: EdgeBindings): Promise<EdgeStores> {
  const ledger = TIDEGATE_DB && (await openLedger(TIDEGATE_DB));
  if (!TIDEGATE_STATE) return { ...(ledger && { ledger }), counters: memoryCounters(), nonces: memoryNonces() };
  const outbox = createOutbox(TIDEGATE_STATE);
  return {
    ...(ledger && { ledger }),
    counters: objectCounters(TIDEGATE_STATE, outbox),
    nonces: { fresh: (nonce, keepMs) => tell<boolean>(TIDEGATE_STATE, 'nonces', { kind: 'nonce', nonce, keepMs }) },
    outbox,
  };
}

async function openLedger(database: NonNullable<EdgeBindings['TIDEGATE_DB']>): Promise<Ledger> {
  const { d1, openTables } = await import('./books.ts');
  return openTables(d1(database));
}

export interface EdgeStateOptions {
  readonly bindings: EdgeBindings;
  readonly stores: EdgeStores;
  readonly config: Config;
  readonly findRoute: (model: string) => Route;
  readonly targetsOf: (model: string) => readonly string[];
  readonly onError: (error: unknown, what: string) => void;
}

/** What a gateway at the edge remembers, and where: D1, KV and Durable Objects as far as they are bound. */
export interface EdgeState {
  readonly policy: Policy;
  readonly cache: ResponseCache;
  readonly idempotency: Idempotency;
  readonly objects?: ObjectStore;
  readonly feedback?: Ledger['feedback'];
  readonly priceOf: (target: string, usage: Usage) => number | undefined;
  readonly book: (record: RequestRecord) => void;
  /** Keys, usage and audit over HTTP, where there is a database. */
  routes(deps: HttpDeps): readonly RouteEntry[];
  /** Writes and sends what has gathered: behind an answer, within its request. */
  flush(): Promise<void>;
}

/** Keys, policy and caches of one configuration, on the stores of the platform. */
export async function openEdgeState({
  bindings,
  stores: { ledger, counters, nonces, outbox },
  config,
  findRoute,
  targetsOf,
  onError,
}: EdgeStateOptions): Promise<EdgeState> {
  const { TIDEGATE_KV: kv, TIDEGATE_STATE: objects } = bindings;

  // The table of published prices takes a while to read: only budgets, which reserve by it, wait for it.
  let catalogue: PriceCatalogue | undefined = config.budgets.length > 0 ? await genaiPrices() : undefined;
  const rules = await rulesOf(config, {
    digest: webDigest(config.keys.pepper),
    counters,
    nonces,
    catalogue: (...asked) => catalogue?.(...asked),
    ledger,
    findRoute,
    targetsOf,
  });
  const answers = edgeAnswers({ ...(kv && { kv }), ...(objects && { objects }), ...(outbox && { outbox }) });
  const withBooks = ledger && { ledger, ...(await import('./books.ts')) };
  const books = withBooks?.createBookkeeper(
    withBooks.ledger.db,
    async (target, usage) => {
      catalogue ??= await genaiPrices();
      return rules.prices.usd(target, usage);
    },
    (error) => onError(error, 'usage could not be booked; it is tried again'),
  );
  return {
    policy: rules.policy,
    cache: createResponseCache({
      store: answers,
      maxAnswerBytes: config.cache.maxAnswerBytes,
      shareFlights: false,
    }),
    idempotency: createIdempotency({
      store: answers,
      keepMs: config.cache.idempotency.keep,
      inFlight: config.cache.idempotency.inFlight,
      shareFlights: false,
    }),
    priceOf: rules.prices.usd,
    book: (record) => books?.add(record),
    ...(ledger && { objects: edgeObjects(ledger.objects), feedback: ledger.feedback }),
    routes: (deps) =>
      withBooks
        ? withBooks.adminRoutes(
            deps,
            withBooks.ledger,
            async () => books?.flush(),
            () => rules,
          )
        : [],
    async flush() {
      await Promise.all([answers.written(), books?.flush()]);
      await outbox?.flush(); // locks go when what they stood for is there
    },
  };
}
