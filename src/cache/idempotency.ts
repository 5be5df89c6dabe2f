import { type Clock, systemClock } from '../core/clock.ts';
import { type Digest, webDigest } from '../core/digest.ts';
import { GatewayError } from '../core/errors.ts';
import { type ChatRequest, readable } from '../core/request.ts';
import type { RequestContext, Run } from '../core/run.ts';
import { createFlight, type Flight } from './flight.ts';
import { canonicalJson } from './key.ts';
import type { AnswerStore } from './store.ts';

/** Requests with an `Idempotency-Key`: the same key and body get the same answer, made and paid for once. */
export interface Idempotency {
  /** Throws conflict where the key came with another body, or its first request is under way and nobody may wait. */
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

export function createIdempotency({
  store,
  digest = webDigest(),
  keepMs = 86_400_000,
  inFlight = 'conflict',
  maxAnswerBytes = 4 * 1024 * 1024,
  clock = systemClock,
}: IdempotencyOptions): Idempotency {
  const running = new Map<string, { readonly fingerprint: string; readonly flight: Flight }>();

  const begin = (
    key: string,
    fingerprint: string,
    release: () => void,
    make: (signal: AbortSignal) => Promise<Run>,
  ): Flight => {
    const flight = createFlight({
      maxBytes: maxAnswerBytes,
      produce: make,
      complete: ({ target }, events) => {
        const storedAt = clock.wall();
        const answer = { target, events: [...events], storedAt, freshUntil: storedAt + keepMs, fingerprint };
        void (async () => store.set(key, answer, keepMs))().catch(() => {}); // a retry is answered anew
      },
      closed: () => {
        if (running.get(key)?.flight === flight) running.delete(key);
        release();
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
      const key = `idempotent:${await digest(`${context.caller.id}\n${context.endpoint}\n${given}`)}`;
      const fingerprint = await digest(canonicalJson(request));
      const check = (other: string | undefined) => {
        if (other !== fingerprint)
          throw conflict('This Idempotency-Key was used with another request body.', 'idempotency_key_reused');
      };

      const answer = await store.get(key);
      if (answer) {
        check(answer.fingerprint);
        const { target, events } = answer;
        return {
          target,
          attempts: [],
          cache: 'hit',
          headers: { 'idempotent-replayed': 'true' },
          events: replay(events),
        };
      }
      const other = running.get(key);
      if (other) {
        check(other.fingerprint);
        const joined = inFlight === 'wait' ? other.flight.join(context.signal) : undefined;
        if (joined) return { ...(await joined), cache: 'coalesced', attempts: [] };
        throw busy();
      }
      let release: (() => void) | undefined = () => {};
      if (store.lock) {
        release = await store.lock(key, leaseMs); // another gateway may be at it
        if (!release) throw busy();
        if (running.has(key)) throw busy();
      }
      // No wait from here to `begin`: two requests of one moment must not both lead.
      const flight = begin(key, fingerprint, release, (signal) => produce(request, { ...context, signal }));
      const run = await flight.join(context.signal);
      if (!run) throw new GatewayError('internal', 'A new flight could not be joined.');
      return run;
    },
  };
}

async function* replay<T>(events: readonly T[]): AsyncGenerator<T> {
  yield* events;
}

const conflict = (message: string, code: string, retryAfterMs?: number) =>
  new GatewayError('conflict', message, { code, param: 'Idempotency-Key', retryAfterMs });

const busy = () =>
  conflict('The first request with this Idempotency-Key is still under way.', 'idempotency_key_in_use', 1000);
