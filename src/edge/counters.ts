import type { Change, Claim, CounterState, Counters, Reservation } from '../policy/counters.ts';
import { type ObjectNamespace, tell } from './bindings.ts';

/** Limits and budgets that hold over all isolates: counted by one Durable Object. */
export function objectCounters(namespace: ObjectNamespace): Counters {
  return {
    reserve: (claims: readonly Claim[]) => tell<Reservation>(namespace, 'counters', { kind: 'reserve', claims }),
    settle: (at: number, changes: readonly Change[]) =>
      tell<readonly CounterState[]>(namespace, 'counters', { kind: 'settle', at, changes }),
  };
}
