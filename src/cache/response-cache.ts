import { type Clock, systemClock } from '../core/clock.ts';
import { type Digest, webDigest } from '../core/digest.ts';
import { GatewayError, toGatewayError } from '../core/errors.ts';
import type { CompletionEvent } from '../core/event.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { CacheRule, Route } from '../core/route.ts';
import type { CacheStatus, RequestContext, Run } from '../core/run.ts';
import { createFlight, type Flight } from './flight.ts';
import { canonicalRequest, ownUpstream, scopeOf } from './key.ts';
import { createSemanticIndex, type Embed, semanticQuestion } from './semantic.ts';
import { makeShared } from './shared.ts';
import type { AnswerStore, StoredAnswer } from './store.ts';
import type { ResponseCache } from './through.ts';
import { type CacheWish, readCacheWish } from './wish.ts';

export interface ResponseCacheOptions {
  readonly store: AnswerStore;
  readonly digest?: Digest;
  /** For routes with a `semanticThreshold`. */
  readonly embed?: Embed;
  /** Longer answers are given but not kept. */
  readonly maxAnswerBytes?: number;
  /**
   * False where one request may not read what another one fetches (Workers): then equal requests meet only through the
   * store's locks.
   */
  readonly shareFlights?: boolean;
  readonly clock?: Clock;
}

type Produce = (request: ChatRequest, signal: AbortSignal) => Promise<Run>;

/** One request on its way through the cache. */
interface Visit {
  readonly request: ChatRequest;
  readonly rule: CacheRule;
  readonly wish: CacheWish;
  readonly key: string;
  readonly context: RequestContext;
  readonly produce: Produce;
  /** Called with the answer's key when it was kept. */
  readonly kept: () => void;
}

const background = 120_000;

