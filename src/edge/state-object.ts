import type { StoredAnswer } from '../cache/store.ts';
import type { Change, Claim } from '../policy/counters.ts';
import { memoryCounters } from '../policy/counters-memory.ts';
import { memoryNonces } from '../policy/nonces.ts';
import { boundStorage, createKeptMap } from './kept-map.ts';
import type { ObjectState } from './storage.ts';

/** What one isolate tells the object that all isolates share. */
export type StateMessage =
  | { readonly kind: 'reserve'; readonly claims: readonly Claim[] }
  | { readonly kind: 'settle'; readonly at: number; readonly changes: readonly Change[] }
  | { readonly kind: 'renew'; readonly claim: Claim & { readonly kind: 'slots' } }
  | { readonly kind: 'nonce'; readonly nonce: string; readonly keepMs: number }
  | (Lock & { readonly kind: 'lock' })
  | { readonly kind: 'unlock'; readonly key: string; readonly holder: string }
  | { readonly kind: 'finish'; readonly key: string; readonly answer: StoredAnswer }
  | { readonly kind: 'all'; readonly messages: readonly StateMessage[] }
  | { readonly kind: 'breakers'; readonly opened: readonly OpenBreaker[] };

interface Lock {
  readonly key: string;
  readonly leaseMs: number;
  readonly holder: string;
  /** When the answer was stored that the asker has seen. */
  readonly knownAt?: number | undefined;
}

/** A target that an isolate has taken out of service, until a time of the wall clock. */
export interface OpenBreaker {
  readonly target: string;
  readonly untilMs: number;
}

export type LockAnswer = { readonly held: true } | { readonly held: false; readonly answer?: StoredAnswer };

const answerKeptMs = 30_000;
const maxAnswers = 500;

/** How long counts may stand in memory alone. */
const writeEveryMs = 1000;
/** A stream's slot is free again when nothing was heard of it for so long: its isolate may be gone. */
const slotLeaseMs = 120_000;

/**
 * A Durable Object: one thread, so that what it counts and locks is exact over all isolates. It keeps rates, budgets,
 * concurrent streams, used nonces, the locks of single flight with the answers that have just been made, and open
 * circuit breakers. Counts are kept in its database, written together once a second; locks and breakers at once, because
 * they are rare. Answers stay in memory: KV has them too, half a minute later.
 */
export class TidegateState {
  readonly #counters;
  readonly #keptCounters;
  readonly #keptLocks;
  readonly #keptBreakers;
  readonly #nonces = memoryNonces();
  readonly #locks = new Map<string, { holder: string; untilMs: number }>();
  readonly #answers = new Map<string, { answer: StoredAnswer; untilMs: number }>();
  readonly #breakers = new Map<string, number>();

  constructor({ storage }: ObjectState) {
    const bound = boundStorage(storage);
    const kept = createKeptMap(bound, 'counters', writeEveryMs);
    const clock = { now: () => Date.now(), wall: () => Date.now() };
    this.#keptCounters = kept;
    this.#counters = memoryCounters({ clock, kept: kept.entries(), leaseMs: slotLeaseMs });
    this.#keptLocks = createKeptMap(bound, 'locks', 0);
    for (const [key, value] of this.#keptLocks.entries()) this.#locks.set(key, JSON.parse(value));
    this.#keptBreakers = createKeptMap(bound, 'breakers', 0);
    for (const [target, untilMs] of this.#keptBreakers.entries()) this.#breakers.set(target, Number(untilMs));
  }

  async fetch(request: Request): Promise<Response> {
    const message = (await request.json()) as StateMessage; // sent by `tell` of this same bundle
    return Response.json((await this.#answer(message)) ?? null);
  }

  #answer(message: StateMessage): unknown {
    const now = Date.now();
    switch (message.kind) {
      case 'reserve':
      case 'settle':
      case 'renew':
        this.#keptCounters.later(() => this.#counters.changes());
        return this.#count(message);
      case 'all':
        return message.messages.map((each) => this.#answer(each) ?? null);
      case 'nonce':
        return this.#nonces.fresh(message.nonce, message.keepMs);
      case 'lock':
        return this.#lock(message, now);
      case 'unlock':
        if (this.#locks.get(message.key)?.holder === message.holder) {
          this.#locks.delete(message.key);
          this.#keptLocks.write(new Map([[message.key, undefined]]));
        }
        return null;
      case 'finish':
        this.#sweep(now);
        this.#answers.set(message.key, { answer: message.answer, untilMs: now + answerKeptMs });
        return null;
      case 'breakers':
        this.#open(message.opened, now);
        return [...this.#breakers].map(([target, untilMs]): OpenBreaker => ({ target, untilMs }));
      default:
        return message satisfies never;
    }
  }

  #lock({ key, holder, leaseMs, knownAt }: Lock, now: number): LockAnswer {
    const made = this.#answers.get(key);
    const isNews = made && made.untilMs > now && made.answer.freshUntil > now && made.answer.storedAt !== knownAt;
    if (isNews) return { held: false, answer: made.answer };
    const untilMs = now + leaseMs;
    const lock = this.#locks.get(key);
    if (lock && lock.untilMs > now && lock.holder !== holder) return { held: false };
    this.#locks.set(key, { holder, untilMs });
    this.#keptLocks.write(new Map([[key, JSON.stringify({ holder, untilMs })]]));
    return { held: true };
  }

  #count(message: StateMessage & { readonly kind: 'reserve' | 'settle' | 'renew' }): unknown {
    if (message.kind === 'reserve') return this.#counters.reserve(message.claims);
    if (message.kind === 'settle') return this.#counters.settle(message.at, message.changes);
    return this.#counters.renew?.(message.claim);
  }

  #open(opened: readonly OpenBreaker[], now: number): void {
    const changes = new Map<string, string | undefined>();
    for (const { target, untilMs } of opened) {
      if (untilMs <= (this.#breakers.get(target) ?? now)) continue;
      this.#breakers.set(target, untilMs);
      changes.set(target, String(untilMs));
    }
    for (const [target, untilMs] of this.#breakers) {
      if (untilMs > now) continue;
      this.#breakers.delete(target);
      changes.set(target, undefined);
    }
    if (changes.size > 0) this.#keptBreakers.write(changes);
  }

  #sweep(now: number): void {
    for (const [key, { untilMs }] of this.#answers) if (untilMs <= now) this.#answers.delete(key);
    const over = [...this.#locks].filter(([, { untilMs }]) => untilMs <= now).map(([key]) => key);
    for (const key of over) this.#locks.delete(key);
    if (over.length > 0) this.#keptLocks.write(new Map(over.map((key) => [key, undefined])));
    for (const key of this.#answers.keys()) {
      if (this.#answers.size < maxAnswers) break;
      this.#answers.delete(key);
    }
  }
}
