import { type Clock, systemClock } from '../core/clock.ts';
import {
  type Change,
  type Claim,
  type CounterState,
  type Counters,
  type Reservation,
  windowPieces,
} from './counters.ts';
import { keptDurations, untilSlotFree } from './slot-wait.ts';

const kept = windowPieces + 1;
/** So long after the last of them, nobody asks how long answers take. */
const forgetSlotsMs = 3600_000;

interface Window {
  readonly pieces: Float64Array;
  readonly pieceMs: number;
  /** Number of the newest piece since the clock's beginning. */
  newest: number;
  sum: number;
}

interface Slots {
  /** Holders, with the time since when. */
  readonly since: Map<string, number>;
  /** How long the last ones held theirs. */
  readonly took: number[];
  changedAt: number;
}

interface Budget {
  spent: number;
  endsAt: number;
}

/** Counters in memory that can be kept elsewhere and come back: a Durable Object's outlive its eviction. */
export interface KeepableCounters extends Counters {
  /** What changed since the last call, by name; undefined where nothing is counted under it any more. */
  changes(): ReadonlyMap<string, string | undefined>;
}

export interface MemoryCounterOptions {
  /** Kept counters need one that goes on over a restart: the wall's. */
  readonly clock?: Clock;
  /** As `changes` gave them before. */
  readonly kept?: Iterable<readonly [name: string, value: string]>;
  /** Holders of a slot that are not heard of for so long are gone; absent: this process knows when they end. */
  readonly leaseMs?: number;
}

