import { type Clock, systemClock } from '../core/clock.ts';
import { type Digest, webDigest } from '../core/digest.ts';
import { GatewayError } from '../core/errors.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { RequestContext, Run } from '../core/run.ts';
import { sleep } from '../core/signals.ts';
import { createFlight, type Flight } from './flight.ts';
import { canonicalJson, ownUpstream } from './key.ts';
import type { AnswerStore, StoredAnswer } from './store.ts';

/** Requests with an `Idempotency-Key`: the same key and body get the same answer, made and paid for once. */
export interface Idempotency {
  /** Throws conflict where the key came with another body, or where its first request is under way and nobody may wait. */
  through(
    request: ChatRequest,
    context: RequestContext,
    produce: (request: ChatRequest, context: RequestContext) => Promise<Run>,
  ): Promise<Run>;
}

export const noIdempotency: Idempotency = { through: (request, context, produce) => produce(request, context) };

export interface IdempotencyOptions {
  readonly store: AnswerStore;
  readonly digest?: Digest;
  readonly keepMs?: number;
  readonly inFlight?: 'conflict' | 'wait';
  readonly maxAnswerBytes?: number;
  readonly clock?: Clock;
}

const leaseMs = 30_000;
const pollMs = 100;

export function createIdempotency({
  store,
  digest = webDigest(),
  keepMs = 86_400_000,
  inFlight = 'wait',
  maxAnswerBytes = 4 * 1024 * 1024,
  clock = systemClock,
}: IdempotencyOptions): Idempotency {
  const running = new Map<string, { readonly fingerprint: string; readonly flight: Flight }>();

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

  const begin = (
    key: string,
    fingerprint: string,
    release: () => void,
    make: (signal: AbortSignal) => Promise<Run>,
  ): Flight => {
    let storing: Promise<void> | undefined;
    const flight = createFlight({
      maxBytes: maxAnswerBytes,
      produce: make,
      complete: ({ target }, events) => {
        const storedAt = clock.wall();
        const answer = { target, events: [...events], storedAt, freshUntil: storedAt + keepMs, fingerprint };
        storing = (async () => store.set(key, answer, keepMs))().catch(() => {}); // a retry is answered anew
      },
      closed: () => {
        // `complete` follows in the same step. Only what is stored may be looked for: until then the key stays taken.
        queueMicrotask(() => {
          void (storing ?? Promise.resolve()).then(() => {
            if (running.get(key)?.flight === flight) running.delete(key);
            release();
          });
        });
      },
    });
    running.set(key, { fingerprint, flight });
    return flight;
  };

  return {
    async through(asked, context, produce) {
      const given = context.headers['idempotency-key'];
      if (given === undefined || given === '') return produce(asked, context);
      if (given.length > 255) {
        throw new GatewayError('invalid_request', 'An Idempotency-Key has at most 255 characters.', {
          param: 'Idempotency-Key',
        });
      }
      const request = readable(asked);
      const { id, tenant } = context.caller;
      const key = `${idempotentPrefix(id)}${await digest(JSON.stringify([id, tenant, context.endpoint, given]))}`;
      const fingerprint = await digest(`${canonicalJson(request)}${ownUpstream(context.headers)}`);
      const check = (other: string | undefined) => {
        if (other !== fingerprint)
          throw conflict('This Idempotency-Key was used with another request body.', 'idempotency_key_reused');
      };

      const replayed = ({ target, events, fingerprint: other }: StoredAnswer): Run => {
        check(other);
        return {
          target,
          attempts: [],
          cache: 'hit',
          headers: { 'idempotent-replayed': 'true' },
          events: replay(events),
        };
      };

      let release = () => {};
      for (;;) {
        const stored = await look(key);
        if (stored) return replayed(stored);
        const other = running.get(key);
        if (other) {
          check(other.fingerprint);
          const joined = inFlight === 'wait' ? other.flight.join(context.signal) : undefined;
          if (joined) return { ...(await joined), cache: 'coalesced', attempts: [] };
          if (inFlight === 'conflict') throw busy();
        } else {
          const taken = await lock(key); // another gateway may be at it
          if (taken && running.has(key)) taken();
          else if (taken) {
            const meanwhile = await look(key);
            if (!meanwhile && !running.has(key)) {
              release = taken;
              break;
            }
            taken();
            if (meanwhile) return replayed(meanwhile);
          } else if (inFlight === 'conflict') throw busy();
        }
        await sleep(pollMs, context.signal);
      }
      // No wait from here to `begin`: two requests of one moment must not both lead.
      const flight = begin(key, fingerprint, release, (signal) => produce(request, { ...context, signal }));
      const run = await flight.join(context.signal);
      if (!run) throw new GatewayError('internal', 'A new flight could not be joined.');
      return run;
    },
  };
}

/** How the names of one caller's answers begin, so that they can be forgotten with it. */
export const idempotentPrefix = (callerId: string): string => `idempotent:${callerId}:`;

async function* replay<T>(events: readonly T[]): AsyncGenerator<T> {
  yield* events;
}

const conflict = (message: string, code: string, retryAfterMs?: number) =>
  new GatewayError('conflict', message, { code, param: 'Idempotency-Key', retryAfterMs });

const busy = () =>
  conflict('The first request with this Idempotency-Key is still under way.', 'idempotency_key_in_use', 1000);
