/**
 * Where limits are counted: memory for one gateway, Redis or a Durable Object for several. Not rate-limiter-flexible:
 * its windows take one claim at a time and credit a late correction to the next window, while a request here claims
 * requests, tokens, money and a stream of its key, team and model all together or not at all, in one round trip.
 */
export interface Counters {
  /** Takes all claims or none, atomically. */
  reserve(claims: readonly Claim[]): Reservation | Promise<Reservation>;
  /** Corrects what was taken at `at` (a reservation's), and gives slots back. May go over a limit: it is spent already. */
  settle(at: number, changes: readonly Change[]): readonly CounterState[] | Promise<readonly CounterState[]>;
  /** Tells that a slot's holder is still there, well within its lease. Stores of one process need none of it. */
  renew?(claim: Claim & { readonly kind: 'slots' }): void;
  close?(): Promise<void>;
}

export type Claim =
  /** At most `limit` in any `windowMs`, whenever it begins; kept in sixtieths of it. */
  | {
      readonly kind: 'rate';
      readonly key: string;
      readonly amount: number;
      readonly limit: number;
      readonly windowMs: number;
    }
  /** At most `limit` for as long as `key` stands, which names its period; forgotten after `endsInMs`. */
  | {
      readonly kind: 'budget';
      readonly key: string;
      readonly amount: number;
      readonly limit: number;
      readonly endsInMs: number;
      /** Spent before this store first saw the key. */
      readonly initial: number;
    }
  /** At most `limit` holders at once. A holder that is not heard of for `leaseMs` is gone. */
  | {
      readonly kind: 'slots';
      readonly key: string;
      readonly limit: number;
      readonly holder: string;
      readonly leaseMs: number;
    };

export type Change =
  | { readonly kind: 'rate'; readonly key: string; readonly amount: number; readonly windowMs: number }
  | { readonly kind: 'budget'; readonly key: string; readonly amount: number; readonly limit: number }
  | { readonly kind: 'slots'; readonly key: string; readonly holder: string };

export interface CounterState {
  readonly limit: number;
  readonly remaining: number;
  /** Until nothing is counted any more. */
  readonly resetMs: number;
}

export interface Reservation {
  /** The claim that did not fit; absent when all were taken. */
  readonly refused?: { readonly index: number; readonly retryAfterMs: number };
  /** In the order of the claims. */
  readonly states: readonly CounterState[];
  /** The store's time of taking, for `settle`. */
  readonly at: number;
}

/** A rate window is counted in this many pieces, and one more is kept so that no span of `windowMs` holds too much. */
export const windowPieces = 60;
