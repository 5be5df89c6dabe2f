import { type Clock, systemClock } from '../core/clock.ts';
import { type Digest, webDigest } from '../core/digest.ts';
import { GatewayError } from '../core/errors.ts';
import type { Json, JsonObject } from '../core/json.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { GivenAnswer, RequestContext, Run } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import { createFlight, type Flight } from './flight.ts';
import { canonicalJson, ownUpstream } from './key.ts';
import { nextPollMs } from './shared.ts';
import type { AnswerStore, StoredAnswer } from './store.ts';

/**
 * Requests with an `Idempotency-Key`: the same key and body get the same answer, made and paid for once. Both throw
 * conflict where the key came with another body, or where its first request is under way and nobody may wait.
 */
export interface Idempotency {
  through(
    request: ChatRequest,
    context: RequestContext,
    produce: (request: ChatRequest, context: RequestContext) => Promise<Run>,
  ): Promise<Run>;
  /** The same for an answer that is made as a whole; `again` where it was made before. */
  once(
    body: JsonObject,
    context: RequestContext,
    make: () => Promise<Json>,
  ): Promise<{ readonly value: Json; readonly again: boolean }>;
}

export const noIdempotency: Idempotency = {
  through: (request, context, produce) => produce(request, context),
  once: async (_body, _context, make) => ({ value: await make(), again: false }),
};

export interface IdempotencyOptions {
  readonly store: AnswerStore;
  readonly digest?: Digest;
  readonly keepMs?: number;
  readonly inFlight?: 'conflict' | 'wait';
  readonly maxAnswerBytes?: number;
  /** False where a request cannot read what another one fetches (Workers): the later one waits for the stored answer. */
  readonly shareFlights?: boolean;
  readonly clock?: Clock;
}

const leaseMs = 30_000;

/** What this process is making just now. */
interface Running<T> {
  readonly fingerprint: string;
  /** What is made, also for whoever comes later; undefined where it cannot be had from its beginning any more. */
  join(signal: AbortSignal): Promise<T> | undefined;
}

/** Who gets an answer: from the store, with whoever makes it here, or by making it, and then `release` has to be called. */
type Turn<T> =
  | { readonly stored: StoredAnswer }
  | { readonly joined: Promise<T> }
  | { readonly key: string; readonly fingerprint: string; readonly release: () => void };

