import type { TargetStatus } from '../core/status.ts';
import type { TargetStates } from '../routing/state.ts';

/** The targets that routing has called so far, as metrics and the live board show them. */
export const targetStatus = (states: TargetStates): readonly TargetStatus[] =>
  states.all().map(({ name, breaker, inFlight, healthy }) => ({
    target: name,
    breaker: breaker.state(performance.now()),
    inFlight,
    healthy,
  }));
