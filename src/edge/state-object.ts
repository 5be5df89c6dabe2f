import type { StoredAnswer } from '../cache/store.ts';
import type { Change, Claim } from '../policy/counters.ts';
import { memoryCounters } from '../policy/counters-memory.ts';

/** What one isolate tells the object that all isolates share. */
export type StateMessage =
  | { readonly kind: 'reserve'; readonly claims: readonly Claim[] }
  | { readonly kind: 'settle'; readonly at: number; readonly changes: readonly Change[] }
  | { readonly kind: 'lock'; readonly key: string; readonly leaseMs: number; readonly holder: string }
  | { readonly kind: 'unlock'; readonly key: string; readonly holder: string }
  | { readonly kind: 'finish'; readonly key: string; readonly answer: StoredAnswer }
  | { readonly kind: 'breakers'; readonly opened: readonly OpenBreaker[] };

/** A target that an isolate has taken out of service, until a time of the wall clock. */
export interface OpenBreaker {
  readonly target: string;
  readonly untilMs: number;
}

export type LockAnswer = { readonly held: true } | { readonly held: false; readonly answer?: StoredAnswer };

const answerKeptMs = 30_000;
const maxAnswers = 500;

/**
 * A Durable Object: one thread, so that what it counts and locks is exact over all isolates. It keeps rates, budgets,
 * concurrent streams, the locks of single flight with the answers that have just been made, and open circuit breakers.
 * All of it in memory: an object that nobody asked for a while has nothing to remember but budgets, which it is told
 * again from the ledger.
 */
export class TidegateState {
  readonly #counters = memoryCounters();
  readonly #locks = new Map<string, { holder: string; untilMs: number }>();
  readonly #answers = new Map<string, { answer: StoredAnswer; untilMs: number }>();
  readonly #breakers = new Map<string, number>();

  async fetch(request: Request): Promise<Response> {
    const message = (await request.json()) as StateMessage; // sent by `tell` of this same bundle
    return Response.json((await this.#answer(message)) ?? null);
  }

  #answer(message: StateMessage): unknown {
    const now = Date.now();
    switch (message.kind) {
      case 'reserve':
        return this.#counters.reserve(message.claims);
      case 'settle':
        return this.#counters.settle(message.at, message.changes);
      case 'lock':
        return this.#lock(message.key, message.holder, now + message.leaseMs, now);
      case 'unlock':
        if (this.#locks.get(message.key)?.holder === message.holder) this.#locks.delete(message.key);
        return null;
      case 'finish':
        this.#sweep(now);
        this.#answers.set(message.key, { answer: message.answer, untilMs: now + answerKeptMs });
        return null;
      case 'breakers':
        for (const { target, untilMs } of message.opened) {
          this.#breakers.set(target, Math.max(untilMs, this.#breakers.get(target) ?? 0));
        }
        for (const [target, untilMs] of this.#breakers) if (untilMs <= now) this.#breakers.delete(target);
        return [...this.#breakers].map(([target, untilMs]): OpenBreaker => ({ target, untilMs }));
      default:
        return message satisfies never;
    }
  }

  #lock(key: string, holder: string, untilMs: number, now: number): LockAnswer {
    const made = this.#answers.get(key);
    if (made && made.untilMs > now) return { held: false, answer: made.answer };
    const lock = this.#locks.get(key);
    if (lock && lock.untilMs > now && lock.holder !== holder) return { held: false };
    this.#locks.set(key, { holder, untilMs });
    return { held: true };
  }

  #sweep(now: number): void {
    for (const [key, { untilMs }] of this.#answers) if (untilMs <= now) this.#answers.delete(key);
    for (const [key, { untilMs }] of this.#locks) if (untilMs <= now) this.#locks.delete(key);
    for (const key of this.#answers.keys()) {
      if (this.#answers.size < maxAnswers) break;
      this.#answers.delete(key);
    }
  }
}