/** Answers by `Idempotency-Key`, kept in `store` for `keepMs`: the same key with the same body gets the same answer. */
export function createIdempotency({
  store,
  digest = webDigest(),
  keepMs = 86_400_000,
  inFlight = 'wait',
  maxAnswerBytes = 4 * 1024 * 1024,
  shareFlights = true,
  clock = systemClock,
}: IdempotencyOptions): Idempotency {
  const flights = new Map<string, Running<Run>>();
  const wholes = new Map<string, Running<Json>>();

  const look = async (key: string): Promise<StoredAnswer | undefined> => {
    try {
      return await store.get(key);
    } catch {
      return undefined; // a store that is away costs the promise over a restart, not the answer
    }
  };
  const lock = async (key: string): Promise<(() => void) | undefined> => {
    if (!store.lock) return () => {};
    try {
      return await store.lock(key, leaseMs);
    } catch {
      return () => {};
    }
  };
  const keep = async (key: string, fingerprint: string, answer: Partial<StoredAnswer>): Promise<void> => {
    const storedAt = clock.wall();
    const stored = { target: '', events: [], ...answer, storedAt, freshUntil: storedAt + keepMs, fingerprint };
    try {
      await store.set(key, stored, keepMs);
    } catch {} // a retry is answered anew
  };

  /** Waits for its turn. Between its end and the entry in `running` there must be no wait: two must not both lead. */
  const take = async <T>(
    running: ReadonlyMap<string, Running<T>>,
    asked: string,
    { caller: { id, tenant }, endpoint, headers, signal }: RequestContext,
  ): Promise<Turn<T>> => {
    const given = headers['idempotency-key'] ?? '';
    if (given.length > 255) {
      throw new GatewayError('invalid_request', 'An Idempotency-Key has at most 255 characters.', {
        param: 'Idempotency-Key',
      });
    }
    const key = `${idempotentPrefix(id)}${await digest(JSON.stringify([id, tenant, endpoint, given]))}`;
    const fingerprint = await digest(`${asked}${ownUpstream(headers)}`);
    const check = <A extends { readonly fingerprint?: string }>(other: A): A => {
      if (other.fingerprint === fingerprint) return other;
      throw conflict('This Idempotency-Key was used with another request body.', 'idempotency_key_reused');
    };
    let waitedMs = 0;
    for (;;) {
      const stored = await look(key);
      if (stored) return { stored: check(stored) };
      const other = running.get(key);
      if (other) {
        check(other);
        const joined = inFlight === 'wait' && shareFlights ? other.join(signal) : undefined;
        if (joined) return { joined };
      } else {
        const release = await lock(key); // another gateway may be at it
        if (release) {
          const meanwhile = await look(key);
          if (!meanwhile && !running.has(key)) return { key, fingerprint, release };
          release();
          if (meanwhile) return { stored: check(meanwhile) };
        }
      }
      if (inFlight === 'conflict') throw busy();
      const pauseMs = nextPollMs(waitedMs);
      await sleep(pauseMs, signal);
      waitedMs += pauseMs;
    }
  };

  const fly = (
    { key, fingerprint, release }: Extract<Turn<Run>, { key: string }>,
    given: GivenAnswer | undefined,
    produce: (signal: AbortSignal) => Promise<Run>,
  ): Flight => {
    let storing: Promise<void> | undefined;
    const flight = createFlight({
      maxBytes: maxAnswerBytes,
      produce: async (signal) => ({ ...(await produce(signal)), ...(given && { given }) }),
      complete: ({ target }, events) => {
        storing = keep(key, fingerprint, { target, events: [...events], ...(given && { given }) });
      },
      closed: () => {
        // `complete` follows in the same step. Only what is stored may be looked for: until then the key stays taken.
        queueMicrotask(() => {
          void Promise.resolve(storing).then(() => {
            flights.delete(key);
            release();
          });
        });
      },
    });
    flights.set(key, { fingerprint, join: (signal) => flight.join(signal) });
    return flight;
  };

  return {
    through: (asked, context, produce) =>
      context.headers['idempotency-key'] ? throughOnce(asked, context, produce) : produce(asked, context),
    async once(body, context, make) {
      if (!context.headers['idempotency-key']) return { value: await make(), again: false };
      const turn = await take(wholes, canonicalJson(body), context);
      if ('stored' in turn) return { value: turn.stored.value ?? null, again: true };
      if ('joined' in turn) return { value: await turn.joined, again: true };
      const { key, fingerprint, release } = turn;
      const making = make();
      wholes.set(key, { fingerprint, join: () => making });
      try {
        const value = await making;
        await keep(key, fingerprint, { value });
        return { value, again: false };
      } finally {
        wholes.delete(key);
        release();
      }
    },
  };

  async function throughOnce(
    asked: ChatRequest,
    context: RequestContext,
    produce: (request: ChatRequest, context: RequestContext) => Promise<Run>,
  ): Promise<Run> {
    const request = readable(asked);
    const turn = await take(flights, canonicalJson(request), context);
    if ('stored' in turn) return replayed(turn.stored);
    if ('joined' in turn) return { ...(await turn.joined), cache: 'coalesced', attempts: [] };
    const { answerId } = context;
    const given = answerId === undefined ? undefined : { id: answerId, createdAt: Math.floor(clock.wall() / 1000) };
    const run = await fly(turn, given, (signal) => produce(request, { ...context, signal })).join(context.signal);
    if (!run) throw new GatewayError('internal', 'A new flight could not be joined.');
    return run;
  }
}

/** How the names of one caller's answers begin, so that they can be forgotten with it. */
const idempotentPrefix = (callerId: string): string => `idempotent:${callerId}:`;

const replayed = ({ target, events, given }: StoredAnswer): Run => ({
  target,
  attempts: [],
  cache: 'hit',
  headers: { 'idempotent-replayed': 'true' },
  ...(given && { given }),
  events: (async function* () {
    yield* events;
  })(),
});

const conflict = (message: string, code: string, retryAfterMs?: number) =>
  new GatewayError('conflict', message, { code, param: 'Idempotency-Key', retryAfterMs });

const busy = () =>
  conflict('The first request with this Idempotency-Key is still under way.', 'idempotency_key_in_use', 1000);