/** Counters of one process. All of it is synchronous, so nothing can come between the check and the taking. */
export function memoryCounters({
  clock = systemClock,
  kept: before,
  leaseMs,
}: MemoryCounterOptions = {}): KeepableCounters {
  const windows = new Map<string, Window>();
  const budgets = new Map<string, Budget>();
  const slots = new Map<string, Slots>();
  let sweptAt = clock.now();
  const changed = before && new Set<string>(); // nobody asks for changes where nothing is kept
  for (const [name, value] of before ?? []) restore(name, JSON.parse(value));

  function restore(name: string, value: unknown): void {
    const [kind, key] = [name.slice(0, name.indexOf(':')), name.slice(name.indexOf(':') + 1)];
    if (kind === 'rate') {
      const { pieces, ...rest } = value as Omit<Window, 'pieces'> & { pieces: number[] }; // as `save` wrote it
      windows.set(key, { ...rest, pieces: Float64Array.from(pieces) });
    } else if (kind === 'budget') budgets.set(key, value as Budget);
    else slots.set(key, { since: new Map(value as [string, number][]), took: [], changedAt: clock.now() });
  }

  function save(name: string): string | undefined {
    const [kind, key] = [name.slice(0, name.indexOf(':')), name.slice(name.indexOf(':') + 1)];
    if (kind === 'budget') return budgets.has(key) ? JSON.stringify(budgets.get(key)) : undefined;
    if (kind === 'slots')
      return slots.get(key)?.since.size ? JSON.stringify([...(slots.get(key)?.since ?? [])]) : undefined;
    const window = windows.get(key);
    return window && JSON.stringify({ ...window, pieces: [...window.pieces] });
  }

  const windowOf = (key: string, pieceMs: number, now: number): Window => {
    const piece = Math.floor(now / pieceMs);
    let window = windows.get(key);
    if (!window) {
      window = { pieces: new Float64Array(kept), pieceMs, newest: piece, sum: 0 };
      windows.set(key, window);
    }
    for (let n = Math.max(window.newest + 1, piece - kept + 1); n <= piece; n++) {
      window.sum -= window.pieces[n % kept] ?? 0;
      window.pieces[n % kept] = 0;
    }
    window.newest = Math.max(window.newest, piece);
    return window;
  };

  /** When so much will have left the window. */
  const untilFreed = (window: Window, amount: number, pieceMs: number, now: number): number => {
    let freed = 0;
    for (let n = window.newest - kept + 1; n <= window.newest; n++) {
      if (n < 0) continue;
      freed += window.pieces[n % kept] ?? 0;
      if (freed >= amount) return (n + kept) * pieceMs - now;
    }
    return kept * pieceMs;
  };

  const budgetOf = (claim: Claim & { kind: 'budget' }, now: number): Budget => {
    let budget = budgets.get(claim.key);
    if (!budget) {
      budget = { spent: claim.initial, endsAt: now + claim.endsInMs };
      budgets.set(claim.key, budget);
    }
    return budget;
  };

  /** What a claim finds: how much is taken, and when there would be room for it; 0 means now. */
  const look = (claim: Claim, now: number): { used: number; waitMs: number; resetMs: number } => {
    switch (claim.kind) {
      case 'rate': {
        const pieceMs = claim.windowMs / windowPieces;
        const window = windowOf(claim.key, pieceMs, now);
        const over = window.sum + claim.amount - claim.limit;
        return {
          used: window.sum,
          waitMs: over > 0 ? untilFreed(window, over, pieceMs, now) : 0,
          resetMs: window.sum > 0 ? untilFreed(window, window.sum, pieceMs, now) : 0,
        };
      }
      case 'budget': {
        const budget = budgetOf(claim, now);
        const fits = budget.spent + claim.amount <= claim.limit;
        return {
          used: budget.spent,
          waitMs: fits ? 0 : Math.max(1, budget.endsAt - now),
          resetMs: budget.endsAt - now,
        };
      }
      case 'slots': {
        const held = slots.get(claim.key);
        if (held && leaseMs !== undefined) {
          for (const [holder, since] of held.since) if (since + leaseMs < now) held.since.delete(holder);
        }
        const used = held?.since.size ?? 0;
        if (!held || used < claim.limit) return { used, waitMs: 0, resetMs: 0 };
        const ages = [...held.since.values()].map((since) => now - since);
        return { used, waitMs: untilSlotFree(ages, held.took), resetMs: 0 };
      }
      default:
        return claim satisfies never;
    }
  };

  const take = (claim: Claim, now: number): void => {
    changed?.add(`${claim.kind}:${claim.key}`);
    if (claim.kind === 'rate') {
      const window = windowOf(claim.key, claim.windowMs / windowPieces, now);
      window.pieces[window.newest % kept] = (window.pieces[window.newest % kept] ?? 0) + claim.amount;
      window.sum += claim.amount;
    } else if (claim.kind === 'budget') budgetOf(claim, now).spent += claim.amount;
    else {
      const held: Slots = slots.get(claim.key) ?? { since: new Map(), took: [], changedAt: now };
      held.since.set(claim.holder, now);
      slots.set(claim.key, held);
    }
  };

  const sweep = (now: number): void => {
    if (now - sweptAt < 60_000) return;
    sweptAt = now;
    for (const [key, budget] of budgets) if (budget.endsAt < now && budgets.delete(key)) changed?.add(`budget:${key}`);
    for (const [key, { since, changedAt }] of slots) {
      if (since.size === 0 && changedAt < now - forgetSlotsMs) slots.delete(key);
    }
    for (const [key, { newest, pieceMs }] of windows) {
      if ((newest + kept) * pieceMs < now && windows.delete(key)) changed?.add(`rate:${key}`);
    }
  };

  const apply = (at: number, change: Change, now: number): CounterState => {
    changed?.add(`${change.kind}:${change.key}`);
    switch (change.kind) {
      case 'rate': {
        const pieceMs = change.windowMs / windowPieces;
        const window = windowOf(change.key, pieceMs, now);
        const piece = window.newest;
        // What comes back belongs to the time it was taken at, and is gone with it; what comes on top is spent now.
        const then = change.amount < 0 ? Math.floor(at / pieceMs) : piece;
        if (then > piece - kept) {
          window.pieces[then % kept] = (window.pieces[then % kept] ?? 0) + change.amount;
          window.sum += change.amount;
        }
        return { limit: 0, remaining: 0, resetMs: 0 };
      }
      case 'budget': {
        const budget = budgets.get(change.key);
        if (budget) budget.spent += change.amount;
        const spent = budget?.spent ?? 0;
        return { limit: change.limit, remaining: change.limit - spent, resetMs: (budget?.endsAt ?? now) - now };
      }
      case 'slots': {
        const held = slots.get(change.key);
        const since = held?.since.get(change.holder);
        if (held && since !== undefined) {
          held.since.delete(change.holder);
          held.changedAt = now;
          held.took.push(now - since);
          if (held.took.length > keptDurations) held.took.shift();
        }
        return { limit: 0, remaining: 0, resetMs: 0 };
      }
      default:
        return change satisfies never;
    }
  };

  return {
    reserve(claims): Reservation {
      const now = clock.now();
      sweep(now);
      const found = claims.map((claim) => look(claim, now));
      let refused: { index: number; retryAfterMs: number } | undefined;
      for (const [index, { waitMs }] of found.entries()) {
        if (waitMs > (refused?.retryAfterMs ?? 0)) refused = { index, retryAfterMs: Math.ceil(waitMs) };
      }
      if (!refused) for (const claim of claims) take(claim, now);
      const states = claims.map((claim, i) => {
        const { used, resetMs } = found[i] ?? { used: 0, resetMs: 0 };
        const taken = refused || claim.kind === 'slots' ? 0 : claim.amount;
        const full = claim.kind === 'rate' && taken > 0 ? claim.windowMs + claim.windowMs / windowPieces : resetMs;
        return { limit: claim.limit, remaining: Math.max(0, claim.limit - used - taken), resetMs: full };
      });
      return { states, at: now, ...(refused && { refused }) };
    },
    settle(at, changes) {
      const now = clock.now();
      return changes.map((change) => apply(at, change, now));
    },
    ...(leaseMs !== undefined && {
      renew({ key, holder }) {
        const held = slots.get(key);
        if (held?.since.has(holder)) held.since.set(holder, clock.now());
        changed?.add(`slots:${key}`);
      },
    }),
    changes() {
      const told = new Map([...(changed ?? [])].map((name) => [name, save(name)]));
      changed?.clear();
      return told;
    },
  };
}
