import { LRUCache } from 'lru-cache';
import { adminRoutes } from '../admin-routes.ts';
import type { Idempotency } from '../cache/idempotency.ts';
import type { ResponseCache } from '../cache/through.ts';
import type { Config } from '../config.ts';
import { nodeDigest } from '../core/digest.node.ts';
import { GatewayError } from '../core/errors.ts';
import type { Usage } from '../core/event.ts';
import type { ObjectStore } from '../core/objects.ts';
import { once } from '../core/once.ts';
import type { RequestRecord, Watcher } from '../core/record.ts';
import { connectRedis } from '../core/redis.node.ts';
import type { Redis } from '../core/redis.ts';
import { readable } from '../core/request.ts';
import type { Route, Target } from '../core/route.ts';
import type { RequestContext } from '../core/run.ts';
import type { BudgetStatus, ResponseCacheStatus } from '../core/status.ts';
import type { RouteEntry } from '../http/deps.ts';
import type { HttpDeps } from '../http/env.ts';
import type { Books, BooksAlert, Entry } from '../ledger/books.ts';
import { ledgerConfig as ledgerConfigSchema } from '../ledger/config.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { keysMadeLater, ledgerExists, openLedgerWithBooks } from '../ledger/open.node.ts';
import { usageOf } from '../ledger/usage.ts';
import type { DurableSink } from '../observability/record.ts';
import type { Policy } from '../policy/admit.ts';
import { refuseOpenBind } from '../policy/bind.ts';
import { createTokenCounter } from '../policy/count.ts';
import { memoryCounters } from '../policy/counters-memory.ts';
import { redisCounters, withFallback } from '../policy/counters-redis.ts';
import { memoryNonces, redisNonces } from '../policy/nonces.ts';
import type { PriceCatalogue } from '../policy/price.ts';
import { genaiPrices } from '../policy/price-catalogue.ts';
import { type Rules, rulesOf } from '../policy-of-config.ts';
import { isRedis, openAnswerCaches } from './answer-caches.ts';
import { contentWatcher } from './contents.ts';

