import { memoryStore } from '../cache/memory.ts';
import { createResponseCache } from '../cache/response-cache.ts';
import type { ResponseCache } from '../cache/through.ts';
import type { Config } from '../config.ts';
import { nodeDigest } from '../core/digest.node.ts';
import { GatewayError } from '../core/errors.ts';
import type { Usage } from '../core/event.ts';
import type { ObjectStore } from '../core/objects.ts';
import type { RequestRecord } from '../core/record.ts';
import type { Route, Target } from '../core/route.ts';
import type { RouteEntry } from '../http/deps.ts';
import type { HttpDeps } from '../http/env.ts';
import { adminKeyRoutes } from '../http/routes/admin-keys.ts';
import { reportRoutes } from '../http/routes/admin-usage.ts';
import type { Books, Entry } from '../ledger/books.ts';
import { ledgerConfig as ledgerConfigSchema } from '../ledger/config.ts';
import { forgetCaller } from '../ledger/forget.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { ledgerExists, openLedgerWithBooks } from '../ledger/open.node.ts';
import { usageOf } from '../ledger/usage.ts';
import type { DurableSink } from '../observability/record.ts';
import type { Policy } from '../policy/admit.ts';
import { periodOf } from '../policy/budgets.ts';
import { createTokenCounter } from '../policy/count.ts';
import { fixedKeys } from '../policy/fixed-keys.ts';
import { createJwtVerifier } from '../policy/jwt.ts';
import { createKeyAdmin, type KeyAdminOptions } from '../policy/key-admin.ts';
import { createKeyring } from '../policy/keyring.ts';
import { createPolicy } from '../policy/policy.ts';
import { createPrices } from '../policy/price.ts';
import { genaiPrices } from '../policy/price-catalogue.ts';

/** What the gateway remembers: keys, limits, budgets, the ledger and the response cache, as the configuration says. */
export interface State {
  readonly policy: Policy;
  readonly cache: ResponseCache;
  /** True while everybody is let in. */
  readonly open: boolean;
  readonly durable?: DurableSink;
  readonly objects?: ObjectStore;
  readonly feedback?: Ledger['feedback'];
  readonly priceOf: (target: string, usage: Usage) => number | undefined;
  /** Keys, usage and audit over HTTP, where there is a ledger. */
  routes(deps: HttpDeps): readonly RouteEntry[];
  /** For `/health`: parts that are not well. */
  health(): Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export interface StateOptions {
  readonly config: Config;
  /** Where relative paths begin: the folder of the configuration. */
  readonly folder: string;
  /** Asked late: routing is built after this. */
  readonly findRoute: (model: string) => Route;
  readonly targetsOf: (model: string) => readonly Target[];
  readonly warn: (details: object, message: string) => void;
}

const pruneEveryMs = 3600_000;

export async function openState({ config, folder, findRoute, targetsOf, warn }: StateOptions): Promise<State> {
  const { keys, limits, budgets, prices: priceConfig, audit } = config;
  const digest = nodeDigest(keys.pepper);
  const ledgerConfig = config.ledger ?? ledgerDefaults;
  const configured = config.ledger !== undefined || ledgerExists(ledgerConfig, folder);
  const opened = configured
    ? await openLedgerWithBooks(ledgerConfig, audit, folder, ({ state, error }) =>
        warn(
          { state, error: error instanceof Error ? error.message : error },
          'the books of the ledger changed their state',
        ),
      )
    : undefined;
  const ledger = opened?.ledger;
  const books = opened?.books;

  const providerIds = new Map(Object.entries(config.providers).map(([name, { type }]) => [name, type]));
  const prices = createPrices({
    overrides: priceConfig.overrides,
    catalogue: await genaiPrices(),
    providerId: (provider) => providerIds.get(provider),
    usdPerKwh: priceConfig.usdPerKwh,
  });

  const fixed = await fixedKeys(keys.fixed, digest);
  const keyring = createKeyring({
    digest,
    fixed,
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
    budgets,
    prices,
    assumedTokens: limits.assumedTokens,
    findRoute,
    targetsOf: (model) => targetsOf(model).map(({ name }) => name),
    countTokens: createTokenCounter(targetsOf),
    alert: (alert) => warn(alert, 'a budget has reached one of its thresholds'),
    ...(ledger && { spent: ({ per, id, fromMs, toMs }) => ledger.usage.spent(per, id, fromMs, toMs) }),
    ...(books && { closed: closedBy(books, ledgerConfig.whenLost) }),
  });

  const cache = createResponseCache({
    store: memoryStore({ maxBytes: config.cache.maxBytes }),
    digest: nodeDigest(),
    maxAnswerBytes: config.cache.maxAnswerBytes,
  });

  const pruning = setInterval(() => {
    ledger
      ?.prune(ledgerConfig.usageRetention)
      .catch((error: unknown) => warn({ error }, 'old usage could not be deleted'));
  }, pruneEveryMs);
  pruning.unref();

  return {
    policy,
    cache,
    open: await keyring.open(),
    priceOf: prices.usd,
    ...(books && { durable: (record) => books.write(entriesOf(record, audit.requests)) }),
    ...(ledger && { objects: ledger.objects, feedback: ledger.feedback }),
    routes: (deps) =>
      ledger && books ? adminRoutes(deps, ledger, books, { digest, fixed, forget: keyring.forget }) : [],
    health: () => (books && books.state() !== 'ok' ? { ledger: books.state() } : {}),
    async close() {
      clearInterval(pruning);
      await books?.close();
      await ledger?.db.close();
    },
  };
}

const ledgerDefaults = ledgerConfigSchema.parse({});

function adminRoutes(
  deps: HttpDeps,
  { keys, usage, audit, db }: Ledger,
  books: Books,
  { digest, fixed, forget }: Required<Pick<KeyAdminOptions, 'digest' | 'fixed' | 'forget'>>,
): readonly RouteEntry[] {
  const spent = (id: string) => {
    const { fromMs, toMs } = periodOf('month', Date.now());
    return usage.spent('key', id, fromMs, toMs);
  };
  const admin = createKeyAdmin({ keys, audit, digest, fixed, spent, forget });
  return [
    ...adminKeyRoutes(deps, admin),
    ...reportRoutes(deps, {
      usage,
      audit,
      settled: () => books.settled(),
      forget: (id, actor) => forgetCaller(db, audit, id, actor),
    }),
  ];
}

/** The books cannot be written: callers with a budget wait, as their spending could not be held to it; by policy all do. */
function closedBy(books: Books, whenLost: 'serve' | 'refuse') {
  return (budgeted: boolean): GatewayError | undefined =>
    books.state() === 'lost' && (budgeted || whenLost === 'refuse')
      ? new GatewayError('unavailable', 'Usage cannot be recorded just now, so nothing may be spent.', {
          retryAfterMs: 5000,
        })
      : undefined;
}

/** What is booked of a request: its usage, and for the audit who asked what of whom, and what was decided. */
function entriesOf(record: RequestRecord, audited: boolean): readonly Entry[] {
  const row = usageOf(record);
  const usage: Entry = { kind: 'usage', row };
  if (!audited) return [usage];
  const { requestId, startedAt, callerId, model, target, endpoint, outcome, status, cache, decisions } = record;
  const detail = JSON.stringify({
    requestId,
    endpoint,
    target,
    outcome,
    status,
    cache,
    decisions: decisions.slice(0, 50),
  });
  const event = { id: row.id, at: Math.round(startedAt), actor: callerId, action: 'request', subject: model, detail };
  return [usage, { kind: 'audit', event }];
}
