import type { Change, Claim, CounterState, Counters, Reservation } from '../policy/counters.ts';
import { type ObjectNamespace, type Outbox, tell } from './bindings.ts';

/** Limits and budgets that hold over all isolates: counted by one Durable Object. */
export function objectCounters(namespace: ObjectNamespace, outbox: Outbox): Counters {
  return {
    // Whoever has no limits does not wait for the object.
    reserve: (claims: readonly Claim[]) =>
      claims.length === 0
        ? { states: [], at: 0 }
        : tell<Reservation>(namespace, 'counters', { kind: 'reserve', claims }),
    settle: (at: number, changes: readonly Change[]) =>
      outbox.post<readonly CounterState[]>('counters', { kind: 'settle', at, changes }),
    renew: (claim) => void tell(namespace, 'counters', { kind: 'renew', claim }).catch(() => {}),
  };
}