/** What the gateway remembers: keys, limits, budgets, the ledger and the response cache, as the configuration says. */
export interface State {
  readonly policy: Policy;
  readonly cache: ResponseCache;
  readonly idempotency: Idempotency;
  /** Keeps prompts and answers, where that is switched on. */
  readonly watchers: readonly Watcher[];
  /** True while everybody is let in. */
  readonly open: boolean;
  readonly durable?: DurableSink;
  readonly objects?: ObjectStore;
  readonly feedback?: Ledger['feedback'];
  /** Whether a key of the ledger was taken back: for work that outlives the request it came with. */
  isRevoked(keyId: string): Promise<boolean>;
  readonly priceOf: (target: string, usage: Usage) => number | undefined;
  /** US dollars per million tokens; undefined where not known. */
  readonly pricePerMillion: (target: string) => { readonly input: number; readonly output: number } | undefined;
  /** Keys, usage and audit over HTTP, where there is a ledger. */
  routes(deps: HttpDeps): readonly RouteEntry[];
  /** Takes up all that can change while running (`restart.ts` names the rest); what is counted and kept stays. */
  reconfigure(next: Config): Promise<void>;
  /** Of the answers in this process's memory. */
  cacheStatus(): ResponseCacheStatus;
  /** Of budgets that were asked for lately. */
  budgets(): readonly BudgetStatus[];
  /** For `/health`: parts that are not well. */
  health(): Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export interface StateOptions {
  readonly config: Config;
  /** Where relative paths begin: the folder of the configuration. */
  readonly folder: string;
  /** Where the gateway listens: without keys on this machine only. */
  readonly host: string;
  /** Asked late: routing is built after this. */
  readonly findRoute: (model: string) => Route;
  readonly targetsOf: (model: string) => readonly Target[];
  readonly warn: (details: object, message: string) => void;
}

const pruneEveryMs = 3600_000;

/** Opens the ledger, the counters and the caches, and what is decided with them. Throws ConfigError. */
export async function openState({ config, folder, host, findRoute, targetsOf, warn }: StateOptions): Promise<State> {
  /** What is read when it is needed, as the last configuration has it. */
  let current = { audit: config.audit, ledger: config.ledger ?? ledgerDefaults() };
  const ledgerConfig = config.ledger ?? ledgerDefaults();
  const configured = config.ledger !== undefined || ledgerExists(ledgerConfig, folder);
  const tellBooks = ({ state, error }: BooksAlert) =>
    warn({ state, error: reasonOf(error) }, 'the books of the ledger changed their state');
  const opened = configured
    ? await openLedgerWithBooks(ledgerConfig, config.audit, folder, tellBooks, () => current.ledger.whenLost)
    : undefined;
  const ledger = opened?.ledger;
  const books = opened?.books;
  const laterKeys = configured
    ? undefined
    : keysMadeLater(ledgerConfig, config.audit, folder, () =>
        warn({}, 'a ledger was made: its keys hold from now on, and the books begin with the next start'),
      );

  const connections = new Map<string, Redis>();
  const redisAt = async (url: string): Promise<Redis> => {
    const known = connections.get(url);
    if (known) return known;
    const redis = await connectRedis(url, (up, error) =>
      warn({ up, error: error instanceof Error ? error.message : error }, up ? 'redis is there' : 'redis is away'),
    );
    connections.set(url, redis);
    return redis;
  };
  const own = memoryCounters();
  const ownNonces = memoryNonces();

  const prices = publishedPrices();
  /** What a changed configuration replaces; counters, ledger and stored answers stay. */
  const build = async (wanted: Config): Promise<Rules> => {
    const { store } = wanted.limits;
    const shared = isRedis(store) ? await redisAt(store) : undefined;
    return rulesOf(wanted, {
      digest: nodeDigest(wanted.keys.pepper),
      counters: shared ? withFallback(redisCounters(shared), own) : own,
      nonces: shared ? redisNonces(shared, ownNonces) : ownNonces,
      catalogue: prices.find,
      ledger,
      keyStore: laterKeys,
      findRoute,
      targetsOf: (model) => targetsOf(model).map(({ name }) => name),
      countTokens: createTokenCounter(targetsOf),
      alert: (alert) => warn(alert, 'a budget has reached one of its thresholds'),
      ...(books && { closed: closedBy(books, () => current.ledger.whenLost) }),
    });
  };
  let rules = await build(config);
  const forbidden = new LRUCache<string, true>({ max: 10_000, ttl: 60_000 });
  let cacheConfig = config.cache;
  let answers = await openAnswerCaches({ config: config.cache, redisAt, ledger, targetsOf });
  /** Text that is kept, traced or explained cannot pass through unread. */
  const mustRead = ({ headers }: RequestContext) =>
    (ledger && current.audit.content.keep) ||
    config.observability.traces?.content ||
    headers['x-tidegate-explain'] !== undefined;
  const policy: Policy = {
    authenticate: (headers, asked) => rules.policy.authenticate(headers, asked),
    admit: (request, route, context) =>
      prices.behind(() => rules.policy.admit(mustRead(context) ? readable(request) : request, route, context)),
    admitTokens: async (tokens, route, context) =>
      prices.behind(() => rules.policy.admitTokens(tokens, route, context)),
    mayUse: (route, caller) => rules.policy.mayUse(route, caller),
    open: () => rules.policy.open(),
  };

  const prune = () => {
    const { audit, ledger: kept } = current;
    ledger
      ?.prune({ usageMs: kept.usageRetention, auditMs: audit.retention, contentMs: audit.content.retention })
      .catch((error: unknown) => warn({ error }, 'old usage could not be deleted'));
  };
  prune();
  const pruning = setInterval(prune, pruneEveryMs);
  pruning.unref();

  const watchContents: Watcher | undefined =
    ledger &&
    contentWatcher(ledger.contents, {
      maxCharacters: () => current.audit.content.maxCharacters,
      warn: (error) => warn({ err: error }, 'a prompt and its answer could not be kept'),
    });

  return {
    policy,
    cache: { through: (...call) => answers.cache.through(...call) },
    idempotency: {
      through: (...call) => answers.idempotency.through(...call),
      once: (...call) => answers.idempotency.once(...call),
    },
    watchers: watchContents
      ? [(request, context) => (current.audit.content.keep ? watchContents(request, context) : undefined)]
      : [],
    open: await rules.keyring.open(),
    priceOf: (target, usage) => rules.prices.usd(target, usage),
    pricePerMillion: (target) => rules.prices.perMillion(target),
    async reconfigure(next) {
      const built = await build(next);
      const refusal = refuseOpenBind(host, await built.keyring.open());
      if (refusal) throw new Error(refusal);
      const { cache } = next;
      if (JSON.stringify(cache) !== JSON.stringify(cacheConfig)) {
        answers = await openAnswerCaches({ config: cache, redisAt, ledger, targetsOf, memory: answers.memory });
      }
      rules = built;
      cacheConfig = cache;
      current = { audit: next.audit, ledger: next.ledger ?? ledgerDefaults() };
    },
    ...(books && {
      durable: (record) =>
        isRepeated(record, forbidden) ? Promise.resolve() : books.write(entriesOf(record, current.audit.requests)),
    }),
    ...(ledger && { objects: ledger.objects, feedback: ledger.feedback }),
    isRevoked: async (keyId) => (await ledger?.keys.byId(keyId))?.revokedAt !== undefined,
    routes: (deps) =>
      ledger && books
        ? adminRoutes(
            deps,
            ledger,
            () => books.settled(),
            () => rules,
          )
        : [],
    budgets: () => rules.policy.budgets(),
    cacheStatus: () => answers.status(),
    health: () => (books && books.state() !== 'ok' ? { ledger: books.state() } : {}),
    async close() {
      clearInterval(pruning);
      await books?.close();
      await ledger?.db.close();
      await laterKeys?.close();
      await Promise.all([...connections.values()].map((redis) => redis.close()));
    },
  };
}

/** The table of published prices is half a megabyte: it is read when the gateway listens, or a first request needs it. */
function publishedPrices() {
  let catalogue: PriceCatalogue | undefined;
  const load = once(() =>
    genaiPrices().then((loaded) => {
      catalogue = loaded;
    }),
  );
  setTimeout(() => void load(), 50).unref();
  return {
    find: (...asked: Parameters<PriceCatalogue>) => catalogue?.(...asked),
    /** Does `work` when they are there: at once but in the first moments. */
    behind: <T>(work: () => T | Promise<T>): T | Promise<T> => (catalogue ? work() : load().then(work)),
  };
}

const ledgerDefaults = once(() => ledgerConfigSchema().parse({}));

/** The books cannot be written: callers with a budget wait, as their spending could not be held to it; by policy all do. */
function closedBy(books: Books, whenLost: () => 'serve' | 'refuse') {
  return (budgeted: boolean): GatewayError | undefined =>
    books.state() === 'lost' && (budgeted || whenLost() === 'refuse')
      ? new GatewayError('unavailable', 'Usage cannot be recorded just now, so nothing may be spent.', {
          retryAfterMs: 5000,
        })
      : undefined;
}

/** Whether the same was forbidden to the same caller within the minute: no limit holds such requests back. */
function isRepeated({ outcome, callerId, model, endpoint }: RequestRecord, lately: LRUCache<string, true>): boolean {
  if (outcome !== 'forbidden') return false;
  const what = JSON.stringify([callerId, model, endpoint]);
  if (lately.has(what)) return true;
  lately.set(what, true);
  return false;
}

/**
 * Answers, attempts at one, and what was decided against somebody. Not the rest of what was refused (limits, mistakes in
 * a body): it cost nothing, and whoever is over a limit must not be able to fill the disk.
 */
const isBooked = ({ outcome, target, attempts, decisions }: RequestRecord): boolean =>
  target !== undefined ||
  attempts.length > 0 ||
  decisions.length > 0 ||
  outcome === 'forbidden' ||
  outcome === 'content_blocked';

/** What is booked of a request: its usage, and for the audit who asked what of whom, and what was decided. */
function entriesOf(record: RequestRecord, audited: boolean): readonly Entry[] {
  if (!isBooked(record)) return [];
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

/** What stands behind an error that is worded for clients. */
const reasonOf = (error: unknown): unknown => {
  if (!(error instanceof Error)) return error;
  return error instanceof GatewayError && error.cause instanceof Error ? error.cause.message : error.message;
};