/** Stored answers with single flight, stale answers, and nearness in meaning where a route asks for it. */
export function createResponseCache({
  store,
  digest = webDigest(),
  embed,
  maxAnswerBytes = 1024 * 1024,
  shareFlights = true,
  clock = systemClock,
}: ResponseCacheOptions): ResponseCache {
  const flights = new Map<string, Flight>();
  const index = embed && createSemanticIndex({ embed });

  const look = async (key: string): Promise<StoredAnswer | undefined> => {
    try {
      return await store.get(key);
    } catch {
      return undefined; // a store that is down costs hits, not answers
    }
  };

  const keep = async ({ key, rule, wish, kept }: Visit, run: Run, events: readonly CompletionEvent[]) => {
    if (!isWhole(events)) return;
    const now = clock.wall();
    const ttlMs = Math.min(wish.ttlMs ?? rule.ttlMs, rule.ttlMs);
    const keepMs = ttlMs + Math.max(rule.staleWhileRevalidateMs ?? 0, rule.staleIfErrorMs ?? 0);
    if (keepMs <= 0) return;
    const answer = { target: run.target, events: events.map(withoutId), storedAt: now, freshUntil: now + ttlMs };
    try {
      await store.set(key, answer, keepMs);
      kept();
    } catch {} // it is made anew
  };

  const begin = (visit: Visit): Flight => {
    const { key, produce, request, context } = visit;
    let storing: Promise<void> | undefined;
    let over!: () => void;
    const settled = new Promise<void>((resolve) => {
      over = () => resolve(storing);
    });
    const flight = createFlight({
      maxBytes: maxAnswerBytes,
      produce: async (signal) => {
        const shared = await makeShared(
          store,
          key,
          signal,
          look,
          (own) => produce(request, own),
          (answer) => replay(answer, 'coalesced'),
        );
        void settled.then(shared.release);
        return shared.run;
      },
      complete: (run, events) => {
        if (run.cache !== 'coalesced') storing = keep(visit, run, events);
      },
      closed: () => {
        if (flights.get(key) === flight) flights.delete(key);
        queueMicrotask(over); // `complete` follows in the same step
      },
    });
    if (shareFlights) flights.set(key, flight);
    context.after?.(settled);
    return flight;
  };

  /** Fetches a new answer for a stale one; nobody waits for it. */
  const refresh = (visit: Visit) => {
    if (flights.has(visit.key)) return;
    const refreshing = (async () => {
      const run = await begin(visit).join(AbortSignal.timeout(background));
      if (run) for await (const _ of run.events);
    })().catch(() => {}); // the stale answer stays until it is too old
    visit.context.after?.(refreshing);
  };

  const lead = async (visit: Visit, stale: StoredAnswer | undefined): Promise<Run> => {
    const { rule, context } = visit;
    try {
      const run = await begin(visit).join(context.signal);
      if (!run) throw new GatewayError('internal', 'A new flight could not be joined.');
      return run.cache === 'coalesced' ? run : { ...run, cache: 'miss' };
    } catch (error) {
      const { kind, blame } = toGatewayError(error);
      const usable = stale && clock.wall() < stale.freshUntil + (rule.staleIfErrorMs ?? 0);
      if (usable && blame !== 'client' && kind !== 'internal') return replay(stale, 'stale');
      throw error;
    }
  };

  /**
   * Joins the flight of this key, if there is one. Where it fails before its first event, its readers get one more try,
   * led by the first of them; a second failure is theirs too, so that a dead upstream is not asked once per reader.
   */
  const createJoin = ({ key, context }: Visit) => {
    let failedBefore = false;
    return async (): Promise<Run | undefined> => {
      for (let flight = flights.get(key); flight; flight = flights.get(key)) {
        try {
          const run = await flight.join(context.signal);
          return run && { ...run, cache: 'coalesced', attempts: [] };
        } catch (error) {
          if (context.signal.aborted || failedBefore) throw error;
          failedBefore = true;
        }
      }
      return undefined;
    };
  };

  const near = async (request: ChatRequest, scope: string, { semanticThreshold }: CacheRule, signal: AbortSignal) => {
    const question = semanticThreshold !== undefined && index ? semanticQuestion(request, scope) : undefined;
    if (!question || !index || semanticThreshold === undefined) return undefined;
    try {
      return { question, found: await index.find(question, semanticThreshold, signal) };
    } catch {
      return undefined; // no embedding: exact matches only
    }
  };

  const usable = (answer: StoredAnswer | undefined, { maxAgeMs }: CacheWish): answer is StoredAnswer =>
    answer !== undefined && (maxAgeMs === undefined || clock.wall() - answer.storedAt <= maxAgeMs);

  return {
    through: (asked, route, context, produce) =>
      route.cache ? visited(asked, route, route.cache, context, produce) : produce(asked, context.signal),
  };

  async function visited(
    asked: ChatRequest,
    route: Route,
    rule: CacheRule,
    context: RequestContext,
    produce: Produce,
  ): Promise<Run> {
    const wish = readCacheWish(context.headers);
    if (wish.noStore || asked.onlyAsSent) return produce(asked, context.signal);
    const request = readable(asked);
    const account = ownUpstream(context.headers);
    // Digested: what is compared by meaning keeps its scope in memory.
    const scope = `${scopeOf(rule, context.caller)} ${route.name}${account && ` ${await digest(account)}`}`;
    const key = await digest(`${scope} ${canonicalRequest(request)}`);
    let remember = () => {};
    const visit: Visit = { request, rule, wish, key, context, produce, kept: () => remember() };
    if (wish.noCache) return lead(visit, undefined);

    const join = createJoin(visit);
    const running = await join();
    if (running) return running;
    const answer = await look(key);
    if (usable(answer, wish)) {
      const now = clock.wall();
      if (now < answer.freshUntil) return replay(answer, 'hit');
      if (now < answer.freshUntil + (rule.staleWhileRevalidateMs ?? 0)) {
        refresh(visit);
        return replay(answer, 'stale');
      }
    }
    const meaning = await near(request, scope, rule, context.signal);
    if (meaning?.found.key !== undefined) {
      const other = await look(meaning.found.key);
      if (usable(other, wish) && clock.wall() < other.freshUntil) {
        const similarity = (meaning.found.similarity ?? 0).toFixed(4);
        return { ...replay(other, 'hit'), headers: { 'x-tidegate-cache-similarity': similarity } };
      }
    }
    if (meaning && index) remember = () => index.remember(meaning.question, meaning.found.vector, key);
    if (wish.onlyStored) {
      throw new GatewayError('not_found', 'There is no stored answer, and the request asks for a stored one only.', {
        status: 504,
      });
    }
    // Another request may have begun the same while this one looked. No wait between the check and the lead.
    while (flights.has(key)) {
      const run = await join();
      if (run) return run;
    }
    return lead(visit, answer);
  }
}

const replay = ({ target, events }: StoredAnswer, cache: CacheStatus): Run => ({
  target,
  attempts: [],
  cache,
  headers: {},
  events: (async function* () {
    yield* events;
  })(),
});

/** Worth keeping: every choice came to an end of its own, and there are no bytes of one client's dialect in it. */
function isWhole(events: readonly CompletionEvent[]): boolean {
  const open = new Set<number>();
  let finished = 0;
  for (const event of events) {
    if (event.type === 'wire') return false;
    if (event.type === 'finish') {
      if (event.reason === 'content-filter' || event.reason === 'pause') return false;
      finished++;
      open.delete(event.choice);
    } else if ('choice' in event) open.add(event.choice);
  }
  return finished > 0 && open.size === 0;
}

/** An answer given twice must not carry one upstream id. */
function withoutId(event: CompletionEvent): CompletionEvent {
  if (event.type !== 'start') return event;
  const { id: _, ...rest } = event;
  return rest;
}
